"""What `adjudge route` prints, writes and refuses."""

import json
import re

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from adjudge import __main__, records
from adjudge.commands import route as under_test
from adjudge.store.store import Store
from adjudge.types import Record
from tests.judgments import judgment, record

ARMS = {"cheap": (0.6, 5), "middling": (0.75, 10), "dear": (0.85, 40)}


def some_records(n: int = 60, domains: str = "xyz", evaluator: str = "judge") -> list[Record]:
    """Pairs in turn of the domains, later ones dearer; each order of each arm is right as ARMS says."""
    rng = np.random.default_rng(0)

    def arm(name: str, gold: str, scale: float):
        right, tokens = ARMS[name]
        said = "".join(gold if rng.random() < right else "AB"[gold == "A"] for _ in range(2))
        spent = float(round(tokens * scale * rng.uniform(0.5, 1.5), 2))
        return judgment(name, said, output_tokens=spent, prompt_tokens=100, cost_usd=spent / 1e4)

    def row(number: int) -> Record:
        gold, place = "AB"[number % 2], number % len(domains)
        made = {name: arm(name, gold, 1 + place / 2) for name in ARMS}
        found = record(number, gold, domains[place], evaluator, **made)
        text = "word " * (5 + 20 * place)
        return msgspec.structs.replace(
            found, pair=msgspec.structs.replace(found.pair, prompt=text, response_a=text + "a", response_b="b")
        )

    return [row(number) for number in range(n)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("route") / "records.jsonl"
    records.write(path, some_records())
    return path


@pytest.fixture(scope="module")
def folder(file):
    path = file.parent / "router"
    shown = run("fit", file, "--budget", 2, "--variant", "acer", "--out", path)
    assert shown.exit_code == 0, shown.output
    return path


def run(*args: object, width: int = 80) -> Result:
    return CliRunner().invoke(under_test.command, [str(a) for a in args], env={"COLUMNS": str(width)})


def evaluated(file, *more: object) -> dict:
    shown = run(
        "eval", file, "--budgets", "1.5,3", "--routers", "acer,random", "--seeds", 1, "--jobs", 1, *more, "--json"
    )
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("\n") == 1 and shown.stderr == ""
    return json.loads(shown.stdout)


# -- eval


def test_eval_gives_one_json_object_with_the_rows_and_summary_of_the_design(file):
    found = evaluated(file)
    assert list(found)[:2] == ["rows", "summary"]
    assert list(found["rows"][0])[:10] == (
        ["router", "budget", "split", "fold", "seed", "n", "accuracy", "cost_rel", "overrun", "share"]
    )
    assert {(row["router"], row["budget"], row["fold"]) for row in found["rows"]} == (
        {(r, b, f) for r in ("acer", "random") for b in (1.5, 3.0) for f in range(5)}
    )
    assert found["reference"] == "cheap" and found["cost"] == "output_tokens" and found["instances"] == 60
    for row in found["summary"]:
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert row["overrun"] == pytest.approx(row["cost_rel"] / row["budget"] - 1, abs=1e-5)


def test_eval_takes_arms_in_the_order_named_and_all_for_the_rest(file):
    assert evaluated(file, "--arms", "middling,all")["arms"] == ["middling", "cheap", "dear"]
    assert evaluated(file, "--arms", "dear,cheap")["arms"] == ["dear", "cheap"]


def test_eval_counts_what_is_asked_as_cost(file):
    tokens, dollars = evaluated(file), evaluated(file, "--cost", "cost_usd")
    total = evaluated(file, "--cost", "total_tokens")
    assert tokens["best_arm"]["cost_rel"] == pytest.approx(dollars["best_arm"]["cost_rel"], rel=1e-6)
    assert total["best_arm"]["cost_rel"] < 2 < tokens["best_arm"]["cost_rel"]  # 100 tokens of prompt everywhere


def test_a_store_gives_the_same_figures_as_the_file(file, tmp_path):
    url = str(tmp_path / "judgments.db")
    with Store.open(url) as store:
        store.import_records(some_records(), source="test")
    assert evaluated(url) == evaluated(file)


def test_eval_of_all_splits_names_those_that_the_records_do_not_allow(tmp_path):
    path = tmp_path / "one.jsonl"
    records.write(path, some_records(40, domains="x"))
    found = evaluated(path, "--split", "all")
    assert {row["split"] for row in found["summary"]} == {"random"}
    assert [note.split(" is left out")[0] for note in found["notes"]] == ["leave-one-domain-out", "shift"]


@pytest.mark.parametrize("width", [60, 100])
def test_the_tables_fit_the_terminal_and_say_what_matters(file, width):
    names = "acer,acer+pacing,random,threshold,oracle,always:dear,always:cheap"
    shown = run("eval", file, "--budgets", "1.5,2,3", "--routers", names, "--seeds", 1, "--jobs", 1, width=width).stdout
    assert max(map(len, shown.splitlines())) <= width
    assert re.search(r"^random: accuracy in % at each budget$", shown, re.MULTILINE)
    assert re.search(r"^acer\+pacing +\d\d\.\d", shown, re.MULTILINE)
    assert re.search(r"^Each arm alone", shown, re.MULTILINE) and re.search(r"^dear +\d\d\.\d \[", shown, re.MULTILINE)
    said = " ".join(shown.split())
    assert "The best single arm is dear: " in said and "60 instances of judge, 1 seed;" in said
    assert re.search(r"Points over random beyond chance: ", said)


def test_one_budget_shows_gains_with_intervals(file):
    shown = run(
        "eval", file, "--budgets", "2", "--routers", "static,random", "--seeds", 1, "--jobs", 1, width=120
    ).stdout
    assert re.search(r"^static +\d\d\.\d \[.*\] +\d\.\d\d +- +[+-]\d+\.\d \[", shown, re.MULTILINE)
    assert "against the baselines, in points" in shown


def test_a_budget_below_the_cheapest_policy_is_shown_in_brackets(file):
    shown = run("eval", file, "--budgets", "0.5,2", "--routers", "acer,random", "--seeds", 1, "--jobs", 1).stdout
    assert re.search(r"^acer +\(\d\d\.\d\) ", shown, re.MULTILINE)
    assert "In brackets: the budget is below" in " ".join(shown.split())


def test_names_from_a_file_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "records.jsonl"
    turned = [
        msgspec.structs.replace(
            r, evaluator="jud\x1b[2Jge", pair=msgspec.structs.replace(r.pair, domain=r.pair.domain + "\x1b]0;x\x07")
        )
        for r in some_records()
    ]
    records.write(path, turned)
    shown = run(
        "eval", path, "--budgets", "2", "--routers", "random", "--split", "all", "--seeds", 1, "--jobs", 1
    ).stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown) and "jud[U+001B][2Jge" in shown


def test_the_page_has_a_line_a_router_a_dot_an_arm_and_asks_for_nothing_from_outside(file, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    monkeypatch.setattr(
        "sys.argv", ["adjudge", "route", "eval", "postgresql://me:s3cret@host/db", "--report", str(page)]
    )
    names = "acer,random,oracle,always:dear,always:cheap"
    shown = run(
        "eval",
        file,
        "--budgets",
        "1.5,3",
        "--routers",
        names,
        "--split",
        "all",
        "--seeds",
        1,
        "--jobs",
        1,
        "--report",
        page,
    )
    assert shown.exit_code == 0 and f"wrote {page}" in shown.stderr
    text = page.read_text(encoding="utf-8")
    parts = text.split("<section ")[1:]
    assert len(parts) == 4  # random, a domain left out, shifted both ways
    for part in parts:
        wide = part.split('class="chart wide"')[1].split('class="chart narrow"')[0]
        assert wide.count("<polyline ") == 3 and wide.count('class="alone"') == 2 and wide.count('class="band"') == 1
    assert "s3cret" not in text and "postgresql://me:***@host/db" in text
    assert not re.search(r'(src|href)="(?!#|data:)', text)


# -- fit and decide


def test_fit_writes_a_router_and_says_what_it_promises(file, tmp_path):
    shown = run("fit", file, "--arms", "cheap,dear", "--budget", "2", "--variant", "acer", "--out", tmp_path / "r")
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert "acer fitted on 60 instances" in said and "At budget 2 it promises" in said
    assert re.search(r"^dear +\d+\.\d\d +\d\d\.\d$", shown.stdout, re.MULTILINE)
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"router.json", "weights.safetensors"}
    assert str(file.parent) not in (tmp_path / "r" / "router.json").read_text()


def test_fit_gives_json(file, tmp_path):
    shown = run("fit", file, "--budget", "2", "--variant", "static", "--out", tmp_path / "r", "--json")
    found = json.loads(shown.stdout)
    assert shown.stdout.count("\n") == 1 and shown.stderr == ""
    assert found["kind"] == "static" and found["budget"] == 2 and found["arms"] == list(ARMS)
    assert found["validation"]["cost_rel"] <= 2.0001 and 0.5 < found["validation"]["accuracy"] < 1


def test_the_default_router_is_fitted_decides_and_is_never_dearer_than_it_promises(file, tmp_path):
    shown = run("fit", file, "--budget", "2.5", "--out", tmp_path / "r", "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["validation"]["cost_rel"] <= 2.5001
    decided = json.loads(run("decide", tmp_path / "r", file, "--json").stdout)
    assert len(decided["decisions"]) == 60


def test_decide_says_for_each_pair_what_is_bought_first(file, folder):
    shown = run("decide", folder, file, "--json")
    found = json.loads(shown.stdout)
    assert shown.stdout.count("\n") == 1 and found["budget"] == 2 and found["router"] == "acer"
    assert [d["id"] for d in found["decisions"]] == [f"p{i}" for i in range(60)]
    for decision in found["decisions"]:
        assert decision["arm"] in ARMS and decision["buy"].startswith(decision["arm"])
        assert decision["cost_rel"] > 0 and -1 <= decision["gain"] <= 1


def test_a_larger_budget_buys_more_and_expects_more(file, folder):
    def total(budget: str, key: str) -> float:
        return sum(
            d[key] for d in json.loads(run("decide", folder, file, "--budget", budget, "--json").stdout)["decisions"]
        )

    assert total("1.1", "cost_rel") < total("3", "cost_rel") <= total("99", "cost_rel")
    assert total("1.1", "gain") < total("99", "gain")


def test_a_pair_is_decided_alike_in_whatever_file_it_stands(file, folder, tmp_path):
    few = tmp_path / "few.jsonl"
    records.write(few, some_records()[20:30][::-1])
    whole = {d["id"]: d for d in json.loads(run("decide", folder, file, "--json").stdout)["decisions"]}
    for decision in json.loads(run("decide", folder, few, "--json").stdout)["decisions"]:
        assert {k: v for k, v in decision.items() if k in ("buy", "rung")} == (
            {k: v for k, v in whole[decision["id"]].items() if k in ("buy", "rung")}
        )


@pytest.mark.parametrize("width", [60, 100])
def test_decide_prints_counts_and_the_first_pairs(file, folder, width):
    shown = run("decide", folder, file, width=width).stdout
    assert max(map(len, shown.splitlines())) <= width
    assert "60 pairs, acer at budget 2" in shown and "The first 20 pairs" in shown
    assert re.search(r"^p0 +\S+ ", shown, re.MULTILINE)


# -- bad input: one line, exit code 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ["eval", "FILE", "--arms", "cheap,daer", "--budgets", "2"],
            "no record has arm 'daer'; there are: cheap, dear",
        ),
        (["eval", "FILE", "--arms", "cheap", "--budgets", "2"], "routing needs two arms or more"),
        (["eval", "FILE", "--arms", ",", "--budgets", "2"], "--arms names nothing"),
        (["eval", "FILE", "--budgets", "2,three"], "--budgets: 'three' is no number; write it as 2,3,4.5"),
        (["eval", "FILE", "--budgets", "-1"], "--budgets: -1 must be above 0"),
        (["eval", "FILE", "--budgets", "nan"], "--budgets: nan must be above 0"),
        (["eval", "FILE", "--budgets", "2", "--routers", "sttic"], "no router 'sttic'; did you mean 'static'?"),
        (["eval", "FILE", "--budgets", "2", "--routers", "self-routing"], "asked whether it needs to reason"),
        (["eval", "FILE", "--budgets", "2", "--split", "radnom"], "radnom"),
        (["eval", "FILE", "--budgets", "2", "--observe", "daer"], "--observe daer: no such arm; there are: cheap"),
        (["eval", "FILE", "--budgets", "2", "--evaluator", "gpt"], "no records of evaluator 'gpt'"),
        (["eval", "FILE", "--budgets", "2", "--embed-url", "http://127.0.0.1:1/v1"], "go together; give both"),
        (["eval", "TWO", "--budgets", "2"], "the records are of 2 evaluators; choose one with --evaluator: a, b"),
        (["eval", "UNLABELLED", "--budgets", "2"], "40 without a gold label"),
        (["eval", "FEW", "--budgets", "2"], "8 instances are too few for 5 folds; give at least 10 records"),
        (["eval", "FEW", "--budgets", "2", "--split", "leave-one-domain-out"], "needs two domains of 10 instances"),
        (["eval", "nowhere.jsonl", "--budgets", "2"], "no such file"),
        (["fit", "FILE", "--budget", "two", "--out", "OUT"], "--budget: 'two' is no number"),
        (["fit", "FILE", "--budget", "2,3", "--out", "OUT"], "--budget 2,3: give one number"),
        (
            ["fit", "FILE", "--budget", "0.2", "--variant", "static", "--out", "OUT"],
            "is below 1 x cheap, what the cheapest",
        ),
        (["fit", "FILE", "--budget", "2", "--variant", "oracle", "--out", "OUT"], "the oracle sees the gold labels"),
        (["fit", "FILE", "--budget", "2", "--variant", "static+pacing", "--out", "OUT"], "fit it without"),
        (["decide", "ROUTER", "FILE", "--budget", "0.1"], "x cheap, what the cheapest policy costs; raise --budget"),
        (["decide", "ROUTER", "FILE", "--budget", "x"], "--budget: 'x' is no number"),
        (["decide", "nowhere", "FILE"], "no such folder; give a router that `adjudge route fit` wrote"),
        (["decide", "ROUTER", "nowhere.jsonl"], "no such file"),
        (["deicde", "ROUTER", "FILE"], "No such command 'deicde'"),
    ],
)
def test_bad_input_is_answered_in_one_line_and_writes_nothing(file, folder, tmp_path, capfd, args, says):
    kinds = {
        "TWO": some_records(20, evaluator="a") + some_records(20, evaluator="b"),
        "UNLABELLED": [
            msgspec.structs.replace(r, pair=msgspec.structs.replace(r.pair, gold=None)) for r in some_records(40)
        ],
        "FEW": some_records(8),
    }
    places = {"FILE": str(file), "ROUTER": str(folder), "OUT": str(tmp_path / "out")}
    for name, rows in kinds.items():
        if name in args:
            records.write(tmp_path / "in.jsonl", rows)
            places[name] = str(tmp_path / "in.jsonl")
    with pytest.raises(SystemExit) as left:
        __main__.main(
            ["route", *(places.get(arg, arg) for arg in args), *(["--jobs", "1"] if args[0] == "eval" else [])]
        )
    out, err = capfd.readouterr()
    assert left.value.code == 2 and out == ""
    assert says in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_help_of_the_group_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, adjudge.__main__ as m\n"
        "try: m.main(['route', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'scipy', 'sklearn', 'rich'} & set(sys.modules)), file=sys.stderr)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stderr.strip() == "[]" and "\n  decide " in shown.stdout
