"""What is fitted on and what is tested on: laws of the parts, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjudge.errors import ConfigError, DataError
from adjudge.routing.splits import LEAST_DOMAIN, SPLIT_KINDS, domain_costs, domain_groups, splits
from tests.tables import drawn_table


@pytest.mark.parametrize("kind", SPLIT_KINDS)
@pytest.mark.parametrize("both", [False, True])
def test_no_instance_is_fitted_on_and_tested(kind, both):
    table = drawn_table(90, both=both)
    for split in splits(table, kind, (0, 1)):
        assert len(split.fit_N) + len(split.test_N) == len(table)
        assert not set(table.instance_N[split.fit_N]) & set(table.instance_N[split.test_N])
        assert len(split.test_N) and len(split.fit_N)


@pytest.mark.parametrize("kind", ["random", "leave-one-domain-out"])
def test_every_row_is_tested_once_a_seed(kind):
    table = drawn_table(77)
    for seed in (3, 4):
        tested = np.concatenate([s.test_N for s in splits(table, kind, (seed,))])
        assert sorted(tested) == list(range(len(table)))


def test_random_folds_hold_their_share_of_every_domain_and_are_drawn_by_the_seed():
    table = drawn_table(100, domains="xxxxxxxyyz")
    folds = list(splits(table, "random", (0,)))
    assert len(folds) == 5
    for split in folds:
        held = table.domain_N[split.test_N]
        assert [(held == d).sum() / 2 for d in "xyz"] == [14, 4, 2]
    again, other = (list(splits(table, "random", (seed,))) for seed in (0, 1))
    assert all((a.test_N == b.test_N).all() for a, b in zip(folds, again, strict=True))
    assert not all(np.array_equal(a.test_N, b.test_N) for a, b in zip(folds, other, strict=True))


def test_a_left_out_domain_is_not_in_the_fit_and_small_ones_go_together():
    table = drawn_table(120, domains="x" * 60 + "y" * 52 + "z" * 5 + "abc")
    found = {s.fold: s for s in splits(table, "leave-one-domain-out", (0,))}
    assert set(found) == {"x", "y + a + b + c + z"} or set(found) == {"x", "a + b + c + y + z"}
    for split in found.values():
        assert not set(table.domain_N[split.fit_N]) & set(table.domain_N[split.test_N])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_groups_hold_every_domain_once_and_enough_instances(sizes):
    names = [f"d{i}" for i in range(len(sizes))]
    groups = domain_groups(np.repeat(names, sizes))
    assert sorted(name for group in groups for name in group) == sorted(names)
    of = dict(zip(names, sizes, strict=True))
    if sum(sizes) >= LEAST_DOMAIN:
        assert all(sum(of[name] for name in group) >= LEAST_DOMAIN for group in groups)


def test_a_shift_moves_the_cost_both_ways_with_the_same_number_tested():
    table = drawn_table(300)
    dear_N = table.arm_costs().mean(axis=1)
    found = {s.name: s for s in splits(table, "shift", (0,))}
    assert set(found) == {"shift-dearer", "shift-cheaper"}
    ratio = {name: dear_N[s.test_N].mean() / dear_N[s.fit_N].mean() for name, s in found.items()}
    assert ratio["shift-dearer"] > 1.1 and ratio["shift-cheaper"] < 0.9
    assert {round(len(s.test_N) / len(table), 2) for s in found.values()} == {0.33}
    for split in found.values():  # no domain vanishes from either part
        assert set(table.domain_N[split.test_N]) == set(table.domain_N[split.fit_N]) == set("xyz")


def test_a_domains_cost_is_relative_to_the_whole():
    costs = domain_costs(drawn_table(3000))
    assert costs["x"] == pytest.approx(1 / 1.5, rel=0.05) and costs["z"] == pytest.approx(2 / 1.5, rel=0.05)


@pytest.mark.parametrize(
    ("table", "kind", "says"),
    [
        (drawn_table(9), "random", "9 instances are too few for 5 folds"),
        (drawn_table(100, domains="x"), "leave-one-domain-out", "found 1; use --split random"),
        (drawn_table(100, domains="x"), "shift", "shift needs two domains"),
    ],
)
def test_too_little_is_refused_with_the_remedy(table, kind, says):
    with pytest.raises(DataError, match=says):
        list(splits(table, kind, (0,)))


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="no split 'radnom'"):
        list(splits(drawn_table(50), "radnom", (0,)))
