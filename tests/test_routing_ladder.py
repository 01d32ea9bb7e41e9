"""Rungs meet a budget exactly and as well as any mixture can; what is played is what was planned."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from adjudge.errors import BudgetError
from adjudge.routing.baselines import at_random, knn
from adjudge.routing.ladder import Rung, best_choice, climb, mix, multipliers, upper_hull
from adjudge.routing.router import STOP, bundle_table, expected, play, still_missing
from tests.tables_drawn import rated, signed

SIGNED, RATED = signed(), rated()
some_rungs = st.lists(
    st.builds(Rung, st.just(0.0), st.integers(1, 50).map(float), st.integers(0, 20).map(lambda r: r / 20)),
    min_size=1,
    max_size=8,
).map(tuple)


def worth(rungs: tuple[Rung, ...], mixed: list[tuple[int, float]]) -> tuple[float, float]:
    return tuple(sum(share * getattr(rungs[k], name) for k, share in mixed) for name in ("cost", "reward"))


@given(some_rungs, st.floats(1, 60))
def test_no_mixture_of_any_rungs_within_the_budget_is_better(rungs, budget):
    costs, rewards = ([getattr(r, name) for r in rungs] for name in ("cost", "reward"))
    if budget < min(costs):
        with pytest.raises(BudgetError, match=f"{min(costs):.6g}"):
            mix(rungs, budget)
        return
    best = linprog([-r for r in rewards], A_ub=[costs], b_ub=[budget], A_eq=[[1] * len(rungs)], b_eq=[1])
    cost, reward = worth(rungs, mix(rungs, budget))
    assert reward == pytest.approx(-best.fun, abs=1e-7)
    assert cost <= budget * (1 + 1e-8)


@given(some_rungs, st.floats(0, 1))
def test_a_budget_between_two_rungs_of_the_hull_is_met_exactly(rungs, share):
    hull = upper_hull(rungs)
    low, high = rungs[hull[0]].cost, rungs[hull[-1]].cost
    budget = low + share * (high - low)
    assert worth(rungs, mix(rungs, budget))[0] == pytest.approx(budget, rel=1e-8)


@given(some_rungs)
def test_along_the_hull_more_reward_costs_more_and_more(rungs):
    hull = [rungs[k] for k in upper_hull(rungs)]
    prices = [(b.cost - a.cost) / (b.reward - a.reward) for a, b in pairwise(hull)]
    assert prices == sorted(prices)
    assert all(price > 0 for price in prices)
    assert hull[0].cost == min(r.cost for r in rungs)
    assert hull[-1].reward == max(r.reward for r in rungs)


@given(some_rungs, st.floats(1, 60), st.floats(1, 60))
def test_a_larger_budget_never_lowers_the_reward(rungs, one, other):
    small, large = sorted((one, other))
    if small >= min(r.cost for r in rungs):
        assert worth(rungs, mix(rungs, small))[1] <= worth(rungs, mix(rungs, large))[1] + 1e-9


def test_the_first_multiplier_buys_the_cheapest_and_the_last_the_best():
    reward_NK, cost_NK = bundle_table(SIGNED, SIGNED.bundles, np.ones(6))
    all_of_them = multipliers(reward_NK, cost_NK)
    assert (np.diff(all_of_them) < 0).all()
    rows = np.arange(len(SIGNED))
    first, last = (best_choice(reward_NK, cost_NK, float(m)) for m in all_of_them[[0, -1]])
    assert (cost_NK[rows, first] == cost_NK.min(axis=1)).all()
    assert (reward_NK[rows, last] == reward_NK.max(axis=1)).all()


@given(st.lists(st.tuples(st.sampled_from([0, 0.5, 1]), st.integers(0, 4)), min_size=1, max_size=5), st.floats(0, 2))
def test_the_best_choice_is_the_cheaper_of_two_that_are_level(options, multiplier):
    reward_NK, cost_NK = (np.array([[o[i] for o in options]], float) for i in (0, 1))
    (k,) = best_choice(reward_NK, cost_NK, multiplier)
    worth_K = reward_NK[0] - multiplier * cost_NK[0]
    assert worth_K[k] >= worth_K.max() - 1e-9
    level = [j for j in range(len(options)) if worth_K[j] == worth_K.max()]
    assert cost_NK[0, k] <= min(cost_NK[0, j] for j in level)


def test_rungs_of_perfect_predictions_cost_and_earn_what_they_say():
    reward_NK, cost_NK = bundle_table(SIGNED, SIGNED.bundles, np.ones(6))
    rungs = climb(reward_NK, cost_NK, reward_NK, cost_NK)
    rows = np.arange(len(SIGNED))
    assert [r.cost for r in rungs] == sorted(r.cost for r in rungs)
    for rung in rungs:
        choice_N = best_choice(reward_NK, cost_NK, rung.multiplier)
        assert rung.cost == cost_NK[rows, choice_N].mean()
        assert rung.reward == reward_NK[rows, choice_N].mean()
    assert rungs[-1].reward == reward_NK.max(axis=1).mean()


# playing


def test_what_is_still_missing_is_named_in_the_order_of_the_bundle():
    bought_NU = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]], bool)
    bundles = ((0, 1), (2,))
    assert still_missing(bundles, np.array([0, 0, 0, 0, 0]), bought_NU).tolist() == [0, 1, STOP, 0, STOP]
    assert still_missing(bundles, np.array([1, 1, 1, 1, 1]), bought_NU).tolist() == [2, 2, 2, STOP, STOP]


@pytest.mark.parametrize("table", [SIGNED, RATED], ids=["signed", "rated"])
def test_an_expectation_over_the_mixture_is_the_shares_of_what_is_played(table):
    router, zero = knn.fit(table), np.zeros(len(table))
    budget = float(np.mean([rung.cost for rung in router.rungs]))
    did = expected(router, table, budget, zero)
    parts = [(share, play(router, table, k, zero)) for k, share in mix(router.rungs, budget)]
    np.testing.assert_allclose(did.reward_N, sum(s * p.reward_N for s, p in parts))
    np.testing.assert_allclose(did.cost_N, sum(s * (p.bought_NU * table.cost_NU).sum(axis=1) for s, p in parts))
    np.testing.assert_allclose(did.bought_NU, sum(s * p.bought_NU for s, p in parts))


def test_a_mixture_of_two_arms_spends_the_budget_to_the_last_digit():
    router = at_random.fit(SIGNED)
    low, high = router.rungs[0].cost, router.rungs[-1].cost
    for budget in np.linspace(low, high, 7):
        did = expected(router, SIGNED, budget, np.zeros(len(SIGNED)))
        assert did.cost_N.mean() == pytest.approx(budget, rel=1e-12)


def test_where_every_choice_is_worth_the_same_there_are_multipliers_all_the_same():
    reward_NK, cost_NK = np.full((4, 2), 0.5), np.array([[1.0, 3.0]] * 4)
    found = multipliers(reward_NK, cost_NK)
    assert found[-1] == 0 and (np.diff(found) < 0).all()
    assert climb(reward_NK, cost_NK, reward_NK, cost_NK)[0].cost == 1.0
