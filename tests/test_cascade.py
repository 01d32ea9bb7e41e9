"""Buying step by step: what the stopping policy, the search for paths and the router as a whole promise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adjudge.errors import ConfigError
from adjudge.routing import cascade
from adjudge.routing.cascade import Settings
from adjudge.routing.paths import Search, search
from adjudge.routing.router import STOP, expected, play
from adjudge.routing.stopping import PENALTY, TEXT_PENALTY, fit_gain, multipliers, outcomes, steps, way
from adjudge.routing.table import Purchase, Table, tabulate
from adjudge.store.sources import open_records

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded judgments are not beside the checkout")


def judged(n: int, right: tuple[float, ...], cost: tuple[float, ...], seed: int = 0, silent: float = 0.0) -> Table:
    """Independent arms that are right so often, on `n` instances; `silent`: how often the first gives no verdict."""
    draw = np.random.default_rng(seed)
    gold_N = draw.choice([1.0, -1.0], n)
    said_NU = np.stack([np.where(draw.random(n) < p, gold_N, -gold_N) for p in right], axis=1)
    said_NU[draw.random(n) < silent, 0] = np.nan
    arms = tuple(f"arm{k}" for k in range(len(right)))
    return Table(
        ids=tuple(map(str, range(n))),
        instance_N=np.arange(n),
        domain_N=np.array(["d"] * n),
        arms=arms,
        purchases=tuple(Purchase(arm) for arm in arms),
        bundles=tuple((u,) for u in range(len(arms))),
        said_NU=said_NU,
        rating_NUR=None,
        cost_NU=np.tile(np.array(cost), (n, 1)),
        gold_N=gold_N,
        gold_index_N=None,
        x_ND=np.zeros((n, 0)),
    )


def test_an_expensive_arm_is_bought_where_the_cheap_one_is_silent_and_only_there() -> None:
    table = judged(1000, (0.95, 0.9), (1.0, 10.0), silent=0.3)
    router = cascade.fit(table)
    chosen = expected(router, table, 4.1, np.zeros(len(table)))
    silent_N = np.isnan(table.said_NU[:, 0])
    assert chosen.bought_NU[silent_N, 1].mean() > 0.99
    assert chosen.bought_NU[~silent_N, 1].mean() < 0.01
    assert chosen.reward_N.mean() > 0.92


def test_a_third_vote_is_bought_where_two_disagree() -> None:
    table = judged(2000, (0.8, 0.8, 0.8), (1.0, 1.0, 1.0))
    router = cascade.fit(table)
    chosen = expected(router, table, 2.33, np.zeros(len(table)))
    made_N = chosen.bought_NU.sum(axis=1)
    agree_N = np.abs(table.said_NU[:, list(router.plans[-1].path[:2])].sum(axis=1)) == 2
    assert made_N[~agree_N].mean() > made_N[agree_N].mean() + 0.8
    majority = 0.8**3 + 3 * 0.8**2 * 0.2  # what three votes reach
    assert chosen.reward_N.mean() == pytest.approx(majority, abs=0.02)


def test_the_mixture_spends_the_budget_it_was_given_on_the_fitting_rows() -> None:
    table = judged(2000, (0.7, 0.8, 0.9), (1.0, 3.0, 9.0))
    router = cascade.fit(table)
    for budget in np.linspace(router.rungs[0].cost, router.rungs[-1].cost, 7):
        spent = expected(router, table, float(budget), np.zeros(len(table))).cost_N.mean()
        assert spent == pytest.approx(budget, rel=0.05)


def test_rungs_are_measured_on_rows_that_their_model_did_not_see() -> None:
    """Arms that know nothing: in sample some policy always seems to gain, out of fold none does."""
    table = judged(300, (0.5,) * 4, (1.0,) * 4, seed=3)
    router = cascade.fit(table)
    assert all(abs(rung.reward - 0.5) < 0.08 for rung in router.rungs)


def test_a_policy_buys_more_the_lower_its_multiplier() -> None:
    table = judged(500, (0.7, 0.8, 0.9), (1.0, 2.0, 3.0))
    path = (0, 1, 2)
    known, cost_NT = steps(table, path, np.ones(3)), table.cost_NU
    found = way(known, cost_NT, cost_NT.mean(axis=0), fit_gain(known, 0))
    costs = [outcomes(found, m)[1].mean() for m in multipliers(found.worth_NT)]
    assert costs == sorted(costs)
    assert costs[0] == 1.0


def test_playing_a_rung_does_what_its_out_of_fold_twin_counted() -> None:
    """`decide`, step by step, against the arithmetic over whole paths."""
    table = judged(400, (0.7, 0.8, 0.9), (1.0, 2.0, 3.0))
    router = cascade.fit(table)
    for k, plan in enumerate(router.plans):
        known, cost_NT = steps(table, plan.path, plan.weight_U), table.cost_NU[:, list(plan.path)]
        reward_N, cost_N = outcomes(way(known, cost_NT, plan.price_T, plan.gain), router.rungs[k].multiplier)
        played = play(router, table, k, np.zeros(len(table)))
        np.testing.assert_allclose(played.cost_N, cost_N)
        np.testing.assert_allclose(played.reward_N, reward_N)


def test_the_gain_is_the_ridge_regression_that_a_least_squares_solver_finds() -> None:
    table = replace(judged(300, (0.7, 0.8, 0.9), (1.0, 2.0, 3.0)), x_ND=np.random.default_rng(1).normal(5, 3, (300, 2)))
    known = steps(table, (0, 1, 2), np.ones(3))
    f_MF = np.concatenate([step.f_NF for step in known[:2]])
    target_M = np.concatenate([known[2].reward_N - step.reward_N for step in known[:2]])
    spread_F = f_MF.std(axis=0)
    varies_F = spread_F > 0
    z_MF = (f_MF - f_MF.mean(axis=0))[:, varies_F] / spread_F[varies_F]
    pull_F = np.sqrt(2 * np.array([PENALTY] * (f_MF.shape[1] - 2) + [TEXT_PENALTY] * 2))[varies_F]
    rows = np.concatenate([z_MF, np.diag(pull_F)])
    wanted = np.linalg.lstsq(rows, np.append(target_M - target_M.mean(), np.zeros(len(pull_F))), rcond=None)[0]
    predicted_M = np.maximum(z_MF @ wanted + target_M.mean(), 0)
    np.testing.assert_allclose(fit_gain(known, 2).predict(f_MF), predicted_M, atol=1e-9)


def test_texts_that_are_all_alike_change_nothing() -> None:
    plain = judged(400, (0.7, 0.8, 0.9), (1.0, 2.0, 3.0))
    alike = replace(plain, x_ND=np.full((400, 3), 7.5), features=("a", "b", "c"))
    assert cascade.fit(alike).rungs == cascade.fit(plain).rungs


def test_the_named_arm_is_observed_first() -> None:
    table = judged(400, (0.6, 0.9), (1.0, 2.0))
    router = cascade.fit(table, Settings(observe="arm0"))
    assert {plan.path[0] for plan in router.plans} == {0}
    with pytest.raises(ConfigError, match="no arm 'arm7' to observe; there are: arm0, arm1"):
        cascade.fit(table, Settings(observe="arm7"))


def test_a_larger_cost_radius_buys_less_for_the_same_budget() -> None:
    table = judged(1000, (0.95, 0.9), (1.0, 10.0), silent=0.3)
    plain, wary = (cascade.fit(table, Settings(radius_cost=rho)) for rho in (0.0, 0.1))
    spent = [expected(router, table, 3.0, np.zeros(len(table))).cost_N.mean() for router in (plain, wary)]
    assert spent[1] < spent[0] - 0.3


def test_saved_and_restored_it_decides_the_same() -> None:
    table = judged(400, (0.7, 0.8, 0.9), (1.0, 2.0, 3.0), silent=0.2)
    router = cascade.fit(table)
    again = cascade.restore(router.state())
    assert again.rungs == router.rungs
    for k in range(len(router.rungs)):
        for made in range(3):
            bought_NU = np.zeros((400, 3), bool)
            bought_NU[:, list(router.plans[k].path[:made])] = True
            seen = table.seen(bought_NU)
            np.testing.assert_array_equal(again.decide(seen, k, np.zeros(400)), router.decide(seen, k, np.zeros(400)))


def test_a_path_at_its_end_stops() -> None:
    table = judged(50, (0.7, 0.8), (1.0, 2.0))
    router = cascade.fit(table)
    seen = table.seen(np.ones((50, 2), bool))
    assert all((router.decide(seen, k, np.zeros(50)) == STOP).all() for k in range(len(router.rungs)))


def test_the_search_follows_an_arm_that_is_worthless_alone() -> None:
    """Silent on four of five, nearly always right on the fifth, and free: it comes first."""
    table = judged(2000, (0.99, 0.7), (0.1, 10.0), silent=0.8)
    assert (0, 1) in search(table, 0, observe="", settings=Search())


@needs_data
@pytest.mark.slow
def test_on_recorded_claude_class_judges_it_beats_the_dearest_arm_on_judgments_it_did_not_see() -> None:
    records = open_records(str(DATA / "records_judgebench_claude.jsonl.gz"))
    table = tabulate(
        records, ("mercury", "claude-3-haiku-20240307", "mercury-coder", "minimax-m2", "minimax-m2.1", "glm-4.7")
    )
    fold_N = cascade.folds(table, 5, 0)
    rewards, costs = [], []
    for fold in range(5):
        fitting, held = table.at(np.flatnonzero(fold_N != fold)), table.at(np.flatnonzero(fold_N == fold))
        router, unit = cascade.fit(fitting), fitting.arm_costs()[:, 0].mean()
        result = expected(router, held, 700.0, np.zeros(len(held)))
        rewards.append(result.reward_N)
        costs.append(result.cost_N / unit)
    assert np.concatenate(rewards).mean() >= 0.76  # mercury alone: 0.731; five folds of 54 pairs are noisy
    assert np.concatenate(costs).mean() <= 700 / 308.5 * 1.08  # pacing holds it closer
