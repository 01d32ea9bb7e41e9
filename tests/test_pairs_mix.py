import random
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.errors import ConfigError, DataError
from adjudge.pairs import domains, own, quotas
from adjudge.pairs.mix import Source, mix
from adjudge.pairs.read import read
from adjudge.pairs.shuffle import in_order
from adjudge.types import Pair
from tests.pairs_samples import jsonl


def made(name: str, **counts: int) -> list[dict]:
    """Rows of a source: so many pairs of each domain, every tenth without gold."""
    return [
        {
            "id": f"{name}-{domain}-{i}",
            "prompt": f"{domain} {i}",
            "response_a": f"a{i}",
            "response_b": f"b{i}",
            "gold": None if i % 10 == 9 else "AB"[i % 2],
            "domain": f"set/{domain}",
        }
        for domain, count in counts.items()
        for i in range(count)
    ]


@pytest.fixture
def sources(tmp_path):
    one = jsonl(tmp_path / "one.jsonl", made("x", math=400, chat=900))
    two = jsonl(tmp_path / "two.jsonl.gz", made("x", code=500, chat=1000, safety=100))
    return [Source(path=one), Source(path=two)]


def domains_of(path) -> Counter:
    return Counter(pair.domain for pair in read(path))


def test_the_shares_by_domain_are_met_to_the_pair(sources, tmp_path):
    out = tmp_path / "mixed.jsonl.gz"
    mixed = mix(sources, out, total=1000, shares_by_domain={"math": 0.25, "code": 0.25})
    counts = domains_of(out)
    assert (counts["set/math"], counts["set/code"], counts.total()) == (250, 250, 1000)
    assert mixed.count == 1000
    assert {d: n.chosen for d, n in mixed.domains.items()} == counts
    assert (mixed.short, mixed.left_out) == ({}, {})
    assert 400 < counts["set/chat"] < 500  # the rest as it comes: 1900 of 2000 are chat


def test_without_a_total_the_set_is_the_largest_that_keeps_the_shares(sources, tmp_path):
    out = tmp_path / "mixed.jsonl"
    mix(sources, out, shares_by_domain={"math": 0.4, "code": 0.4})
    counts = domains_of(out)
    assert (counts["set/math"], counts["set/code"], counts.total()) == (400, 400, 1000)
    mix(sources, out)
    assert domains_of(out).total() == 2900


def test_a_share_that_cannot_be_met_is_left_short_and_said(sources, tmp_path):
    mixed = mix(sources, tmp_path / "m.jsonl", total=2000, shares_by_domain={"math": 0.5})
    assert mixed.domains["set/math"].chosen == 400
    assert mixed.short == {"math": (1000, 400), "total": (2000, 1400)}


def test_thin_domains_are_named_math_and_code_above_all(sources, tmp_path):
    mixed = mix(sources[:1], tmp_path / "m.jsonl", total=600, shares_by_domain={"math": 0.25})
    assert mixed.topics["code"] == 0
    assert mixed.topics["math"] == mixed.domains["set/math"].with_gold < 150 < domains.THIN_PAIRS
    assert mixed.thin == ("code", "math", "set/math")


def test_the_thin_bound_is_where_a_gain_of_ten_points_shows():
    """By simulation: at the bound a paired gain of 10 points is seen in 80 % of draws at two-sided 5 %."""
    n, draw = domains.THIN_PAIRS, np.random.default_rng(0)
    steps = draw.choice([1, -1, 0], size=(4000, n), p=[0.2, 0.1, 0.7])  # 30 % differ, 10 points of gain
    means = steps.mean(axis=1)
    seen = means / (steps.std(axis=1) / np.sqrt(n)) > 1.96
    assert 0.77 < seen.mean() < 0.86


def test_sources_take_a_share_or_a_count(sources, tmp_path):
    one, two = (s.path for s in sources)
    mixed = mix([Source(path=one, share=0.3), Source(path=two, share=0.7)], tmp_path / "m.jsonl", total=1000)
    assert mixed.sources == {"one": 300, "two": 700}
    mixed = mix([Source(path=one, count=50), Source(path=two)], tmp_path / "m.jsonl", total=1000)
    assert mixed.sources == {"one": 50, "two": 950}
    mixed = mix([Source(path=one, count=50), Source(path=two, count=70)], tmp_path / "m.jsonl")
    assert mixed.sources == {"one": 50, "two": 70}


def test_ids_stay_unique_and_gold_goes_with_its_response(sources, tmp_path):
    alike = tmp_path / "again"
    alike.mkdir()
    twin = jsonl(alike / "one.jsonl", made("x", math=400, chat=900))
    out = tmp_path / "m.jsonl"
    mix([sources[0], Source(path=twin)], out)
    pairs = list(read(out))
    assert {p.id.split("/")[0] for p in pairs} == {"one~1", "one~2"}
    origin = {f"{name}/{p.id}": p for name in ("one~1", "one~2") for p in read(twin)}
    assert len(pairs) == len(origin) == 2600
    for pair in pairs:
        renamed = msgspec.structs.replace(origin[pair.id], id=pair.id, source=pair.id.split("/")[0])
        assert pair == renamed


def test_a_mix_depends_on_the_seed_and_not_on_the_order_of_rows(sources, tmp_path):
    wanted = {"total": 500, "shares_by_domain": {"math": 0.3}}
    first, again, other = (tmp_path / n for n in ("a.jsonl", "b.jsonl", "c.jsonl"))
    mix(sources, first, seed=1, **wanted)
    rows = made("x", math=400, chat=900)
    random.Random(0).shuffle(rows)
    jsonl(sources[0].path, rows)
    mix(sources, again, seed=1, **wanted)
    mix(sources, other, seed=2, **wanted)
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_a_mix_is_shuffled_across_sources_and_domains(sources, tmp_path):
    out = tmp_path / "m.jsonl"
    mix(sources, out, total=1000, shares_by_domain={"math": 0.25})
    half = Counter(pair.domain for pair in list(read(out))[:500])
    assert 90 < half["set/math"] < 160


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"shares_by_domain": {"math": 0.7, "code": 0.7}}, "the shares of the domains add up to 1.4"),
        ({"shares_by_domain": {"math": 25}}, "the share of 'math' must be from 0 to 1, not 25"),
        ({"total": 0}, "total must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(sources, tmp_path, kwargs, says):
    with pytest.raises(ConfigError, match=says):
        mix(sources, tmp_path / "m.jsonl", **kwargs)


def test_a_domain_that_no_source_has_is_refused_with_those_found(sources, tmp_path):
    with pytest.raises(DataError, match=r"no pair is of the domain 'law'.*found: set/chat, set/code, set/math"):
        mix(sources, tmp_path / "m.jsonl", total=100, shares_by_domain={"law": 0.5})
    with pytest.raises(ConfigError, match="no source"):
        mix([], tmp_path / "m.jsonl")
    with pytest.raises(ConfigError, match="a share or a count"):
        mix([Source(path=sources[0].path, share=0.5, count=3)], tmp_path / "m.jsonl")


def test_bad_input_leaves_no_file_behind(sources, tmp_path):
    bad = jsonl(tmp_path / "bad.jsonl", [*made("x", math=5), {"id": "z"}])
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"bad\.jsonl:6"):
        mix([*sources, Source(path=bad)], tmp_path / "m.jsonl")
    assert set(tmp_path.iterdir()) == before


def test_the_order_is_the_same_however_many_files_it_passes_through(tmp_path, monkeypatch):
    draw = random.Random(1)
    placed = [(draw.getrandbits(64), Pair(id=str(i), meta={"i": i})) for i in range(300)]
    want = [pair for _, pair in sorted(placed, key=lambda item: item[0])]
    assert list(in_order(placed, 300, tmp_path)) == want
    monkeypatch.setattr("adjudge.pairs.shuffle._BUCKET_PAIRS", 10)
    assert list(in_order(placed, 300, tmp_path)) == want
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(st.lists(st.integers(0, 500), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(1, 3000),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
@settings(max_examples=60, deadline=None)
def test_no_quota_passes_what_there_is_nor_what_was_asked(available, total, one, two):
    available_SK = np.array(available, dtype=np.int64)
    targets_K = [one * total, two * total, None]
    taken_SK = quotas.allot(available_SK, total, [None] * len(available), targets_K)
    assert (taken_SK >= 0).all()
    assert (taken_SK <= available_SK).all()
    taken_K, have_K = taken_SK.sum(axis=0), available_SK.sum(axis=0)
    wanted_K = [one * total, two * total, total - (one + two) * total]
    for taken, have, wanted in zip(taken_K, have_K, wanted_K, strict=True):
        assert taken <= wanted + 1
        assert taken >= min(have, wanted) - 1  # short only where there is no more


def test_two_sets_of_targets_are_met_together_where_they_can_be():
    available_SK = np.array([[100, 1000], [1000, 1000]])
    taken_SK = quotas.allot(available_SK, 1000, [600.0, 400.0], [300.0, None])
    assert taken_SK.sum(axis=0).tolist() == [300, 700]
    assert abs(taken_SK.sum(axis=1) - [600, 400]).max() <= 2
    assert (taken_SK <= available_SK).all()


def test_what_is_mixed_can_be_mixed_again(sources, tmp_path):
    first = tmp_path / "first.parquet"
    mix(sources, first, total=400)
    mixed = mix([Source(path=first)], tmp_path / "second.jsonl", shares_by_domain={"set/chat": 0.5})
    assert mixed.count > 0
    assert own.write(tmp_path / "third.jsonl", read(tmp_path / "second.jsonl")) == mixed.count
