"""Worst-case weights over KL balls, and the way between radius and temperature."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from adjudge.errors import ConfigError
from adjudge.routing.ambiguity import (
    Radius,
    Temperature,
    cost_weights,
    divergence,
    radius_at,
    reward_weights,
    soft_maximum,
    temperature_at,
    worst_cost,
    worst_reward,
)


@st.composite
def costs(draw, at_least: int = 1):
    """Vectors of very different kinds: few levels with ties, tokens, far offsets, tiny and huge scales."""
    n = draw(st.integers(at_least, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["levels", "tokens", "offset", "scaled", "outlier"]))
    if kind == "levels":
        return rng.integers(0, 3, n).astype(float)
    if kind == "tokens":
        return rng.lognormal(6, 1, n)
    if kind == "offset":
        return 1e6 + rng.normal(size=n) * 1e-3
    if kind == "outlier":
        return np.where(np.arange(n) == 0, 1e6, rng.uniform(size=n))
    return rng.normal(size=n) * 10 ** rng.uniform(-6, 6)


def log_reach(cost_N):
    """Radius from which on no temperature above 0 reaches."""
    return math.log(len(cost_N) / np.count_nonzero(cost_N == cost_N.max()))


def test_weights_are_the_formulas_of_theorem_3_1():
    reward_N, cost_N, tau = np.array([0.0, 0.25, 1.0]), np.array([3.0, 1.0, 8.0]), 0.7
    paper_r = [math.exp((reward_N.mean() - r) / tau) for r in reward_N]
    paper_c = [math.exp((c - cost_N.mean()) / tau) for c in cost_N]
    np.testing.assert_allclose(reward_weights(reward_N, tau), np.array(paper_r) / sum(paper_r), rtol=1e-14)
    np.testing.assert_allclose(cost_weights(cost_N, tau), np.array(paper_c) / sum(paper_c), rtol=1e-14)


@settings(max_examples=300, deadline=None)
@given(costs(at_least=2), st.floats(1e-9, 1 - 1e-9))
def test_divergence_of_the_worst_case_weights_equals_the_radius(cost_N, share):
    reach = log_reach(cost_N)
    if reach == 0:
        return
    rho = share * reach
    for worst in (worst_cost(cost_N, Radius(rho)), worst_reward(-cost_N, Radius(rho))):
        assert abs(divergence(worst.q_N) - rho) < 1e-8
        assert worst.q_N.sum() == pytest.approx(1, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(costs(at_least=2), st.floats(-2.5, 4))
def test_temperature_at_inverts_radius_at(cost_N, log_tau):
    tau = cost_N.std() * 10**log_tau
    rho = radius_at(cost_N, tau) if tau > 0 else 0
    if rho < 1e-7 or rho > log_reach(cost_N) - 1e-6:  # there the radius hardly says which temperature it was
        return
    assert temperature_at(cost_N, rho) == pytest.approx(tau, rel=1e-5)


@settings(max_examples=100, deadline=None)
@given(costs(at_least=2))
def test_temperature_falls_and_the_worst_mean_rises_with_the_radius(cost_N):
    radii = np.linspace(0, 1.2 * log_reach(cost_N) + 0.1, 12)
    worsts = [worst_cost(cost_N, Radius(rho)) for rho in radii]
    assert all(a.tau >= b.tau for a, b in pairwise(worsts))
    rounding = 1e-12 * np.abs(cost_N).max()
    assert all(a.value <= b.value + rounding for a, b in pairwise(worsts))


@settings(max_examples=100, deadline=None)
@given(costs(), st.floats(0, 6))
def test_no_mix_within_the_radius_has_a_higher_mean(cost_N, rho):
    worst = worst_cost(cost_N, Radius(rho))
    rng = np.random.default_rng(0)
    for concentration in (0.05, 1.0, 30.0):
        q_N = rng.dirichlet(np.full(len(cost_N), concentration))
        kl = divergence(q_N)
        inside_N = q_N if kl <= rho else 1 / len(q_N) + (q_N - 1 / len(q_N)) * rho / kl  # KL is convex
        assert inside_N @ cost_N <= worst.value + 1e-9 * np.abs(cost_N).max()


def test_worst_mean_equals_its_dual_minimised_by_scipy():
    rng = np.random.default_rng(1)
    for rho in (0.01, 0.3, 1.5):
        cost_N = rng.lognormal(0, 1, 50)
        dual = minimize_scalar(
            lambda log_tau, v=cost_N, rho=rho: soft_maximum(v, math.exp(log_tau)) + math.exp(log_tau) * rho,
            bounds=(-8, 8),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert worst_cost(cost_N, Radius(rho)).value == pytest.approx(dual.fun, rel=1e-9)


def test_the_two_forms_share_weights_and_differ_by_tau_rho():
    cost_N = np.random.default_rng(2).lognormal(0, 1, 80)
    by_radius = worst_cost(cost_N, Radius(0.4))
    by_temperature = worst_cost(cost_N, Temperature(by_radius.tau))
    np.testing.assert_allclose(by_radius.q_N, by_temperature.q_N, rtol=1e-12)
    assert by_radius.value - by_temperature.value == pytest.approx(by_radius.tau * 0.4, rel=1e-9)


@pytest.mark.parametrize("rho", [math.log(2), 1.0, 50.0, math.inf])
def test_an_unreachable_radius_means_the_maximum_itself(rho):
    worst = worst_cost(np.array([5.0, 1.0, 5.0, 0.0]), Radius(rho))
    assert worst.value == 5.0
    assert worst.tau == 0.0
    assert worst.q_N.tolist() == [0.5, 0.0, 0.5, 0.0]


def test_just_below_the_reach_the_radius_is_still_met():
    cost_N = np.array([5.0, 1.0, 5.0, 0.0])
    worst = worst_cost(cost_N, Radius(math.log(2) - 1e-7))
    assert worst.tau > 0
    assert abs(divergence(worst.q_N) - (math.log(2) - 1e-7)) < 1e-12


@pytest.mark.parametrize("ambiguity", [Radius(0), Temperature(), Radius(1e-14)])
def test_no_radius_is_the_plain_mean(ambiguity):
    values_N = np.random.default_rng(3).normal(size=40)
    assert worst_cost(values_N, ambiguity).value == pytest.approx(values_N.mean(), abs=1e-6)
    np.testing.assert_allclose(worst_reward(values_N, ambiguity).q_N, 1 / 40, rtol=1e-6)


@pytest.mark.parametrize(
    "ambiguity", [Radius(0), Radius(0.3), Radius(99), Temperature(1e-3), Temperature(7), Temperature()]
)
@pytest.mark.parametrize("value", [0.0, 1.0, 1e6, 0.1 + 0.2])
@pytest.mark.parametrize("n", [1, 2, 37])
def test_equal_values_are_their_own_worst_mean(ambiguity, value, n):
    for worst in (worst_cost(np.full(n, value), ambiguity), worst_reward(np.full(n, value), ambiguity)):
        assert worst.value == pytest.approx(value, rel=1e-14)
        np.testing.assert_allclose(worst.q_N, 1 / n, rtol=1e-14)


def test_nothing_overflows_at_small_temperatures_and_large_costs():
    cost_N = np.array([0.0, 1.0, 999_999.0, 1e6])
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        for tau in (1e-3, 1e-12, 1e-300):
            worst = worst_cost(cost_N, Temperature(tau))
            assert worst.value == pytest.approx(1e6, rel=1e-6)
            assert worst.q_N.tolist() == [0.0, 0.0, 0.0, 1.0]
            assert worst_reward(cost_N, Temperature(tau)).value == pytest.approx(0.0, abs=2e-3)
        assert worst_cost(cost_N, Radius(1.0)).value < 1e6


def test_soft_maximum_lies_between_mean_and_maximum_at_every_temperature():
    values_N = np.random.default_rng(4).lognormal(0, 2, 60)
    soft = [soft_maximum(values_N, tau) for tau in (0, 1e-9, 1e-3, 0.1, 1, 10, 1e3, 1e6, 1e9, 1e12, math.inf)]
    assert all(a >= b - 1e-9 for a, b in pairwise(soft))
    assert (soft[0], soft[-1]) == (values_N.max(), values_N.mean())
    assert soft[-3] == pytest.approx(
        values_N.mean() + values_N.var() / 2e9, abs=1e-12
    )  # second order, where logs lose it


@pytest.mark.parametrize("bad", [-0.1, math.nan])
def test_a_radius_or_temperature_out_of_bounds_is_refused(bad):
    with pytest.raises(ConfigError, match="radius"):
        Radius(bad)
    with pytest.raises(ConfigError, match="temperature"):
        Temperature(bad)
    with pytest.raises(ConfigError, match="large radius"):
        Temperature(0.0)
