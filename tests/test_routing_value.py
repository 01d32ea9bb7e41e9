"""The any-budget router and its parts: regressions against refits and scikit-learn, sets against exhaustive search, and
what robust weights are for."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import Ridge

from adjudge.errors import ConfigError, DataError
from adjudge.routing import portfolio, ridge, value
from adjudge.routing.ambiguity import Radius, worst_cost
from adjudge.routing.evidence import weigh
from adjudge.routing.features import EMBEDDED
from adjudge.routing.router import bundle_table, expected
from adjudge.routing.sample import by_instance
from adjudge.routing.table import Table
from tests.recorded import recorded
from tests.tables_drawn import rated, signed


def draws(table: Table) -> np.ndarray:
    return np.random.default_rng(5).random(len(table))


def weighted_data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.uniform(0.2, 3, 30)


@pytest.mark.parametrize("penalty", [1e-3, 0.3, 10.0])
def test_ridge_is_that_of_scikit_learn_with_weights(penalty):
    x, y, w = weighted_data()
    coefficients, intercepts = ridge.fit(ridge.solve(x, w), y, np.full(3, penalty))
    witness = Ridge(alpha=penalty * w.sum()).fit(x, y, sample_weight=w)
    assert coefficients == pytest.approx(witness.coef_.T)
    assert intercepts == pytest.approx(witness.intercept_)


def test_an_infinite_penalty_leaves_the_weighted_mean():
    x, y, w = weighted_data()
    coefficients, intercepts = ridge.fit(ridge.solve(x, w), y, np.full(3, np.inf))
    assert (coefficients == 0).all()
    assert intercepts == pytest.approx(np.average(y, axis=0, weights=w))


@pytest.mark.parametrize("width", [0, 4])
def test_leave_one_out_errors_are_those_of_refits_without_each_instance(width):
    x, y, w = weighted_data()
    x, penalties = x[:, :width], (0.01, 0.5, np.inf)
    errors_AM = ridge.leave_one_out(ridge.solve(x, w), y, penalties)
    for a, penalty in enumerate(penalties):
        left = []
        for i in range(len(x)):
            rest = np.delete(np.arange(len(x)), i)
            kept = penalty * w.sum() / w[rest].sum()  # a penalty is a share of all weights; here of those left
            coefficients, intercepts = ridge.fit(ridge.solve(x[rest], w[rest]), y[rest], np.full(3, kept))
            left.append(y[i] - x[i] @ coefficients - intercepts)
        assert errors_AM[a] == pytest.approx(np.average(np.square(left), axis=0, weights=w))


def test_a_lens_does_not_look_beyond_the_range_of_the_fit_and_ignores_constants():
    x = np.array([[0.0, 7.0, 1.0], [1.0, 7.0, 3.0], [2.0, 7.0, 2.0]])
    lens = ridge.focus(x, ("a", "b", "c"))
    assert lens.matrix_DP.shape == (3, 2)
    assert lens(x).mean(axis=0) == pytest.approx([0, 0])
    assert lens(x).std(axis=0) == pytest.approx([1, 1])
    assert (lens(np.array([[99.0, -5.0, -99.0]])) == lens(np.array([[2.0, 7.0, 1.0]]))).all()


def test_a_lens_reduces_embeddings_to_their_principal_components():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 60))
    x = np.concatenate([rng.normal(size=(200, 1)), truth + rng.normal(size=truth.shape) * 1e-6], axis=1)
    lens = ridge.focus(x, ("size", *(f"{EMBEDDED}prompt:{e}" for e in range(60))), components=3)
    z = lens(x)
    assert z.shape == (200, 4)
    assert np.corrcoef(z[:, 1:].T) == pytest.approx(np.eye(3), abs=1e-6)
    assert z[:, 1].std() == pytest.approx(1)
    spread = np.linalg.svd(truth - truth.mean(axis=0), compute_uv=False)
    assert z[:, 1:].std(axis=0) == pytest.approx(spread[:3] / spread[0], rel=1e-4)


def test_the_folded_regression_predicts_as_its_parts_do():
    x, y, w = weighted_data()
    lens = ridge.focus(x, ("a", "b", "c", "d"))
    parts = ridge.fit(ridge.solve(lens(x), w), y, np.full(3, 0.1))
    assert ridge.folded(lens, *parts)(x * 2) == pytest.approx(lens(x * 2) @ parts[0] + parts[1])


def test_instances_have_the_mean_of_their_rows():
    table = signed(20)
    sample = by_instance(table, table.bundles, np.ones(6))
    reward_NK, cost_NK = bundle_table(table, table.bundles, np.ones(6))
    assert sample.reward_IK == pytest.approx((reward_NK[::2] + reward_NK[1::2]) / 2)
    assert sample.costs() == pytest.approx((cost_NK[::2] + cost_NK[1::2]) / 2)
    assert (sample.x_ID == table.x_ND[::2]).all()


def test_it_learns_which_rows_need_the_dear_arm():
    fitted, fresh = signed(600), signed(2000, seed=1)
    router = value.fit(fitted)
    reward_NK, cost_NK = bundle_table(fresh, fresh.bundles, np.ones(6))
    budget = float(cost_NK[:, [0, 2]].mean())
    ours = expected(router, fresh, budget, draws(fresh))
    assert ours.cost_N.mean() <= budget * 1.05
    assert ours.reward_N.mean() > reward_NK[:, [0, 2]].mean() + 0.03  # what half of each would earn
    dear_N = ours.bought_NU[:, 4]
    assert np.corrcoef(dear_N, fresh.x_ND[:, 0])[0, 1] > 0.6


def test_what_is_predicted_of_a_set_is_never_cheaper_than_of_a_part():
    table = signed()
    router = value.fit_choices(table, [(0,), (0, 2), (0, 2, 4)])
    _, cost_NK = router.predict(table.x_ND * 50 - 20)
    assert (np.diff(cost_NK, axis=1) > 0).all()


def test_features_that_are_not_finite_are_named_in_fit_and_in_decision():
    table = signed()
    x_ND = table.x_ND.copy()
    x_ND[3, 2] = np.inf
    with pytest.raises(DataError, match="noise"):
        value.fit(replace(table, x_ND=x_ND))
    with pytest.raises(DataError, match="noise"):
        value.fit(table).choose(x_ND, 0)


def test_a_variant_that_there_is_none_of_is_refused():
    with pytest.raises(ConfigError, match="racer-x"):
        value.fit(signed(), value.Settings(variant="racer-x"))


def test_radii_of_zero_make_every_variant_the_plain_one():
    plain = value.fit(signed())
    for variant in ("racer", "racer-r", "racer-c"):
        other = value.fit(signed(), value.Settings(variant=variant, radius_reward=0, radius_cost=0))
        assert other.rungs == plain.rungs
        assert (other.linear.matrix_DM == plain.linear.matrix_DM).all()


@pytest.mark.parametrize("variant", ["racer-c", "racer"])
def test_a_rung_of_robust_costs_says_the_worst_cost_within_the_radius(variant):
    """The witness maximises the cost over mixes by a general optimiser."""
    table = signed(60)
    router = value.fit(table, value.Settings(variant=variant, radius_cost=0.05))
    top = router.rungs[-1]
    cost_I = by_instance(table, table.bundles, np.ones(6)).costs()[:, 2]
    constraints = (
        {"type": "eq", "fun": lambda q: q.sum() - 1},
        {"type": "ineq", "fun": lambda q: 0.05 - (q * np.log(np.maximum(q, 1e-12) * len(q))).sum()},
    )
    start = np.full(60, 1 / 60) * (1 + 0.1 * (cost_I > cost_I.mean()))
    found = minimize(
        lambda q: -(q @ cost_I) / 1e3,
        start / start.sum(),
        jac=lambda q: -cost_I / 1e3,
        bounds=[(0, 1)] * 60,
        constraints=constraints,
        options={"maxiter": 500},
    )
    everything_dear = worst_cost(cost_I, Radius(0.05)).value
    assert -found.fun * 1e3 == pytest.approx(everything_dear, rel=1e-3)
    assert top.cost <= everything_dear * (1 + 1e-9)
    assert top.cost > value.fit(table).rungs[-1].cost


def test_a_budget_holds_on_a_dearer_mix_with_robust_costs_and_not_without():
    """Fresh rows, drawn more often the dearer they are, at a divergence within the radius."""
    fitted, fresh = signed(400), signed(4000, seed=2)
    cost_N = fresh.cost_NU.sum(axis=1)
    tilt_N = np.exp(1.2 * cost_N / cost_N.std())
    rows = np.random.default_rng(0).choice(len(fresh), 6000, p=tilt_N / tilt_N.sum())
    shifted = fresh.at(rows)
    radius = float(np.mean(tilt_N / tilt_N.mean() * np.log(tilt_N / tilt_N.mean())))
    budget = float(fitted.cost_NU[:, [0, 2]].mean())
    plain = value.fit(fitted)
    robust = value.fit(fitted, value.Settings(variant="racer-c", radius_cost=radius))
    assert expected(plain, shifted, budget, draws(shifted)).cost_N.mean() > budget * 1.1
    assert expected(robust, shifted, budget, draws(shifted)).cost_N.mean() <= budget


def test_worst_case_weights_of_rewards_lean_to_rows_that_are_answered_wrong():
    fitted = signed(300)
    plain, robust = (
        value.fit(fitted, value.Settings(variant=v, radius_reward=0.3)).predict(fitted.x_ND)[0]
        for v in ("acer", "racer-r")
    )
    assert robust.mean() < plain.mean()


def test_a_budget_can_be_named_for_the_weights():
    cheap, dear = (
        value.fit(signed(), value.Settings(variant="racer", budget=budget)).linear.matrix_DM for budget in (1.0, 20.0)
    )
    assert not np.allclose(cheap, dear)


def test_sets_on_the_front_are_those_of_an_exhaustive_search():
    table = signed(300, arms=("cheap", "dear"))
    weight_U = value.verdict_weights(table)
    rewards, costs, bundles = [], [], []
    for size in range(1, 5):
        for bundle in combinations(range(4), size):
            # of one arm the second order never comes without the first
            if (1 in bundle and 0 not in bundle) or (3 in bundle and 2 not in bundle):
                continue
            bought_NU = np.zeros(table.cost_NU.shape, bool)
            bought_NU[:, bundle] = True
            rewards.append(weigh(table.seen(bought_NU), weight_U).reward(table).mean())
            costs.append(table.cost_NU[:, bundle].sum(axis=1).mean())
            bundles.append(frozenset(bundle))
    found = portfolio.static(table, weight_U)
    best = 0.0
    expected_front = []
    for k in np.argsort(costs):
        if rewards[k] > best + portfolio.WORTH:
            best = rewards[k]
            expected_front.append(bundles[k])
    assert [frozenset(p.bundle) for p in found] == expected_front


@pytest.mark.parametrize("make", [signed, rated])
def test_candidates_are_few_rise_in_cost_and_hold_the_front(make):
    table = make()
    weight_U = value.verdict_weights(table)
    kept = portfolio.candidates(table, weight_U, most=10)
    costs = [table.cost_NU[:, list(bundle)].sum(axis=1).mean() for bundle in kept]
    assert len(kept) <= 10
    assert costs == sorted(costs)
    front = [p.bundle for p in portfolio.static(table, weight_U)]
    assert set(front[:10]) <= set(kept) or len(front) > 10


def test_sets_buy_a_second_draw_only_after_the_first():
    table = rated()
    for bundle in portfolio.candidates(table, np.ones(6)):
        for u in bundle:
            earlier = [v for v, p in enumerate(table.purchases) if p.arm == table.purchases[u].arm and v < u]
            assert set(earlier) <= set(bundle)


def test_portfolios_earn_more_than_arms_where_verdicts_add_up():
    """At the cost of two draws of the dear arm, which no arm has: arms mix one draw and three."""
    fitted, fresh = rated(600), rated(4000, seed=1)
    budget = float(fitted.cost_NU[:, 3:5].sum(axis=1).mean())
    arms, sets = (expected(fit(fitted), fresh, budget, draws(fresh)) for fit in (value.fit, value.fit_portfolio))
    assert sets.reward_N.mean() > arms.reward_N.mean() + 0.005
    assert sets.cost_N.mean() <= budget * 1.03


def test_an_arm_that_weighs_nothing_still_speaks_when_bought_alone():
    table = signed(200)
    table = replace(table, said_NU=-table.said_NU)  # every arm is wrong more often than right
    assert (value.verdict_weights(table) > 0).all()


def test_recorded_sets_of_ten_arms_are_kept_in_hand():
    from adjudge.routing.table import tabulate

    table = tabulate(recorded("records_rewardbench2_gpt54.jsonl.gz"))
    router = value.fit_portfolio(table)
    assert len(router.bundles) <= portfolio.MOST_KEPT
    dearest = max(router.rungs, key=lambda rung: rung.reward)
    assert dearest.reward > 0.85
