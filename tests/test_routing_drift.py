"""Drift: the least KL against closed forms, a general solver, and samples with and without a shift."""

import math

import numpy as np
import pytest

from adjudge.routing import drift
from adjudge.routing.drift import Reference


def plain(z_NC):
    size = z_NC.shape[1]
    return Reference(np.zeros(size), np.eye(size), z_NC)


def test_a_moved_gaussian_is_as_far_as_its_closed_form_says():
    z_NC = np.random.default_rng(0).normal(size=(20_000, 2))
    z_NC = (z_NC - z_NC.mean(axis=0)) / z_NC.std(axis=0)
    moved = drift.shift(plain(z_NC), np.array([0.5, -0.3]), 1e6)
    assert moved.kl == pytest.approx((0.5**2 + 0.3**2) / 2, rel=0.03)


def test_of_two_kinds_it_is_the_kl_of_their_shares():
    z_NC = np.array([[0.0]] * 75 + [[1.0]] * 25)
    p, q = 0.25, 0.6
    expected = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    assert drift.shift(plain(z_NC), np.array([q]), 1e6).kl == pytest.approx(expected, abs=1e-6)


def test_it_is_what_a_general_solver_finds():
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(1)
    z_NC, mean_C = rng.normal(size=(60, 3)), np.array([0.3, -0.2, 0.4])
    q = cvxpy.Variable(60)
    problem = cvxpy.Problem(
        cvxpy.Minimize(cvxpy.sum(cvxpy.kl_div(q, 1 / 60))), [z_NC.T @ q == mean_C, cvxpy.sum(q) == 1]
    )
    assert drift.shift(plain(z_NC), mean_C, 1e6).kl == pytest.approx(problem.solve(), abs=1e-4)


def test_a_mean_that_no_reweighting_has_is_as_far_as_can_be():
    z_NC = np.random.default_rng(2).uniform(size=(50, 2))
    assert drift.shift(plain(z_NC), np.array([3.0, 3.0]), 500).kl == pytest.approx(math.log(50))


def test_the_same_data_is_nowhere_else_but_by_chance_and_never_called_so_often():
    rng = np.random.default_rng(3)
    fitted = drift.reference(rng.normal(size=(800, 12)) @ rng.normal(size=(12, 12)) + 3.0)
    assert fitted is not None and fitted.z_NC.std(axis=0) == pytest.approx(np.ones(fitted.z_NC.shape[1]), rel=0.05)
    called = 0
    for seed in range(200):
        draw = np.random.default_rng([4, seed])
        z_NC = fitted.z_NC[draw.integers(0, len(fitted.z_NC), 300)]
        called += drift.shift(fitted, z_NC.mean(axis=0), 300).least > 0
    assert called <= 10  # 1 % are expected


def test_traffic_forgets_and_a_true_shift_is_seen():
    rng = np.random.default_rng(5)
    x_ND = rng.normal(size=(500, 5))
    fitted = drift.reference(x_ND)
    came = drift.nothing(fitted)
    for row in fitted.components(x_ND[:300]):
        came = came.seen(row, 200)
    assert drift.shift(fitted, came.mean, came.pairs).least < 0.02
    for row in fitted.components(x_ND[:400] + np.array([1.0, 0, 0, 0, 0])):
        came = came.seen(row, 200)
    assert 200 < came.pairs < 400
    assert drift.shift(fitted, came.mean, came.pairs).least > 0.2


def test_data_without_features_that_differ_has_nothing_to_compare_with():
    assert drift.reference(np.ones((40, 3))) is None and drift.reference(np.empty((40, 0))) is None


def test_what_is_kept_is_what_was():
    fitted = drift.reference(np.random.default_rng(6).normal(size=(3000, 4)))
    again = drift.restored(drift.arrays(fitted))
    assert len(again.z_NC) == drift.MOST_ROWS
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(fitted, again, strict=True))
    assert drift.restored({}) is None
