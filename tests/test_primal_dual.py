"""The paper's primal-dual iteration: where it has a linear rate, where it cycles, where its published form ends."""

import math

import numpy as np
import pytest

from adjudge.errors import ConfigError
from adjudge.routing.ambiguity import Radius, Temperature
from adjudge.routing.primal_dual import State, cycle_length, init, linear_rate, run, step, step_as_published
from adjudge.routing.problem import Problem, cost_at, gap, mean_choice, point_at
from adjudge.routing.racer import solve

N = 50
RNG = np.random.default_rng(0)
REWARD_NK = RNG.integers(0, 2, (N, 2)).astype(float)
COST_NK = np.stack([np.ones(N), RNG.uniform(2, 6, N)], axis=1)


def problem(budget=2.0, beta=0.1, *sets, unit=1.0, **settings):
    return Problem(REWARD_NK, COST_NK * unit, budget * unit, beta, *sets, **settings)


def slope(problem, answer):
    """-d cost / d lambda of the softmax policy at the solution: mean_i Var_i(c) / beta."""
    mean_N = mean_choice(answer.p_NK, problem.cost_NK)
    return float((mean_choice(answer.p_NK, problem.cost_NK**2) - mean_N**2).mean() / problem.beta)


def test_the_three_steps_by_hand():
    hand = Problem(
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.array([[1.0, 2.0], [1.0, 4.0]]),
        budget=2.0,
        beta=0.5,
        reward_set=Temperature(1.0),
        cost_set=Temperature(2.0),
    )
    state = State(np.array([[0.5, 0.5], [0.75, 0.25]]), 0.4)  # rewards 0.5, 0.75; costs 1.5, 1.75
    r = [math.exp(0.625 - 0.5), math.exp(0.625 - 0.75)]  # 1. around the means, over tau
    c = [math.exp((1.5 - 1.625) / 2), math.exp((1.75 - 1.625) / 2)]
    y, z = [2 * v / sum(r) for v in r], [2 * v / sum(c) for v in c]
    odds = [  # 2. of the second choice against the first
        math.exp((y[0] * 1 - 0.4 * z[0] * 1) / 0.5),
        math.exp((-y[1] * 1 - 0.4 * z[1] * 3) / 0.5),
    ]
    p = [o / (1 + o) for o in odds]
    cost_1, cost_2 = 1 + p[0], 1 + 3 * p[1]
    after = step(hand, state, rate=0.1)
    np.testing.assert_allclose(after.p_NK, [[1 - p[0], p[0]], [1 - p[1], p[1]]], rtol=1e-12)
    soft = 2 * math.log((math.exp(cost_1 / 2) + math.exp(cost_2 / 2)) / 2)
    assert after.multiplier == pytest.approx(0.4 + 0.1 * (soft - 2), rel=1e-12)  # 3. the constraint's own cost
    published = step_as_published(hand, state, rate=0.1)
    np.testing.assert_array_equal(published.p_NK, after.p_NK)
    assert published.multiplier == pytest.approx(0.4 + 0.1 * ((cost_1 + cost_2) / 2 - 2), rel=1e-12)


@pytest.mark.parametrize("beta", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("share", [0.3, 1.2, 1.7])
def test_plain_costs_converge_at_the_linear_rate_that_the_slope_tells(beta, share):
    plain = problem(beta=beta)
    answer = solve(plain)
    trace = run(plain, 150, share / slope(plain, answer), answer.p_NK)
    assert linear_rate(trace.distance_T) == pytest.approx((1 - share) ** 2, abs=0.01)  # KL is quadratic in the error
    assert cycle_length(trace.multiplier_T) == 1
    assert trace.gap_T[-1] < 1e-9
    assert trace.multiplier_T[-1] == pytest.approx(answer.multiplier, rel=1e-6)


def test_too_large_a_rate_cycles_in_two():
    plain = problem()
    answer = solve(plain)
    trace = run(plain, 200, 2.5 / slope(plain, answer), answer.p_NK)
    assert cycle_length(trace.multiplier_T) == 2
    assert trace.gap_T[-1] > 1e-3
    assert linear_rate(trace.distance_T) == pytest.approx(1, abs=1e-3)


def test_alternating_minimisers_converge_where_costs_vary_little_against_beta_and_cycle_elsewhere():
    for unit, beta, factor in ((0.02, 0.1, 0.0724), (0.1, 0.5, 0.0938), (0.1, 0.1, 1.36), (1.0, 0.1, 71.3)):
        soft = problem(beta=beta, unit=unit, price_term=True)
        answer = solve(soft)
        assert slope(soft, answer) / beta == pytest.approx(factor, rel=0.01)
        trace = run(soft, 100, None, answer.p_NK)
        if factor < 1:
            assert linear_rate(trace.distance_T) == pytest.approx(factor**2, rel=0.05)
            assert trace.gap_T[-1] < 1e-12
        else:
            assert cycle_length(trace.multiplier_T) == 2
            assert trace.gap_T[-1] > 1e-3


def test_robust_weights_converge_at_small_radii():
    robust = problem(2.5, 0.1, Radius(0.005), Radius(0.005))
    answer = solve(robust)
    trace = run(robust, 150, 0.3 / slope(robust, answer), answer.p_NK)
    assert linear_rate(trace.distance_T) < 0.6
    assert trace.gap_T[-1] < 1e-9
    np.testing.assert_allclose(trace.multiplier_T[-1], answer.multiplier, rtol=1e-6)


def test_robust_weights_cycle_at_low_temperatures_even_with_the_multiplier_held():
    robust = problem(2.5, 0.1, Temperature(0.05), Temperature(0.2))
    answer = solve(robust)
    trace = run(robust, 200, 0.0, answer.p_NK, multiplier=answer.multiplier)
    assert cycle_length(trace.cost_T) == 2
    assert trace.gap_T[-1] > 0.01
    assert answer.gap < 1e-9


def test_where_it_stays_with_the_worst_cost_it_has_solved_the_problem_in_both_forms():
    for sets in ((Radius(0.02), Radius(0.02)), (Temperature(5.0), Temperature(20.0))):
        robust = problem(2.5, 0.1, *sets)
        answer = solve(robust)
        state = State(answer.p_NK, answer.multiplier)
        after = step(robust, state, 0.01)
        np.testing.assert_allclose(after.p_NK, state.p_NK, atol=1e-7)
        assert after.multiplier == pytest.approx(state.multiplier, rel=1e-6)


def test_the_published_iteration_settles_over_the_worst_case_budget():
    robust = problem(2.5, 0.1, Temperature(1.0), Temperature(5.0))
    answer = solve(robust)
    state = init(robust)
    for _ in range(3000):
        state = step_as_published(robust, state, 0.05 / slope(robust, answer))
    assert mean_choice(state.p_NK, COST_NK).mean() == pytest.approx(2.5, rel=1e-6)
    assert cost_at(robust, state.p_NK).value > 2.5 * 1.05
    assert gap(robust, point_at(robust, *state)) > 100 * answer.gap + 0.005


def test_what_the_paper_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="fixed temperatures"):
        step_as_published(problem(3.0, 0.1, Radius(0.1)), init(problem()), 0.1)
    with pytest.raises(ConfigError, match="without the price term"):
        step(problem(), init(problem()), None)


def test_a_trace_starts_before_the_first_step():
    plain = problem()
    trace = run(plain, 3, 0.01, solve(plain).p_NK, multiplier=0.2)
    assert [len(column) for column in trace] == [4, 4, 4, 4]
    assert trace.multiplier_T[0] == 0.2
    assert trace.cost_T[0] == pytest.approx(COST_NK.mean())


def test_no_rate_is_read_from_errors_at_the_floor():
    assert math.isnan(linear_rate(np.array([1e-13, 1e-14, 1e-15, 1e-16])))
    assert cycle_length(np.array([1.0])) is None
