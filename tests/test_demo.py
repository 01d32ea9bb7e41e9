"""The demo from end to end: with a fake at the backend's seam, and once with the models that ship."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from adjudge import config
from adjudge.__main__ import main
from adjudge.commands import judging
from adjudge.demo.briefs import DOMAINS, MOST_GAP, make_briefs
from adjudge.demo.folder import NAMES, prepare
from adjudge.demo.pairs import make_pairs
from adjudge.errors import DataError, MissingExtra, Rejected
from adjudge.judging import protocol
from adjudge.judging.protocol import check_prompts
from adjudge.lab.world import wording
from adjudge.lab.world.grammar import ORDINALS
from adjudge.lab.world.items import parse_brief
from adjudge.lab.world.program_gold import check
from adjudge.pairs.read import read
from adjudge.store.store import Store
from adjudge.types import Ask, Outcome, Pair, Reply, Usage
from tests.local import needs_model

NUMBER = re.compile(rf"\b(?:{'|'.join(ORDINALS)}) ")


class World:
    """With reasoning it says what gold says; without, the number of the response's words."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self.refuses = False

    async def send(self, ask: Ask) -> Reply:
        self.asks.append(ask)
        if self.refuses:
            raise Rejected("the prompt has too many tokens")
        brief, response, asked = ask.messages[0].content.removeprefix("Brief: ").rsplit("\n", 2)
        response = NUMBER.sub("", response.removeprefix("Response: "))
        if asked == "Score:":
            return Reply(text=f" {len(response.split()) % 10}", finish_reason="stop", usage=Usage(100, 2))
        score = check(parse_brief(brief), response).score
        return Reply(text=f" | 1 of 2 less 0\nScore: {score}", finish_reason="stop", usage=Usage(100, 70))

    async def close(self) -> None:
        pass


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> World:
    fake = World()
    monkeypatch.setattr(judging, "open_backend", lambda _name, _settings: fake)
    return fake


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["demo", *args])
    assert isinstance(left.value.code, int)
    return left.value.code


# -- the whole loop


def test_the_demo_judges_compares_routes_and_reports_with_the_other_commands(model, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("--out", str(out), "--pairs", "40") == 0
    said = capsys.readouterr().out
    assert {p.name for p in out.iterdir()} >= {path.name for path in NAMES}
    learn, new = make_briefs(40, 0, "learn"), make_briefs(20, 0, "new")
    assert list(read(out / "learn.jsonl")) == learn and list(read(out / "new.jsonl")) == new
    store = Store.open(str(out / "new.db"), create=False)
    kept = list(store.records())
    store.close()
    assert [r.pair for r in kept] == new
    assert all(r.judgments["reasoning"].outcome == Outcome(r.pair.gold) for r in kept)
    routed = [r.judgments["route:router"] for r in kept]
    assert all(j.outcome.is_verdict for j in routed) and len({j.output_tokens for j in routed}) > 1
    assert kept[0].pair.id in (out / "report.html").read_text("utf-8")
    for line in ("$ adjudge judge", "$ adjudge compare", "$ adjudge route fit", "$ adjudge report"):
        assert line in said
    assert "100.0" in said and "a million parameters" in said


def test_what_was_judged_is_not_judged_again(model, tmp_path, capsys):
    assert run("--out", str(tmp_path), "--pairs", "40") == 0
    asked = len(model.asks)
    assert run("--out", str(tmp_path), "--pairs", "40") == 0
    assert len(model.asks) == asked
    assert "0 judgments bought in 0 s, 80 were in the store." in capsys.readouterr().out


def test_json_is_one_object_with_what_every_step_found(model, tmp_path, capsys):
    assert run("--out", str(tmp_path), "--pairs", "40", "--json") == 0
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert shown.err == ""
    assert [step["step"] for step in answer["steps"]] == ["judge", "compare", "fit", "route", "result", "report"]
    assert answer["steps"][0]["result"]["bought"] == 80
    overall = answer["steps"][1]["result"]["rows"][0]
    assert (overall["n"], overall["accuracy"]["reasoning"], overall["output_tokens"]["instruct"]) == (40, 1.0, 4)
    assert Path(answer["files"]["report"]).stat().st_size > 10_000


def test_a_run_that_fails_in_part_ends_there_with_its_exit_code(model, tmp_path, capsys):
    model.refuses = True
    assert run("--out", str(tmp_path), "--pairs", "2") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "4 failed" in said and "2/6" not in said


def test_pairs_alone_can_be_written_for_another_judge(tmp_path, capsys):
    file = tmp_path / "pairs.jsonl.gz"
    assert run("--pairs", "30", "--seed", "5", "--pairs-out", str(file)) == 0
    assert list(read(file)) == make_pairs(30, seed=5)
    assert capsys.readouterr().out == f"{file}: 30 pairs\n"


def test_without_llama_cpp_one_line_names_what_to_install(tmp_path, capsys, monkeypatch):
    def missing(_name, _settings):
        raise MissingExtra("the embedded backend (xllamacpp)", "pip install ...")

    monkeypatch.setattr(judging, "open_backend", missing)
    assert run("--out", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error == "adjudge: the embedded backend (xllamacpp) is not installed; run: pip install ...\n"


# -- the pairs


def test_the_label_of_every_pair_is_golds_and_the_two_are_near_each_other():
    pairs = make_briefs(200, 3, "any")
    assert {pair.domain for pair in pairs} == {*DOMAINS, "form"}
    for pair in pairs:
        brief = parse_brief(pair.prompt)
        a, b = check(brief, pair.response_a).score, check(brief, pair.response_b).score
        assert pair.gold == ("A" if a > b else "B") and 0 < abs(a - b) <= MOST_GAP
    assert 0.3 < sum(pair.gold == "A" for pair in pairs) / 200 < 0.7


def test_the_sets_of_a_demo_share_no_pair():
    learn, new = make_briefs(300, 0, "learn"), make_briefs(150, 0, "new")
    assert not {(p.prompt, p.response_a, p.response_b) for p in learn} & {
        (p.prompt, p.response_a, p.response_b) for p in new
    }


# -- the folder


def test_the_judges_are_asked_in_the_form_that_they_were_taught(tmp_path):
    settings = config.load(prepare(tmp_path, make_briefs(1, 0, "learn"), make_briefs(1, 0, "new")).arms)
    check_prompts(settings)
    assert list(settings.arms) == ["instruct", "reasoning"]
    for name, mode in (("instruct", "direct"), ("reasoning", "high")):
        for pair in make_briefs(300, 1, "any"):
            shown = protocol.material(pair)
            asked = protocol.score_questions(pair, settings.arms[name], settings, shown, lambda: "7f")
            said = [question.ask.messages[0].content for question in asked]
            assert said == [wording.judge_prompt(pair.prompt, text, mode) for text in pair.texts]


@pytest.mark.parametrize("name", ["arms.toml", "judge.jinja", "learn.jsonl", "new.jsonl"])
def test_the_demo_never_writes_over_a_file_that_is_not_its_own(name, tmp_path):
    theirs = tmp_path / name
    theirs.write_text('{"id": "mine"}\n')
    pair = [Pair(id="demo-1", prompt="p", response_a="a", response_b="b")]
    with pytest.raises(DataError, match=rf"{name}: is not what the demo would write there; choose another --out"):
        prepare(tmp_path, pair, pair)
    assert theirs.read_text() == '{"id": "mine"}\n'
    assert [path.name for path in tmp_path.iterdir()] == [name]


# -- for real


def claimed(store: Path) -> bool:
    """Whether something is being bought."""
    if not store.exists():
        return False
    with closing(sqlite3.connect(store, timeout=30)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'claims'").fetchone()[0]
        return bool(tables and connection.execute("SELECT count(*) FROM claims").fetchone()[0])


@needs_model
@pytest.mark.slow
def test_the_real_demo_stops_at_ctrl_c_and_goes_on_to_a_judge_whose_reasoning_pays(tmp_path):
    command = [sys.executable, "-m", "adjudge", "demo", "--out", str(tmp_path), "--pairs", "200", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while not claimed(tmp_path / "learn.db"):
            time.sleep(0.1)
            assert child.poll() is None
        time.sleep(1)  # some are judged
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=300)
    assert child.returncode == 1 and "stopping: waiting for the calls in flight" in errors
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    judge, compare, _, _, result, _ = (step["result"] for step in json.loads(again.stdout)["steps"])
    assert judge["complete"] and judge["skipped"] >= 1 and judge["skipped"] + judge["bought"] == 400
    overall = compare["rows"][0]
    assert overall["gain_low"] > 0.05 and overall["accuracy"]["reasoning"] > 0.85 and overall["cost_ratio"] > 20
    tokens = result["rows"][0]["output_tokens"]
    assert tokens["instruct"] < tokens["route:router"] < tokens["reasoning"]
