"""The page as it is written: whole, harmless, and saying what the comparison says. test_report_browser.py opens it."""

import base64
import hashlib
import json
import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from adjudge import __version__, records
from adjudge.__main__ import program
from adjudge.compare import compare
from adjudge.errors import DataError
from adjudge.report import judgments as packing
from adjudge.report.page import Made, write_comparison_html, write_report
from adjudge.types import Judgment, Outcome, Pair, Record
from tests.judgments import record
from tests.pages import DOMAINS, EVALUATOR, HIDING, HOSTILE, Page, hostile_records, plain_records

LLMBAR = Path(__file__).parents[2] / "shared" / "data" / "records_llmbar.jsonl.gz"
NBSP = "\N{NO-BREAK SPACE}"


def page_of(some: list[Record], path: Path, arms=("instruct", "reasoning"), **options) -> Page:
    write_report(some, compare(some, list(arms), evaluator=some[0].evaluator), path, **options)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Page:
    made = Made("adjudge report '<b>'", datetime(2026, 3, 1, 12, 30, tzinfo=UTC))
    return page_of(hostile_records(), tmp_path_factory.mktemp("page") / "page.html", made=made, notes=[HOSTILE[0]])


# -- whole and harmless


def test_every_element_is_closed_and_every_id_is_one_of_a_kind(hostile):
    assert hostile.unclosed == []
    ids = [values["id"] for _, values in hostile.elements if "id" in values]
    assert len(ids) == len(set(ids))
    for drawing in re.findall(r"<svg.*?</svg>", hostile.source, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_nothing_foreign_becomes_markup(hostile):
    allowed = {"script": 3, "svg": None, "a": None}
    counts = Counter(tag for tag, _ in hostile.elements)
    data = sum(values.get("class") == "chunk" for values, _ in hostile.scripts)
    assert counts["script"] == allowed["script"] - 1 + data
    assert not counts.keys() & {"img", "iframe", "textarea", "i", "u", "object", "embed", "base"}
    for tag, values in hostile.elements:
        assert not [name for name in values if name.startswith("on") or name == "style"], (tag, values)
        assert values.get("href", "#").startswith(("#", "data:,")), values
        assert "src" not in values


def test_foreign_words_stand_on_the_page_as_they_are(hostile):
    assert HOSTILE[0] in hostile.text
    assert DOMAINS[3] in hostile.text
    assert "<u>judge</u>[U+202E]" in hostile.text
    assert "adjudge report '<b>'" in hostile.text


def test_no_character_on_the_page_hides_or_reorders_its_neighbours(hostile):
    odd = {c for c in hostile.text if unicodedata.category(c) in ("Cf", "Co", "Cs", "Zl", "Zp", "Cc")}
    assert odd <= {"\n", "\t"}


def test_the_content_policy_allows_this_style_and_this_script_only(hostile):
    policy = next(v["content"] for t, v in hostile.elements if v.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    code = next(content for values, content in hostile.scripts if not values)
    for rule, content in (("script-src", code), ("style-src", "".join(hostile.styles))):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert not rules.keys() & {"connect-src", "font-src", "frame-src", "object-src"}


def test_the_judgments_block_cannot_end_its_element(hostile):
    for values, content in hostile.scripts:
        if values:
            assert "<" not in content


def test_the_page_is_the_same_for_the_same_input(tmp_path):
    some = hostile_records()
    first, second = (page_of(some, tmp_path / name).source for name in ("a.html", "b.html"))
    assert first == second


def test_a_lone_surrogate_does_not_stop_the_page(tmp_path):
    some = [
        msgspec.structs.replace(r, pair=msgspec.structs.replace(r.pair, prompt="broken \ud800 half", domain="d\udfff"))
        for r in plain_records()
    ]
    assert "broken ? half" in json.dumps(page_of(some, tmp_path / "page.html").chunks)


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")

    def breaking():
        yield from plain_records()
        raise DataError("half a last line", path="records.jsonl", line=7)

    with pytest.raises(DataError, match=r"records\.jsonl:7"):
        write_report(breaking(), compare(plain_records()), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match="cannot be written"):
        write_report(plain_records(), compare(plain_records()), path / "below.html")


def test_records_of_another_judge_than_the_comparisons_are_refused(tmp_path):
    others = [record(1, "A", evaluator="somebody else", instruct="AA", reasoning="AA")]
    with pytest.raises(DataError, match="no judgment of judge is among the records"):
        write_report(others, compare(plain_records()), tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


# -- what it says is what the comparison says


def test_the_accuracy_table_has_the_comparisons_numbers(hostile):
    comparison = compare(hostile_records(), ["instruct", "reasoning"], evaluator=EVALUATOR)
    table = hostile.table("Accuracy against cost")
    for name, row in comparison.rows[0].arms.items():
        cells = table[name]
        assert cells["pairs"] == f"{row.n_rows}"
        low, value, high = (100 * x for x in (row.accuracy.low, row.accuracy.value, row.accuracy.high))
        assert cells["accuracy [interval]"].replace(NBSP, " ") == f"{value:.1f} % [{low:.1f}, {high:.1f}]"
        assert cells["output tokens"] == f"{row.output_tokens:.1f}"
        assert cells["cost per judgment"] == "$0.00125"
        assert cells["pairs, all it judged"] == f"{comparison.alone[name].n_rows}"


def test_the_gain_table_has_every_domain_sorted_with_all_together_last(hostile):
    comparison = compare(hostile_records(), ["instruct", "reasoning"], evaluator=EVALUATOR)
    table = hostile.table("Gain of reasoning over instruct")
    rows = {row.domain: row for row in comparison.rows}
    assert list(table)[-1] == "all together"
    gains = []
    for name, cells in table.items():
        row = rows["all" if name == "all together" else name]
        contrast = row.contrasts["instruct", "reasoning"]
        with_gold = [r for r in hostile_records() if r.pair.gold and {"instruct", "reasoning"} <= r.judgments.keys()]
        of_domain = [r for r in with_gold if name in ("all together", r.pair.domain)]
        assert cells["pairs with gold"] == f"{len(of_domain)}"
        value, low, high = (f"{100 * x:+.1f}" for x in (contrast.gain.value, contrast.gain.low, contrast.gain.high))
        shown = cells["gain [interval], points"].replace("−", "-")
        assert [float(x) for x in re.findall(r"[-+]?[\d.]+", shown)] == [float(value), float(low), float(high)]
        assert (cells["pairs better"], cells["pairs worse"]) == (f"{contrast.better}", f"{contrast.worse}")
        p = contrast.mcnemar_p
        assert cells["McNemar p"] == ("< 0.001" if p < 0.0005 else f"{p:.3f}")
        gains.append(float(value))
    assert gains[:-1] == sorted(gains[:-1], reverse=True)
    assert set(table) == {*DOMAINS, "all together"}


def test_cost_ratios_are_those_of_the_comparison(hostile):
    comparison = compare(hostile_records(), ["instruct", "reasoning"], evaluator=EVALUATOR)
    table = hostile.table("Cost of reasoning in times that of instruct")
    for row in comparison.rows:
        ratio = row.contrasts["instruct", "reasoning"].cost_ratio
        shown = table["all together" if row.domain == "all" else row.domain]["ratio"]
        assert float(shown.removesuffix(f"{NBSP}×")) == pytest.approx(ratio, abs=0.006)


def test_outcome_counts_equal_a_count_by_hand(hostile):
    table = hostile.table("What became of every question")
    for name in ("instruct", "reasoning"):
        said = [
            (outcome, r.pair.gold)
            for r in hostile_records()
            if name in r.judgments
            for outcome in (r.judgments[name].ab, r.judgments[name].ba)
            if outcome is not None
        ]
        cells = {heading: int(cell.split(" ")[0]) for heading, cell in table[name].items() if heading != "arm"}
        assert cells.pop("questions") == len(said) == sum(cells.values())
        assert cells["right, said A"] == said.count((Outcome.A, "A"))
        assert cells["wrong, said B"] == said.count((Outcome.B, "A"))
        assert cells["said B, no gold label"] == said.count((Outcome.B, None))
        for kind in ("tie", "unread", "truncated", "refused", "failed"):
            assert cells[kind] == sum(outcome == kind for outcome, _ in said)


def test_every_outcome_is_listed_even_when_it_never_came(tmp_path):
    table = page_of(plain_records(), tmp_path / "page.html").table("What became of every question")
    assert table["reasoning"]["refused"].startswith("0 (0.0")
    assert {"tie", "unread", "truncated", "refused", "failed"} <= table["reasoning"].keys()


def test_consistency_and_bias_are_those_of_the_comparison(hostile):
    arms = compare(hostile_records(), ["instruct", "reasoning"], evaluator=EVALUATOR).rows[0].arms
    agree, lean = hostile.table("Position consistency"), hostile.table("Position bias")
    for name, row in arms.items():
        assert agree[name]["both orders agree [interval]"].startswith(f"{100 * row.consistency.value:.1f}")
        assert agree[name]["pairs"] == f"{row.n_both}"
        shown = lean[name]["lean to the first [interval], points"].replace("−", "-")
        assert float(shown.split(" ")[0]) == pytest.approx(100 * row.position_bias.value, abs=0.051)


def test_the_head_names_evaluator_version_date_and_command(hostile):
    assert f"Made by adjudge {__version__} on 2026-03-01 12:30 UTC" in hostile.text
    assert "pairs that all arms judged" in hostile.text


@pytest.mark.skipif(not LLMBAR.exists(), reason="the recorded judgments are not beside the checkout")
def test_the_published_contrast_of_metrics_and_reference_is_on_the_page(tmp_path):
    some = [r for r in records.read(LLMBAR) if r.evaluator == "ChatGPT"]
    page = page_of(some, tmp_path / "page.html", ("Vanilla_NoRules", "Metrics_Reference"))
    said = page.text.replace(NBSP, " ")
    assert "Metrics_Reference costs 42.6 × the output tokens of Vanilla_NoRules and gains +4.6 points" in said
    assert "59.8 % against 55.2 %" in said
    table = page.table("Gain of Metrics_Reference")
    assert table["LLMBar/Adversarial/Neighbor"]["gain [interval], points"].startswith("+20.1")
    assert table["LLMBar/Adversarial/GPTOut"]["gain [interval], points"].startswith("−5.3")
    assert table["all together"]["pairs with gold"] == "885"


# -- any handful of records


@pytest.mark.parametrize("gold", ["A", None])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("tokens", [None, 0.0, 7.0])
def test_a_page_comes_out_of_any_handful_of_records(tmp_path, gold, count, tokens):
    names = [f"arm{i}" for i in range(count)]
    some = [
        record(i, gold, "only", **{n: Judgment(arm=n, ab=Outcome.A, output_tokens=tokens) for n in names})
        for i in range(2)
    ]
    page = page_of(some, tmp_path / "page.html", names)
    assert page.unclosed == []
    assert len(page.index["rows"]) == 2


def test_arms_that_share_no_pair_are_shown_by_themselves(tmp_path):
    some = [record(i, "A", **{name: "AA"}) for i, name in enumerate("xyz")]
    page = page_of(some, tmp_path / "page.html", "xyz")
    assert "No pair was judged by all 3 arms" in page.text
    assert page.table("Accuracy against cost")["y"]["pairs"] == "1"


# -- which judgments


def test_all_records_stand_on_the_page_when_they_fit(hostile):
    shown = [r for r in hostile_records() if r.judgments]
    assert [row[4] for row in hostile.index["rows"]] == [r.pair.id for r in shown]


def test_texts_come_back_from_the_page_unchanged(hostile):
    chunks = hostile.chunks
    rows = {row[4]: chunks[row[2]][row[3]] for row in hostile.index["rows"]}
    for r in hostile_records():
        if not r.judgments:
            continue
        packed = rows[r.pair.id]
        assert (packed["prompt"], packed["a"], packed["b"]) == (r.pair.prompt, r.pair.response_a, r.pair.response_b)
        assert HIDING in packed["prompt"]
        for name, said in zip(("instruct", "reasoning"), packed["arms"], strict=True):
            judgment = r.judgments.get(name)
            assert (said is None) == (judgment is None)
            if judgment is not None:
                assert said["completion_ab"] == judgment.completion_ab
                assert said["reasoning_ab"] == judgment.reasoning_ab
                assert said.get("error") == judgment.error


def test_the_cap_holds_and_disagreements_come_first(tmp_path):
    some = hostile_records(400)
    kept = packing.choose(some, max_judgments=100)
    assert kept.judgments == sum(len(r.judgments) for r in kept.records) <= 100
    disagreeing = sum(packing.arms_disagree(r) for r in some)
    assert disagreeing > len(kept.records)
    assert all(packing.arms_disagree(r) for r in kept.records)
    order = [r.pair.id for r in some]
    assert sorted((r.pair.id for r in kept.records), key=order.index) == [r.pair.id for r in kept.records]
    page = page_of(some, tmp_path / "page.html", max_judgments=100)
    total = sum(len(r.judgments) for r in some)
    assert f"Showing {kept.judgments} of {total} judgments" in page.text
    assert sum(int(c["questions"]) for c in page.table("What became of every question").values()) > 2 * 100


@given(st.lists(st.sampled_from(["AA AA", "AA BB", "AB AB", "A? AA", "tt tt"]), max_size=40), st.integers(0, 60))
def test_nothing_of_a_lower_kind_is_kept_while_a_higher_one_is_left_out(kinds, cap):
    some = [record(i, "A", one=kind[:2], two=kind[3:]) for i, kind in enumerate(kinds)]
    kept = packing.choose(some, cap)
    left = [r for r in some if r.pair.id not in {k.pair.id for k in kept.records}]
    assert len(kept.records) == min(len(some), cap // 2)
    assert kept.all_judgments == 2 * len(some)

    def worth(r: Record) -> int:
        if r.judgments["one"].outcome != r.judgments["two"].outcome:
            return 2
        unsettled = any(j.consistent is False or not j.outcome.is_verdict for j in r.judgments.values())
        return 1 if unsettled else 0

    assert min((worth(r) for r in kept.records), default=2) >= max((worth(r) for r in left), default=0)


def test_a_text_too_long_for_a_page_is_cut_and_its_length_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MAX_CHARS", 50)
    pair = Pair(id="p", prompt="x" * 80, response_a="short", response_b="y", gold="A")
    some = [Record(pair=pair, evaluator="e", judgments={"one": Judgment(arm="one", ab=Outcome.A)})]
    assert page_of(some, tmp_path / "page.html", ["one"]).chunks[0][0]["prompt"] == ["x" * 50, 80]


def test_best_of_n_instances_show_all_their_responses(tmp_path):
    pair = Pair(id="p", prompt="q", responses=("r1", "r2", "r3"), gold="B", gold_index=1)
    some = [Record(pair=pair, evaluator="e", judgments={"one": Judgment(arm="one", ab=Outcome.A)})]
    packed = page_of(some, tmp_path / "page.html", ["one"]).chunks[0][0]
    assert (packed["responses"], packed["gold_index"]) == (["r1", "r2", "r3"], 1)


def test_a_comparison_alone_has_charts_and_no_judgments(tmp_path):
    path = tmp_path / "comparison.html"
    write_comparison_html(compare(hostile_records(), ["instruct", "reasoning"], evaluator=EVALUATOR), path)
    page = Page(path.read_text(encoding="utf-8"))
    assert [values for values, _ in page.scripts] == [{}]
    assert page.table("Gain of reasoning")["all together"]
    assert "question 1" not in page.source
    shown = page.table("What became of every question")["instruct"]
    said = [o for r in hostile_records() if "instruct" in r.judgments for o in r.judgments["instruct"].orders]
    assert int(shown["questions"]) == len(said)
    assert int(shown["A or B"].split(" ")[0]) == sum(o in (Outcome.A, Outcome.B) for o in said)


# -- the command


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(program, ["report", *words], catch_exceptions=True)
    return result.exit_code, result.output


@pytest.fixture
def two_evaluators(tmp_path) -> Path:
    path = tmp_path / "records.jsonl"
    others = [record(i, "A", evaluator="second", **({"x": "AA", "y": "AB"} if i else {"x": "BB"})) for i in range(3)]
    records.write(path, [record(i, "A", evaluator="first", x="AB", z="AA") for i in range(3)] + others)
    return path


def test_the_command_says_as_json_what_it_wrote(tmp_path, two_evaluators):
    out = tmp_path / "report.html"
    code, said = run(str(two_evaluators), "--out", str(out), "--json")
    told = json.loads(said)
    assert code == 0
    assert told["size_bytes"] == out.stat().st_size
    assert [(c["evaluator"], sorted(c["arms"])) for c in told["comparisons"]] == [
        ("first", ["x", "z"]),
        ("second", ["x", "y"]),
    ]
    assert (told["pairs"], told["judgments"], told["shown_judgments"]) == (6, 11, 11)
    page = Page(out.read_text(encoding="utf-8"))
    assert [e["name"] for e in page.index["evaluators"]] == ["first", "second"]
    assert "--out" in page.text and "--arms all" in page.text


def test_an_evaluator_without_the_arms_is_left_out_and_named(tmp_path, two_evaluators):
    out = tmp_path / "report.html"
    code, said = run(str(two_evaluators), "--out", str(out), "--arms", "x,y", "--json")
    assert code == 0
    assert [c["evaluator"] for c in json.loads(said)["comparisons"]] == ["second"]
    assert "first is not in this report: no arm 'y'" in Page(out.read_text(encoding="utf-8")).text


def test_an_arm_that_nobody_has_is_an_error_and_nothing_is_written(tmp_path, two_evaluators):
    out = tmp_path / "report.html"
    result = CliRunner().invoke(program, ["report", str(two_evaluators), "--out", str(out), "--arms", "x,q"])
    assert result.exit_code != 0
    assert "no arm 'q'" in str(result.exception)
    assert not out.exists()


def test_the_page_says_how_to_make_it_again_without_the_password():
    from adjudge.commands.report import _command_line

    line = _command_line("postgresql://ann:secret@db/j", Path("a b.html"), "x,y", None, 5)
    assert line == "adjudge report 'postgresql://ann:***@db/j' --out 'a b.html' --arms x,y --max-judgments 5"
