"""The budget holds as traffic comes: any stream, any order, every cap; and little is lost where nothing shifts."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.errors import BudgetError
from adjudge.routing import pacing
from adjudge.routing.ladder import Rung, mix
from adjudge.routing.pacing import PROMISED, Pace, Pacer, affords, affords_cheapest, hold, init, pay, start, target
from adjudge.routing.router import expected
from adjudge.routing.splits import splits
from adjudge.routing.stream import listed, pacer_for, prices, stream
from adjudge.routing.table import tabulate
from tests.recorded import FILES, recorded
from tests.tables import drawn_table, fit

MEANS = np.array([1.0, 2.0, 4.0, 8.0, 14.0, 20.0])
RIGHT = np.array([0.70, 0.78, 0.82, 0.845, 0.855, 0.86])
ROOMY = {"cheapest": 1.0, "cheapest_most": 3.0, "dearest_most": 50.0}


def rungs(count: int) -> tuple[Rung, ...]:
    return tuple(Rung(1 / m, float(m), float(r)) for m, r in zip(MEANS[:count], RIGHT, strict=False))


def run(pacer: Pacer, cost_TK, most_K, rng) -> tuple[Pace, np.ndarray]:
    """A router whose rung k makes purchase k, on a stream; (state at the end, rung of each judgment or -1)."""
    pace, made_T = init(), np.full(len(cost_TK), -1)
    for t, cost_K in enumerate(cost_TK):
        try:
            aim = target(pacer, pace)
        except BudgetError:
            pace = pacing.refuse(pace)
            continue
        k = aim.mixture[0][0] if rng.random() < aim.mixture[0][1] else aim.mixture[-1][0]
        pace = start(pace)
        while k > 0 and not affords(pacer, pace, most_K[k]):
            k -= 1
        pace = pay(hold(pace, most_K[k]), most_K[k], cost_K[k])
        pace, made_T[t] = pacing.settle(pace, aim, cost_K[k]), k
    return pace, made_T


ORDERS = {
    "as drawn": lambda cost_TK: cost_TK,
    "cheap first, then dear": lambda cost_TK: cost_TK[np.argsort(cost_TK[:, 0])],
    "dear first, then cheap": lambda cost_TK: cost_TK[np.argsort(-cost_TK[:, -1])],
    "a new domain in the second half": lambda cost_TK: (
        cost_TK * np.where(np.arange(len(cost_TK)) * 2 < len(cost_TK), 1, 4)[:, None]
    ),
    "half free": lambda cost_TK: cost_TK * (np.arange(len(cost_TK)) * 2 > len(cost_TK))[:, None],
}


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 6),
    length=st.integers(PROMISED, 1500),
    budget=st.floats(0.3, 25),
    shape=st.sampled_from([0.3, 1.0, 5.0]),
    scale=st.floats(0.2, 4),
    order=st.sampled_from(sorted(ORDERS)),
    knows_horizon=st.booleans(),
    cap_share=st.none() | st.floats(0.05, 1.2),
)
def test_the_mean_is_never_over_one_percent_above_the_budget_and_the_cap_never_passed(
    seed, count, length, budget, shape, scale, order, knows_horizon, cap_share
):
    rng = np.random.default_rng(seed)
    cost_TK = scale * MEANS[:count] * rng.gamma(shape, 1 / shape, (length, count))
    cost_TK = ORDERS[order](cost_TK)
    most_K = cost_TK.max(axis=0)
    cap = np.inf if cap_share is None else cap_share * budget * length
    horizon = length if knows_horizon else None
    pacer = Pacer(rungs(count), budget, 1.0, most_K[0], most_K.max(), horizon, cap)
    pace, made_T = run(pacer, cost_TK, most_K, rng)
    assert pace.spent <= 1.01 * budget * length * (1 + 1e-6)
    assert pace.spent <= cap
    assert pace.spent == pytest.approx(cost_TK[made_T >= 0, made_T[made_T >= 0]].sum())
    assert (pace.judgments, pace.refused, pace.under_way) == (length, (made_T < 0).sum(), 0)
    assert pace.held == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("knows_horizon", [True, False])
@pytest.mark.parametrize("budget", [1.5, 3.0, 9.0])
def test_where_nothing_shifts_the_best_fixed_mixture_in_hindsight_is_less_than_one_point_better(budget, knows_horizon):
    """Reward is each rung's mean on the stream, so that the luck of verdicts does not blur what pacing loses."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        cost_TK = MEANS * rng.gamma(1.0, 1.0, (1200, 1)) * rng.gamma(4, 0.25, (1200, 6))
        most_K = cost_TK.max(axis=0)
        horizon = len(cost_TK) if knows_horizon else None
        pacer = Pacer(rungs(6), budget, 1.0, most_K[0], most_K.max(), horizon)
        pace, made_T = run(pacer, cost_TK, most_K, rng)
        known = tuple(Rung(0.0, float(c), float(r)) for c, r in zip(cost_TK.mean(axis=0), RIGHT, strict=True))
        best = sum(share * known[k].reward for k, share in mix(known, budget))
        assert not pace.refused
        assert best - RIGHT[made_T].mean() < 0.01


def test_nothing_is_refused_while_the_cheapest_can_be_paid():
    """Twice as dear as expected, and still the cheapest is within the budget: every judgment gets a verdict."""
    rng = np.random.default_rng(0)
    cost_TK = 2 * MEANS[:3] * rng.gamma(5.0, 0.2, (1500, 3))
    for order in ("as drawn", "dear first, then cheap"):
        for horizon in (None, 1500):
            pacer = Pacer(rungs(3), 2.5, 1.0, cost_TK[:, 0].max(), cost_TK.max(), horizon)
            pace, _ = run(pacer, ORDERS[order](cost_TK), cost_TK.max(axis=0), rng)
            assert not pace.refused, (order, horizon)


def test_a_known_horizon_is_spent_to_the_end_and_not_more():
    rng = np.random.default_rng(1)
    cost_TK = MEANS * rng.gamma(4.0, 0.25, (2000, 6))
    pacer = Pacer(rungs(6), 5.0, 1.0, cost_TK[:, 0].max(), cost_TK.max(), 2000)
    pace, _ = run(pacer, cost_TK, cost_TK.max(axis=0), rng)
    assert 0.985 <= pace.spent / (5.0 * 2000) <= 1.0


def test_the_cheapest_is_kept_back_for_every_judgment_that_is_left():
    pacer = Pacer(rungs(3), 2.0, 1.0, 1.0, 4.0, horizon=100)
    assert affords(pacer, start(Pace(judgments=50, spent=146.0)), 4.0)  # 146 + 4 + 49 = 199
    assert not affords(pacer, start(Pace(judgments=50, spent=148.0)), 4.0)  # 201
    assert affords_cheapest(pacer, start(Pace(judgments=50, spent=199.0)))


def test_what_is_under_way_counts_as_spent_at_its_highest():
    pacer = Pacer(rungs(3), 2.0, 1.0, 1.0, 4.0, cap=10.0)
    pace = hold(start(init()), 4.0)
    assert affords(pacer, start(pace), 4.0) and not affords(pacer, start(hold(start(pace), 4.0)), 4.0)
    assert affords(pacer, start(pay(pace, 4.0, 1.0)), 4.0)


def test_a_budget_error_says_what_is_spent_and_what_is_missing():
    pacer = Pacer(rungs(2), 2.0, **ROOMY, cap=10.0)
    with pytest.raises(BudgetError, match=r"8 of 10 is spent.*1 on average and 3 at most; raise the budget"):
        target(pacer, Pace(judgments=3, spent=8.0))
    with pytest.raises(BudgetError, match="must both be 0 or more"):
        Pacer(rungs(2), -1.0, **ROOMY)


def test_the_documented_example_holds():
    assert doctest.testmod(pacing).failed == 0


# -- a router on a table


def test_the_lists_of_a_rung_are_what_it_buys_when_played():
    table = drawn_table(50)
    router = fit(table)
    assert listed(router, table, 1, np.zeros(len(table)))[:, :2].tolist() == [[2, -1]] * len(table)


@pytest.mark.parametrize("horizon", [True, False])
def test_a_paced_router_meets_its_budget_on_dearer_rows_and_pays_for_what_it_bought(horizon):
    table = drawn_table(1200, domains="vwxyz")
    fitting = np.flatnonzero(np.isin(table.domain_N, ["v", "w"]))
    router, known = fit(table.at(fitting)), prices(table)
    test = table.at(np.flatnonzero(np.isin(table.domain_N, ["x", "y", "z"])))
    budget = 3.0
    done = stream(
        router,
        test,
        np.arange(len(test)),
        budget,
        known,
        np.random.default_rng(0),
        horizon=len(test) if horizon else None,
    )
    plain = expected(router, test, budget, np.zeros(len(test)))
    assert plain.cost_N.mean() > 1.3 * budget
    assert 0.9 * budget < done.cost_N.mean() <= 1.01 * budget
    assert not done.refused_N.any() and done.bought_NU.any(axis=1).all()
    assert (done.cost_N == np.where(done.bought_NU, test.cost_NU, 0).sum(axis=1)).all()
    assert done.last.spent == pytest.approx(done.cost_N.sum())
    right_N = (np.sign(test.said_NU) == test.gold_N[:, None])[np.arange(len(test)), done.bought_NU.argmax(axis=1)]
    assert done.reward_N.tolist() == right_N.tolist()


def test_what_cannot_be_paid_is_refused_and_earns_nothing():
    table = drawn_table(60)
    router = fit(table)
    cap = float(20 * table.cost_NU[:, 0].mean())
    done = stream(router, table, np.arange(len(table)), 2.0, prices(table), np.random.default_rng(0), cap=cap)
    assert done.refused_N.any() and not done.reward_N[done.refused_N].any() and not done.cost_N[done.refused_N].any()
    assert done.cost_N.sum() <= cap


def test_the_cheapest_purchase_stands_in_for_a_rung_that_cannot_be_paid():
    table = drawn_table(60)
    router = fit(table)
    router.rungs, router.bundles = router.rungs[1:], router.bundles[1:]  # it knows nothing but the dear arm
    done = stream(router, table, np.arange(len(table)), 2.0, prices(table), np.random.default_rng(0), horizon=120)
    assert set(np.flatnonzero(done.bought_NU.any(axis=0))) == {0, 2}
    pacer, cheapest = pacer_for(router, prices(table), 2.0)
    assert cheapest == 0 and pacer.cheapest == pytest.approx(table.cost_NU[:, 0].mean())


@pytest.mark.parametrize("path", [path for path in FILES if "alpaca" not in str(path)])
@pytest.mark.parametrize("order", ["as recorded", "cheap first"])
def test_on_recorded_judgments_the_mean_holds_in_any_order(path, order):
    """Fitted on one fold of the first evaluator, streamed over all the rest at twice the cheapest rung's cost."""
    name = path.name
    records = recorded(name)
    evaluator = records[0].evaluator
    table = tabulate([r for r in records if r.evaluator == evaluator], {"llmbar": ARMS_OF_LLMBAR}.get(name[8:14], ()))
    split = next(splits(table, "random", (0,)))
    router, test = fit(table.at(split.test_N)), table.at(split.fit_N)
    budget = 2 * min(rung.cost for rung in router.rungs)
    rows = np.arange(len(test)) if order == "as recorded" else np.argsort(test.cost_NU.sum(axis=1))
    for horizon in (None, len(test)):
        done = stream(router, test, rows, budget, prices(test), np.random.default_rng(0), horizon=horizon)
        assert not done.refused_N.any()
        if len(test) >= PROMISED or horizon:
            assert done.cost_N.mean() <= 1.01 * budget, (horizon, done.cost_N.mean() / budget)


ARMS_OF_LLMBAR = ("Vanilla_NoRules", "Metrics_Reference")
