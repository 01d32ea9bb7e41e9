"""The routing problem and its certificate: bounds that hold for every policy and every multiplier."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.errors import BudgetError, ConfigError, DataError
from adjudge.routing.ambiguity import Radius, Temperature
from adjudge.routing.problem import (
    Problem,
    cost_at,
    entropy,
    feasible,
    gap,
    lagrangian,
    objective,
    point_at,
    softmax_policy,
    upper_bound,
)

SETS = [Radius(0), Radius(0.05), Radius(1.0), Radius(99.0), Temperature(0.05), Temperature(3.0)]


@st.composite
def problems(draw, **settings):
    """Small problems of every form, with room above the cheapest cost or without."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, k = draw(st.integers(1, 12)), draw(st.integers(2, 4))
    reward_NK = rng.integers(0, 3, (n, k)) / 2 if draw(st.booleans()) else rng.uniform(size=(n, k))
    cost_NK = rng.integers(0, 4, (n, k)).astype(float) if draw(st.booleans()) else rng.lognormal(0, 1, (n, k))
    sets = {"reward_set": draw(st.sampled_from(SETS)), "cost_set": draw(st.sampled_from(SETS))}
    beta = draw(st.sampled_from([0.0, 0.003, 0.1]))
    free = Problem(reward_NK, cost_NK, math.inf, beta, **sets)
    dear = Problem(reward_NK, cost_NK.max(axis=1, keepdims=True) + 0 * cost_NK, math.inf, beta, **sets).cheapest_cost
    room = draw(st.sampled_from([0.0, 0.01, 0.3, 1.0]))
    budget = free.cheapest_cost + room * (dear - free.cheapest_cost)
    return Problem(reward_NK, cost_NK, budget, beta, **sets, **settings)


def random_policy(rng, problem):
    return rng.dirichlet(np.full(problem.reward_NK.shape[1], rng.choice([0.1, 1.0])), len(problem.reward_NK))


@settings(max_examples=80, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_no_policy_within_budget_exceeds_the_bound_of_any_point(problem, seed, multiplier):
    rng = np.random.default_rng(seed)
    point = point_at(problem, random_policy(rng, problem), multiplier)
    other = point_at(problem, random_policy(rng, problem), 0.0)
    assert objective(problem, feasible(problem, other)) <= upper_bound(problem, point) + 1e-9


@settings(max_examples=80, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_a_mended_policy_is_a_policy_within_budget(problem, seed):
    point = point_at(problem, random_policy(np.random.default_rng(seed), problem), 0.0)
    p_NK = feasible(problem, point)
    assert cost_at(problem, p_NK).value <= problem.budget * (1 + 1.01e-9)
    np.testing.assert_allclose(p_NK.sum(axis=1), 1, rtol=1e-12)
    assert p_NK.min() >= 0


@settings(max_examples=60, deadline=None)
@given(problems(price_term=True), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_with_the_price_term_the_bound_holds_for_policies_over_budget_too(problem, seed, multiplier):
    if problem.beta == 0:
        return
    rng = np.random.default_rng(seed)
    point = point_at(problem, random_policy(rng, problem), multiplier)
    assert objective(problem, random_policy(rng, problem)) <= upper_bound(problem, point) + 1e-9


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_the_softmax_policy_is_the_best_response_to_fixed_weights(problem, seed, multiplier):
    rng = np.random.default_rng(seed)
    point = point_at(problem, random_policy(rng, problem), multiplier)

    def worth(p_NK):
        reward = point.q_reward_N @ (p_NK * problem.reward_NK).sum(axis=1)
        cost = point.q_cost_N @ (p_NK * problem.cost_NK).sum(axis=1)
        return reward - multiplier * cost + problem.beta * entropy(p_NK)

    best_NK = softmax_policy(problem.reward_NK, problem.cost_NK, multiplier, problem.beta, point)
    for _ in range(5):
        other_NK = random_policy(rng, problem)
        for share in (1.0, 0.1):
            assert worth((1 - share) * best_NK + share * other_NK) <= worth(best_NK) + 1e-12


def test_objective_and_lagrangian_by_hand():
    problem = Problem(
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.array([[1.0, 3.0], [1.0, 5.0]]),
        budget=2.0,
        beta=0.1,
        reward_set=Radius(99),
        cost_set=Temperature(2.0),
    )
    p_NK = np.array([[0.5, 0.5], [0.75, 0.25]])  # rewards 0.5 and 0.75, costs 2 and 2
    nats = (math.log(2) - 0.75 * math.log(0.75) - 0.25 * math.log(0.25)) / 2
    assert objective(problem, p_NK) == pytest.approx(0.5 + 0.1 * nats)
    dear_NK = np.array([[0.5, 0.5], [0.0, 1.0]])  # rewards 0.5 and 0, costs 2 and 5
    cost = 2 * math.log((math.exp(1) + math.exp(2.5)) / 2)
    assert lagrangian(problem, dear_NK, 0.3) == pytest.approx(0.1 * math.log(2) / 2 - 0.3 * (cost - 2))
    soft = Problem(problem.reward_NK, problem.cost_NK, 2.0, 0.1, Radius(99), Temperature(2.0), price_term=True)
    assert lagrangian(soft, dear_NK, 0.3) == pytest.approx(lagrangian(problem, dear_NK, 0.3) + 0.1 * 0.09 / 2)
    assert objective(soft, dear_NK) == pytest.approx(objective(problem, dear_NK) - (cost - 2) ** 2 / 0.2)


def test_gap_is_the_loss_of_a_policy_known_to_be_too_cheap():
    # every instance gains 1 for 2 more; the budget pays for half of it; all-cheap loses that half
    problem = Problem(np.tile([0.0, 1.0], (4, 1)), np.tile([1.0, 3.0], (4, 1)), budget=2.0, beta=0.0)
    assert gap(problem, point_at(problem, np.tile([1.0, 0.0], (4, 1)), 0.5)) == pytest.approx(0.5)
    assert gap(problem, point_at(problem, np.tile([0.0, 1.0], (4, 1)), 0.5)) == pytest.approx(0.0)  # mended


def test_mending_mixes_the_cheapest_in_where_a_policy_is_dearest():
    problem = Problem(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 2.0], [1.0, 9.0]]), budget=2.5, beta=0.0)
    p_NK = feasible(problem, point_at(problem, np.array([[0.0, 1.0], [0.0, 1.0]]), 0.0))
    np.testing.assert_allclose(p_NK, [[0.0, 1.0], [0.75, 0.25]], atol=1e-9)


def test_a_budget_below_the_cheapest_cost_names_that_cost_and_the_remedy():
    reward_NK, cost_NK = np.ones((2, 2)), np.array([[1.0, 3.0], [2.0, 6.0]])
    with pytest.raises(BudgetError, match=r"budget 1.4 is below 1.5, the mean cost .* raise the budget"):
        Problem(reward_NK, cost_NK, 1.4)
    with pytest.raises(BudgetError, match=r"budget 1.5 is below 2, the worst-case cost .* shift less"):
        Problem(reward_NK, cost_NK, 1.5, cost_set=Radius(5.0))
    Problem(reward_NK, cost_NK, 1.5)


def test_bad_tables_are_refused_with_the_place_named():
    good = np.ones((2, 2))
    with pytest.raises(DataError, match="reward of instance 1, choice 0 is nan"):
        Problem(np.array([[0.0, 1.0], [math.nan, 1.0]]), good, 2.0)
    with pytest.raises(DataError, match=r"cost of instance 0, choice 1 is -1.0; .* 0 or more"):
        Problem(good, np.array([[0.0, -1.0], [0.0, 1.0]]), 2.0)
    with pytest.raises(DataError, match="one shape"):
        Problem(good, np.ones((2, 3)), 2.0)
    with pytest.raises(DataError, match="K >= 2"):
        Problem(np.ones((3, 1)), np.ones((3, 1)), 2.0)
    with pytest.raises(ConfigError, match="beta"):
        Problem(good, good, 2.0, beta=-1.0)
    for budget in (-1.0, math.nan):
        with pytest.raises(BudgetError):
            Problem(good, good, budget)


def test_a_problem_keeps_its_own_tables():
    table = np.ones((2, 2))
    problem = Problem(table, table, 2.0)
    table[0, 0] = 7.0
    assert problem.reward_NK[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        problem.cost_NK[0, 0] = 7.0


def test_variants_are_named_by_what_is_robust():
    table, shift = np.ones((2, 2)), Radius(0.1)
    names = [Problem(table, table, 2.0, 0.1, r, c).variant for r in (shift, Radius(0)) for c in (shift, Temperature())]
    assert names == ["racer", "racer-r", "racer-c", "acer"]
