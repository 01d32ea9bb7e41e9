"""An arm's name that was judged under two definitions: seen in the store, said by compare and report."""

import json
from pathlib import Path

from click.testing import CliRunner

from adjudge.__main__ import program
from adjudge.store.store import Bought, Store, Wanted
from adjudge.types import Outcome, digest
from tests.stored import judgment, pair

OLD = json.dumps({"name": "plain", "max_tokens": 16, "price": None})
NEW = json.dumps({"name": "plain", "max_tokens": 64, "price": {"input": 1.0, "output": 2.0}})


def judge(url: str, arm_key: str, definition: str, numbers: range, outcome=Outcome.A, arm="plain") -> None:
    """One run of an evaluator `judge` over these pairs."""
    with Store.open(url) as store:
        run = store.begin_run("judge", {arm_key: (arm, definition)}).id
        wanted = []
        for number in numbers:
            key = pair(number).content_key()
            wanted.append(Wanted(digest(key, arm_key), key, arm_key, arm))
        mine = [w for w, claim in zip(wanted, store.claim(run, wanted), strict=True) if claim == "mine"]
        by_key = {pair(n).content_key(): pair(n) for n in numbers}
        store.put(run, [Bought(w, by_key[w.pair_key], judgment(outcome, arm=arm)) for w in mine])
        store.end_run(run)


def counts(url: str) -> dict[str, list[tuple[int, int]]]:
    with Store.open(url) as store:
        return {arm: [(d.counting, d.passed_over) for d in found] for (_, arm), found in store.redefined().items()}


def notes(url: str, tmp_path: Path) -> tuple[list[str], str]:
    """The notes of compare about definitions, and the page that report writes."""
    shown = CliRunner().invoke(program, ["compare", url, "--arms", "all", "--json"], catch_exceptions=False)
    out = tmp_path / "report.html"
    CliRunner().invoke(program, ["report", url, "--out", str(out)], catch_exceptions=False)
    found = [note for note in json.loads(shown.stdout)["notes"] if "definitions" in note]
    return found, out.read_text(encoding="utf-8")


def test_judgments_of_two_definitions_that_stand_side_by_side_are_counted_apart(store_url):
    judge(store_url, "old", OLD, range(6))
    judge(store_url, "new", NEW, range(4, 10))
    assert counts(store_url) == {"plain": [(4, 2), (6, 0)]}


def test_one_definition_under_two_names_or_never_used_is_no_second_definition(store_url):
    judge(store_url, "old", OLD, range(3))
    judge(store_url, "old", OLD, range(3), arm="renamed")
    judge(store_url, "new", NEW, range(0))
    assert counts(store_url) == {}


def test_what_failed_under_an_earlier_definition_and_was_bought_under_the_next_is_not_held_against_it(store_url):
    judge(store_url, "old", OLD, range(3), Outcome.FAILED)
    judge(store_url, "new", NEW, range(3))
    assert counts(store_url) == {}


def test_compare_and_report_say_that_an_arm_was_judged_under_two_definitions(tmp_path):
    url = str(tmp_path / "judgments.db")
    judge(url, "old", OLD, range(6))
    judge(url, "new", NEW, range(4, 10))
    [note], page = notes(url, tmp_path)
    assert note.startswith("plain was judged under 2 definitions, which differ in max_tokens: 4 and 6 ")
    assert "2 do not count" in note and "give each its own name" in note
    assert note.replace("'", "&#39;") in page


def test_an_arm_judged_wholly_again_is_said_to_have_older_judgments_that_do_not_count(tmp_path):
    url = str(tmp_path / "judgments.db")
    judge(url, "old", OLD, range(3))
    judge(url, "new", OLD, range(3))
    [note], _ = notes(url, tmp_path)
    assert "differ in a file that they read" in note and "3 do not count" in note and "mixed" not in note


def test_of_arms_with_one_definition_and_of_files_nothing_is_said(tmp_path):
    url = str(tmp_path / "judgments.db")
    judge(url, "old", OLD, range(3))
    assert notes(url, tmp_path)[0] == []
    judge(url, "new", NEW, range(2, 6))
    file = tmp_path / "records.jsonl"
    CliRunner().invoke(program, ["export", "--store", url, str(file)], catch_exceptions=False)
    assert notes(str(file), tmp_path)[0] == []


def test_definitions_of_another_evaluator_are_not_mentioned(tmp_path):
    url = str(tmp_path / "judgments.db")
    judge(url, "old", OLD, range(3))
    judge(url, "new", NEW, range(2, 6))
    with Store.open(url) as store:
        assert store.redefined("judge") == store.redefined() != {} == store.redefined("somebody else")
