"""The readers against the real pair sets and records, by the counts that are published with them."""

import re
from pathlib import Path

import pytest

from adjudge import records
from adjudge.errors import DataError
from adjudge.pairs import benchmarks, domains
from adjudge.pairs.mix import Source, mix
from adjudge.pairs.read import check, read

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no recorded judgments beside the checkout")

PAIR_FILES = ("pairs_llmbar", "pairs_judgebench", "pairs_rmbench", "adversarial_code_hacks")


def published() -> dict[str, tuple[int, int, int]]:
    """{file: (rows, gold A, gold B)} of the table of files."""
    rows = re.findall(
        r"^\| (\w+)\.jsonl\.gz \| (\d+) \|.*\| (?:(\d+) / (\d+)|-) \|$", (DATA / "README.md").read_text(), re.MULTILINE
    )
    return {name: (int(count), int(a or 0), int(b or 0)) for name, count, a, b in rows}


def domain_counts(name: str) -> dict[str, int]:
    """{domain: rows} of a pair file, from the list of pair files."""
    (line,) = re.findall(rf"^- {name}: (.*)$", (DATA / "README.md").read_text(), re.MULTILINE)
    return {domain: int(count) for domain, count in re.findall(r"([^,]+?) (\d+)(?:, |$)", line)}


@pytest.mark.parametrize("name", PAIR_FILES)
def test_pair_files_read_with_their_published_counts_and_gold(name):
    checked = check(DATA / f"{name}.jsonl.gz")
    assert (checked.count, checked.gold_a, checked.gold_b) == published()[name]
    assert (checked.format, checked.without_gold, checked.without_texts, checked.left_out) == ("own", 0, 0, {})


@pytest.mark.parametrize("name", PAIR_FILES[:3])
def test_pair_files_read_with_their_published_domains(name):
    assert check(DATA / f"{name}.jsonl.gz").domains == domain_counts(name)


@pytest.mark.parametrize("path", sorted(DATA.glob("records_*.jsonl.gz")), ids=lambda p: p.name.split(".")[0])
def test_pairs_come_out_of_records_once_each(path):
    checked = check(path)
    distinct = {record.pair.id for record in records.read(path)}
    assert (checked.format, checked.count) == ("records", len(distinct))
    rows, gold_a, gold_b = published()[path.name.split(".")[0]]
    if rows == checked.count:
        assert (checked.gold_a, checked.gold_b) == (gold_a, gold_b)


def test_the_styles_of_rm_bench_follow_from_the_places_in_the_id():
    """The published set draws its sides by another hash; styles and difficulty must be those that we would give."""
    for pair in read(DATA / "pairs_rmbench.jsonl.gz"):
        right, wrong = (benchmarks.RM_BENCH_STYLES[int(place)] for place in pair.id[-2:])
        styles = (pair.meta["style_a"], pair.meta["style_b"])
        assert styles == ((right, wrong) if pair.gold == "A" else (wrong, right))
        i, j = pair.id[-2:]
        assert pair.meta["difficulty"] == ("hard" if j > i else "easy" if j < i else "normal")


def test_a_router_trained_on_these_sets_is_told_that_it_saw_little_math(tmp_path):
    sources = [Source(path=DATA / f"{name}.jsonl.gz") for name in PAIR_FILES[:3]]
    mixed = mix(sources, tmp_path / "m.jsonl.gz", total=2000, shares_by_domain={"math": 0.25, "code": 0.25})
    assert mixed.short["math"] == (500, 90)
    assert mixed.topics["math"] == 90 < domains.THIN_PAIRS < mixed.topics["code"] == 500
    assert "math" in mixed.thin
    assert "code" not in mixed.thin


@pytest.mark.parametrize("name", ["positions_rewardbench2", "adversarial_alpaca_eval", "questions_arena_hard_v2"])
def test_files_that_hold_no_pairs_are_refused(name):
    with pytest.raises(DataError, match=r"\.jsonl\.gz:1: is of no known format"):
        read(DATA / f"{name}.jsonl.gz")
