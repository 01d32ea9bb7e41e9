"""The baselines do what their papers say: checked by hand, by another library, or by trying everything."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from adjudge.errors import BudgetError, ConfigError, DataError
from adjudge.routing.baselines import (
    always,
    at_random,
    factors,
    irt,
    knn,
    oracle,
    self_routing,
    static,
    threshold,
    while_tied,
)
from adjudge.routing.baselines.parts import explore, folds_of, narrowed
from adjudge.routing.ladder import Rung, mix
from adjudge.routing.router import bundle_table, expected, play
from adjudge.routing.table import Purchase, Table
from adjudge.types import Call, Judgment, Outcome, Pair, Record
from tests.tables_drawn import rated, signed

SIGNED, RATED = signed(), rated()


def by_arm(table: Table) -> tuple[np.ndarray, np.ndarray]:
    return bundle_table(table, table.bundles, np.ones(len(table.purchases)))


def spoken(verdicts: ArrayLike, costs: ArrayLike, gold: ArrayLike, arms: tuple[str, ...]) -> Table:
    """A table of verdicts in both orders, one row an instance: two columns an arm."""
    n = len(np.asarray(gold))
    return Table(
        ids=tuple(str(i) for i in range(n)),
        instance_N=np.arange(n),
        domain_N=np.full(n, "d"),
        arms=arms,
        purchases=tuple(Purchase(arm, order) for arm in arms for order in (0, 1)),
        bundles=tuple((2 * k,) for k in range(len(arms))),
        said_NU=np.array(verdicts, float),
        rating_NUR=None,
        cost_NU=np.tile(np.array(costs, float), (n, 1)),
        gold_N=np.array(gold, float),
        gold_index_N=None,
        x_ND=np.empty((n, 0)),
    )


# always, at random


def test_always_an_arm_costs_and_earns_what_the_arm_does():
    reward_NK, cost_NK = by_arm(SIGNED)
    for k, arm in enumerate(SIGNED.arms):
        router = always.fit(SIGNED, always.Settings(arm))
        played = play(router, SIGNED, 0, np.zeros(len(SIGNED)))
        assert (played.reward_N == reward_NK[:, k]).all()
        assert (played.cost_N == cost_NK[:, k]).all()


def test_an_arm_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match="cheap, middling, dear"):
        always.fit(SIGNED, always.Settings("best"))
    with pytest.raises(ConfigError, match="cheap, middling, dear"):
        threshold.fit(SIGNED, threshold.Settings(observe="best"))
    with pytest.raises(ConfigError, match="cheap, middling, dear"):
        while_tied.fit(SIGNED, while_tied.Settings(observe="best"))


def test_no_mixture_of_two_arms_at_the_budget_beats_random_at_matched_cost():
    reward_K, cost_K = (table.mean(axis=0) for table in by_arm(SIGNED))
    router = at_random.fit(SIGNED)
    for budget in np.linspace(cost_K.min() + 1, cost_K.max(), 9):
        reward = expected(router, SIGNED, budget, np.zeros(len(SIGNED))).reward_N.mean()
        best = 0.0
        for a, b in product(range(3), repeat=2):
            for share in np.linspace(0, 1, 201):
                if share * cost_K[a] + (1 - share) * cost_K[b] <= budget:
                    best = max(best, share * reward_K[a] + (1 - share) * reward_K[b])
        assert best - 1e-9 <= reward <= best + 0.01


def test_plain_random_spends_the_budget_on_the_first_and_the_last_arm():
    router = at_random.fit(SIGNED, at_random.Settings(ends=True))
    budget = float(SIGNED.arm_costs().mean()) / 2
    did = expected(router, SIGNED, budget, np.zeros(len(SIGNED)))
    assert did.cost_N.mean() == pytest.approx(budget, rel=1e-12)
    assert set(np.flatnonzero(did.bought_NU.sum(axis=0))) == {0, 4}


# oracle


@pytest.mark.parametrize("table", [SIGNED, RATED], ids=["signed", "rated"])
def test_the_oracle_is_the_optimum_of_the_linear_programme(table):
    small = table.at(np.arange(60))
    n = len(np.unique(small.instance_N))
    reward_IK, cost_IK = (table_NK.reshape(n, -1, len(small.arms)).mean(axis=1) for table_NK in by_arm(small))
    one_each = np.kron(np.eye(n), np.ones(len(small.arms)))
    for budget in np.linspace(cost_IK.min(axis=1).mean() * 1.01, cost_IK.max(axis=1).mean(), 6):
        exact = linprog(
            -reward_IK.ravel() / n, A_ub=[cost_IK.ravel() / n], b_ub=[budget], A_eq=one_each, b_eq=np.ones(n)
        )
        did = oracle.ceiling(small, budget)
        assert did.reward_N.mean() == pytest.approx(-exact.fun, abs=1e-9)
        assert did.cost_N.mean() <= budget * (1 + 1e-9)


def test_no_router_that_buys_one_arm_passes_the_oracle():
    _, cost_NK = by_arm(SIGNED)
    for router in (at_random.fit(SIGNED), knn.fit(SIGNED), factors.fit(SIGNED), irt.fit(SIGNED)):
        for budget in np.linspace(router.rungs[0].cost, cost_NK.mean(axis=0).max(), 5):
            did = expected(router, SIGNED, budget, np.zeros(len(SIGNED)))
            assert did.reward_N.mean() <= oracle.ceiling(SIGNED, did.cost_N.mean()).reward_N.mean() + 1e-9


def test_the_oracle_refuses_a_budget_that_the_cheapest_choices_pass():
    with pytest.raises(BudgetError, match="cheapest choices"):
        oracle.ceiling(SIGNED, SIGNED.arm_costs().min(axis=1).mean() * 0.99)


def test_the_oracle_at_the_lowest_budget_takes_the_cheapest_choices():
    """Rounding may put the budget a hair below what they cost."""
    cheapest = SIGNED.arm_costs().reshape(-1, 2, len(SIGNED.arms)).mean(axis=1).min(axis=1).mean()
    for budget in cheapest * (1 + np.array([-2, -1, 0, 1]) * 1e-16):
        assert oracle.ceiling(SIGNED, budget).cost_N.mean() == pytest.approx(cheapest, rel=1e-12)


# static


def test_static_portfolios_are_on_the_hull_of_all_sets():
    table = narrowed(SIGNED, range(6))
    table = replace(table, bundles=SIGNED.bundles)
    router = static.fit(table, static.Settings(most=6, width=64))
    rungs = []
    for many in product((0, 1, 2), repeat=3):  # of each arm: nothing, one order, both
        chosen = [2 * k + order for k, orders in enumerate(many) for order in range(orders)]
        if chosen:
            weight_U = np.maximum(static.fit_weights(table, chosen), 0)
            reward_NK, cost_NK = bundle_table(table, [chosen], weight_U)
            rungs.append(Rung(0.0, float(cost_NK.mean()), float(reward_NK.mean())))
    for rung in rungs:
        if rung.cost >= router.rungs[0].cost:
            weight = play_reward(router, table, rung.cost)
            assert weight >= rung.reward - 1e-9


def play_reward(router, table: Table, budget: float) -> float:
    """The best of the router's rungs within the budget, mixed, by what they earn on the fitting rows."""
    zero = np.zeros(len(table))
    seen = tuple(
        rung._replace(reward=float(play(router, table, k, zero).reward_N.mean())) for k, rung in enumerate(router.rungs)
    )
    return sum(share * seen[k].reward for k, share in mix(seen, budget))


def test_static_portfolios_pass_the_dearest_arm_for_less_where_draws_are_recorded():
    router = static.fit(RATED)
    reward_NK, cost_NK = by_arm(RATED)
    best = int(reward_NK.mean(axis=0).argmax())
    did = expected(router, RATED, cost_NK[:, best].mean(), np.zeros(len(RATED)))
    assert did.reward_N.mean() >= reward_NK[:, best].mean()
    assert max(len(bundle) for bundle in router.bundles) > 1


def test_a_beam_search_that_is_wide_enough_finds_the_hull_that_trying_everything_finds():
    rng = np.random.default_rng(1)
    worth = rng.random(8)

    def measure(chosen: tuple[int, ...]) -> Rung:
        return Rung(0.0, float(sum(chosen) + len(chosen)), float(np.sqrt(sum(worth[list(chosen)]))))

    def grow(chosen: tuple[int, ...]):
        return [tuple(sorted((*chosen, u))) for u in range(8) if u not in chosen]

    found = explore([(u,) for u in range(8)], grow, measure, depth=3, width=100)
    everything = {tuple(sorted(set(c))) for c in product(range(8), repeat=3)}
    top = tuple(measure(c) for c in everything)
    for budget in (2.0, 5.0, 9.5, 14.0):
        assert sum(s * found[k][1].reward for k, s in mix(tuple(r for _, r in found), budget)) == pytest.approx(
            sum(s * top[k].reward for k, s in mix(top, budget))
        )


# threshold


def test_a_threshold_escalates_exactly_the_rows_whose_lead_is_below_it():
    router = threshold.fit(SIGNED, threshold.Settings(observe="cheap"))
    for k, plan in enumerate(router.plans):
        (u,) = plan.first
        assert SIGNED.purchases[u].arm == "cheap"
        lead_N = np.abs(np.nan_to_num(SIGNED.said_NU[:, u])) * router.weights(k)[u]
        bought_NU = play(router, SIGNED, k, np.zeros(len(SIGNED))).bought_NU
        (v,) = plan.then
        assert (bought_NU[:, v] == (lead_N < plan.least)).all()
        assert bought_NU[:, u].all()


def test_a_threshold_finds_the_rows_on_which_a_judge_is_unsure_because_it_is_wrong():
    rng = np.random.default_rng(0)
    gold_N = rng.choice([-1, 1], 300)
    wrong_N = rng.random(300) < 0.3
    cheap_N, dear_N = np.where(wrong_N, -0.1 * gold_N, gold_N), gold_N
    said_NU = np.stack([cheap_N, cheap_N, dear_N, dear_N], axis=1)
    table = spoken(said_NU, [1, 1, 10, 10], gold_N, ("cheap", "dear"))
    router = threshold.fit(table, threshold.Settings(observe="cheap"))
    did = expected(router, table, 1 + 10 * wrong_N.mean() + 1e-9, np.zeros(300))
    assert did.reward_N.mean() == 1
    assert did.cost_N.mean() == pytest.approx(1 + 10 * wrong_N.mean())


def test_the_margin_of_ratings_is_read_from_the_first_arm_alone():
    router = threshold.fit(RATED, threshold.Settings(observe="small_k1"))
    for k, plan in enumerate(router.plans):
        assert plan.first == (0,)
        top_NR = np.sort(np.nan_to_num(RATED.rating_NUR[:, 0], nan=-np.inf), axis=1)
        with np.errstate(invalid="ignore"):
            lead_N = np.nan_to_num(top_NR[:, -1] - top_NR[:, -2])
        goes_on_N = play(router, RATED, k, np.zeros(len(RATED))).bought_NU[:, [u for u in plan.then if u]].any(axis=1)
        assert (goes_on_N == (lead_N < plan.least)).all()


# while tied

HAND = spoken(
    [
        [1, 1, 1, 1],  # agrees: settled after both orders
        [1, -1, -1, -1],  # orders disagree: the second arm decides
        [0, 0, 1, 1],  # tied: the second arm decides
        [np.nan, -1, 1, 1],  # one order unread: the other one counts
        [np.nan, np.nan, np.nan, np.nan],  # silence all the way
    ],
    costs=[10, 10, 100, 100],
    gold=[1, -1, 1, -1, 1],
    arms=("cheap", "dear"),
)


def test_buy_while_tied_is_a_hand_count():
    path = (("cheap", "cheap'"), ("dear",))
    router = while_tied.fit(HAND, while_tied.Settings(path=path))
    played = play(router, HAND, 0, np.zeros(5))
    assert played.bought_NU.tolist() == [
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, False],
        [True, True, False, False],
        [True, True, True, False],
    ]
    assert played.reward_N.tolist() == [1, 1, 1, 1, 0]
    assert played.cost_N.tolist() == [20, 120, 120, 20, 120]
    assert router.rungs == (Rung(0.0, 80.0, 0.8),)


def test_orders_that_disagree_by_unequal_sureness_are_not_settled():
    table = spoken([[1.0, -0.5, -1.0, -1.0]], costs=[1, 1, 1, 1], gold=[-1], arms=("cheap", "dear"))
    router = while_tied.fit(table, while_tied.Settings(path=(("cheap", "cheap'"), ("dear",))))
    assert play(router, table, 0, np.zeros(1)).bought_NU[0, 2]


def test_the_search_finds_no_path_worse_than_a_given_one():
    router = while_tied.fit(SIGNED, while_tied.Settings(longest=3, width=50))
    for path in (
        (("cheap",), ("middling",)),
        (("cheap", "cheap'"), ("dear",)),
        (("middling",), ("middling'",), ("dear",)),
    ):
        (rung,) = while_tied.fit(SIGNED, while_tied.Settings(path=path)).rungs
        if rung.cost >= router.rungs[0].cost:
            assert sum(s * router.rungs[k].reward for k, s in mix(router.rungs, rung.cost)) >= rung.reward - 1e-9


def test_a_path_of_purchases_that_are_not_there_is_refused():
    with pytest.raises(ConfigError, match="no purchase 'mercury'"):
        while_tied.fit(HAND, while_tied.Settings(path=(("mercury",),)))


# self-routing


def test_self_routing_is_read_from_the_calls_that_asked():
    need = Call(kind="need", arm="self", text="[[no]]")
    told = Judgment(arm="self", ab=Outcome.A, output_tokens=7, calls=(need, Call(kind="verdict", arm="plain")))
    plain = Judgment(arm="plain", ab=Outcome.A, output_tokens=5, calls=(Call(kind="verdict", arm="plain"),))
    record = Record(pair=Pair(id="1"), evaluator="e", judgments={"plain": plain, "self": told})
    assert self_routing.arms_that_ask([record]) == ("self",)


def test_self_routing_is_left_out_with_the_reason_where_no_arm_was_asked():
    with pytest.raises(DataError, match="self-routing is left out"):
        self_routing.fit(SIGNED, self_routing.Settings(self_routing.arms_that_ask([])))


# parts


def test_folds_keep_the_rows_of_an_instance_together_and_hold_each_row_out_once():
    held = np.concatenate([out for _, out in folds_of(SIGNED, 5, 0)])
    assert sorted(held) == list(range(len(SIGNED)))
    for fitting, out in folds_of(SIGNED, 5, 0):
        assert not set(SIGNED.instance_N[fitting]) & set(SIGNED.instance_N[out])
