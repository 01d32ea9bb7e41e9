"""The baselines that learn from features do what their papers say: checked against other libraries and known truths."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from adjudge.routing.baselines import at_random, factors, irt, knn
from adjudge.routing.baselines.one_shot import Scale
from adjudge.routing.router import bundle_table, expected, play
from adjudge.routing.table import Table
from tests.tables_drawn import signed

SIGNED = signed()


def by_arm(table: Table) -> tuple[np.ndarray, np.ndarray]:
    return bundle_table(table, table.bundles, np.ones(len(table.purchases)))


# KNN


def test_knn_predicts_the_means_of_the_neighbours_that_scikit_learn_finds():
    router = knn.fit(SIGNED, knn.Settings(neighbours=15))
    model, scale = router.model, router.scale
    first_I = np.arange(0, len(SIGNED), 2)
    x_ID = scale(SIGNED.x_ND[first_I])
    reward_NK, cost_NK = by_arm(SIGNED)
    near = NearestNeighbors(n_neighbors=15, metric="cosine").fit(x_ID)
    fresh_ND = np.random.default_rng(2).normal(size=(40, 3))
    found_NJ = near.kneighbors(fresh_ND, return_distance=False)
    means = [(t.reshape(-1, 2, 3).mean(axis=1))[found_NJ].mean(axis=1) for t in (reward_NK, cost_NK)]
    for ours, theirs in zip(model.predict(fresh_ND), means, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_knn_with_more_neighbours_than_instances_knows_only_the_means():
    router = knn.fit(SIGNED, knn.Settings(neighbours=10_000))
    reward_NK, _ = router.model.predict(np.random.default_rng(2).normal(size=(3, 3)))
    np.testing.assert_allclose(reward_NK, np.tile(by_arm(SIGNED)[0].mean(axis=0), (3, 1)))


# matrix factorisation


def test_the_gradient_of_matrix_factorisation_is_that_of_finite_differences():
    rng = np.random.default_rng(0)
    x_ND, reward_NK = rng.normal(size=(7, 3)), rng.choice([0.0, 0.5, 1.0], (7, 4))

    def split(flat):
        return flat[:8].reshape(2, 4), flat[8:].reshape(4, 2)

    def value(flat):
        return factors.loss(x_ND, reward_NK, *split(flat), 0.1)[0]

    def slope(flat):
        return np.concatenate([part.ravel() for part in factors.loss(x_ND, reward_NK, *split(flat), 0.1)[1:]])

    assert check_grad(value, slope, rng.normal(size=16)) < 1e-6


def test_with_two_arms_matrix_factorisation_is_logistic_regression_on_who_won():
    two = signed(arms=("weak", "strong"))
    two = replace(two, x_ND=two.x_ND[:, :1], features=("difficulty",))
    penalty = 1e-6
    router = factors.fit(two, factors.Settings(factors=4, penalty=penalty, steps=2000))
    reward_NK, _ = by_arm(two)
    reward_IK = reward_NK.reshape(-1, 2, 2).mean(axis=1)
    margin_I = reward_IK[:, 1] - reward_IK[:, 0]
    x_ID = router.scale(two.x_ND[::2])
    theirs = LogisticRegression(C=1e6, tol=1e-10).fit(x_ID, margin_I > 0, sample_weight=np.abs(margin_I))
    grid = np.linspace(-1.5, 1.5, 11)[:, None]
    delta_NK = factors.scores(grid, router.model.text_FE, router.model.arm_KF)
    ours_N = expit(delta_NK[:, 1] - delta_NK[:, 0])
    np.testing.assert_allclose(ours_N, theirs.predict_proba(grid)[:, 1], atol=0.01)


def test_with_two_arms_matrix_factorisation_is_a_threshold_on_the_probability_that_the_strong_one_wins():
    two = signed(arms=("weak", "strong"))
    router = factors.fit(two)
    model = router.model
    delta_NK = factors.scores(router.scale(two.x_ND), model.text_FE, model.arm_KF)
    wins_N = expit(delta_NK[:, 1] - delta_NK[:, 0])
    for k, rung in enumerate(router.rungs):
        strong_N = play(router, two, k, np.zeros(len(two))).bought_NU[:, 2]
        least = (1 + rung.multiplier * (model.cost_K[1] - model.cost_K[0])) / 2
        assert (strong_N == (wins_N > least)).all()


# M-IRT


def test_the_gradient_of_item_response_is_that_of_finite_differences():
    rng = np.random.default_rng(0)
    x_ND, reward_NK = rng.normal(size=(7, 3)), rng.choice([0.0, 0.5, 1.0], (7, 4))

    def split(flat):
        return flat[:12].reshape(3, 4), flat[12:].reshape(4, 2)

    def value(flat):
        return irt.loss(x_ND, reward_NK, *split(flat), 0.1)[0]

    def slope(flat):
        return np.concatenate([part.ravel() for part in irt.loss(x_ND, reward_NK, *split(flat), 0.1)[1:]])

    assert check_grad(value, slope, rng.normal(size=20)) < 1e-6


def test_item_response_finds_again_the_chances_that_rewards_were_drawn_with():
    rng = np.random.default_rng(3)
    table = signed(instances=2000)
    x_ID = rng.normal(size=(2000, 3))
    item_GE, ability_KF = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))
    chance_IK = irt.chance(x_ID, item_GE, ability_KF)
    right_IK = rng.random((2000, 3)) < chance_IK
    said_IK = np.where(right_IK, 1.0, -1.0) * table.gold_N[::2, None]
    drawn = replace(table.with_features(x_ID, "abc"), said_NU=np.repeat(said_IK[table.instance_N], 2, axis=1))
    router = irt.fit(drawn, irt.Settings(dimensions=2, penalty=0.002, steps=500))
    found_IK, _ = router.model.predict(router.scale(x_ID))
    assert np.corrcoef(found_IK.ravel(), chance_IK.ravel())[0, 1] > 0.97
    assert np.abs(found_IK - chance_IK).mean() < 0.05


@pytest.mark.parametrize("module", [knn, factors, irt])
def test_what_the_features_tell_is_worth_more_than_a_coin_on_rows_that_were_not_fitted_on(module):
    table, fresh = (turned(signed(instances=500, seed=seed)) for seed in (1, 2))
    router, coin = module.fit(table), at_random.fit(table)
    budget = float(table.arm_costs().mean(axis=0)[1:].mean())
    zero = np.zeros(len(fresh))
    ours, theirs = (expected(r, fresh, budget, zero) for r in (router, coin))
    assert ours.reward_N.mean() > theirs.reward_N.mean() + 0.01
    assert ours.cost_N.mean() < budget * 1.05


def turned(table: Table) -> Table:
    """Difficulty as a direction, which is what an embedding and its cosines are about."""
    angle_I = np.pi * table.x_ND[::2, 0]
    return table.with_features(np.stack([np.cos(angle_I), np.sin(angle_I)], axis=1), ("east", "north"))


def test_a_feature_that_never_changed_is_ignored():
    scale = Scale.of(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert scale(np.array([[2.0, 99.0]])).tolist() == [[0.0, 0.0]]
