"""The exact solver against CVXPY's exponential cones, linear programming, and the laws that the answer obeys."""

import dataclasses
import math
import re
import time
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq, linprog

from adjudge.errors import BudgetError
from adjudge.routing.ambiguity import Radius, Temperature, divergence, temperature_at, worst_cost
from adjudge.routing.problem import Problem, cost_at, gap, mean_choice, objective, point_at, softmax_policy
from adjudge.routing.racer import solve

BUDGETS = ("tight", "middle", "nearly slack", "slack")


def instance(seed: int, form: str, **settings) -> Problem:
    """A random problem; seeds go through kinds of rewards and costs (ties, zeros) and budgets from tight to slack."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.choice([1, 2, 5, 20, 60, 200], p=[0.05, 0.1, 0.2, 0.4, 0.2, 0.05])), int(rng.integers(2, 5))
    dearer_K = np.cumprod(1 + np.r_[0, rng.exponential(2, k - 1)])
    reward_NK = [
        rng.integers(0, 2, (n, k)).astype(float),
        rng.choice([0, 0.5, 1], (n, k)),
        rng.uniform(size=(n, k)),
        np.repeat(rng.integers(0, 2, (n, 1)).astype(float), k, axis=1),  # every choice is as good
        np.repeat(rng.uniform(size=(1, k)), n, axis=0),  # every instance is alike
    ][seed % 5]
    cost_NK = [
        dearer_K * rng.lognormal(0, 0.7, (n, k)),
        dearer_K * rng.lognormal(0, 0.7, (n, k)) * 300,  # tokens
        np.where(rng.uniform(size=(n, k)) < 0.3, 0, dearer_K * rng.lognormal(0, 1, (n, k))),
        rng.integers(0, 4, (n, k)).astype(float),
        np.repeat(dearer_K[None], n, axis=0),
    ][seed // 5 % 5]
    unit = max(float(cost_NK.mean()), 1e-3)
    if form == "radius":
        radii = [0.0, 0.0, 0.0, 0.01, 0.1, 0.5, 1.5, 0.9 * math.log(n + 1), math.log(n + 1), 20.0]
        sets = Radius(float(rng.choice(radii))), Radius(float(rng.choice(radii)))
    else:
        taus = [0.03, 0.2, 1.0, 10.0, math.inf, math.inf]
        sets = Temperature(float(rng.choice(taus))), Temperature(float(rng.choice(taus)) * unit)
    beta = settings.pop("beta", float(10 ** rng.uniform(-3, -1)))
    low = worst_cost(cost_NK.min(axis=1), sets[1]).value
    high = worst_cost(cost_NK.max(axis=1), sets[1]).value
    share = {"tight": 1e-4, "middle": rng.uniform(0.01, 0.15), "nearly slack": rng.uniform(0.15, 0.4), "slack": 1.0}
    budget = low + share[BUDGETS[seed // 25 % 4]] * (high - low)
    return Problem(reward_NK, cost_NK, max(budget, 1e-9 * unit), beta, *sets, **settings)


def by_cvxpy(problem: Problem, budget: float | None = None) -> float:
    """Value of the same problem as a cone program: the worst cases are epigraphs of log-sum-exp perspectives."""
    cp = pytest.importorskip("cvxpy")
    n, k = problem.reward_NK.shape
    unit = problem.budget  # costs in budgets, for the conic solver's sake
    p_NK = cp.Variable((n, k), nonneg=True)
    limits = [cp.sum(p_NK, axis=1) == 1]

    def largest(value_N, ambiguity, scale):
        if ambiguity.is_plain:
            return cp.sum(value_N) / n
        level, terms_N = cp.Variable(), cp.Variable(n)
        if isinstance(ambiguity, Radius):
            tau = cp.Variable(nonneg=True)
            limits.extend(
                [cp.constraints.ExpCone(value_N - level, tau * np.ones(n), terms_N), cp.sum(terms_N) / n <= tau]
            )
            return level + tau * ambiguity.rho
        tau = ambiguity.tau / scale
        limits.extend([cp.constraints.ExpCone(value_N - level, cp.Constant(np.full(n, tau)), terms_N)])
        limits.append(cp.sum(terms_N) / n <= tau)
        return level

    reward = -largest(-cp.sum(cp.multiply(p_NK, problem.reward_NK), axis=1), problem.reward_set, 1.0)
    cost = largest(cp.sum(cp.multiply(p_NK, problem.cost_NK / unit), axis=1), problem.cost_set, unit)
    value = reward + problem.beta * cp.sum(cp.entr(p_NK)) / n
    if problem.soft_budget:
        value -= cp.square(cp.pos(cost - 1)) * unit**2 / (2 * problem.beta)
    else:
        limits.append(cost <= (problem.budget if budget is None else budget) / unit)
    program = cp.Problem(cp.Maximize(value), limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a solver that warns of its accuracy is held to 1e-4 all the same
        for fraction in (0.99, 0.9, 0.8, 0.7):  # Clarabel gives up on a few of these problems at its default 0.99
            try:
                program.solve(solver="CLARABEL", max_step_fraction=fraction)
                break
            except cp.error.SolverError:
                continue
    return float(program.value)


def is_bound(problem: Problem, answer) -> bool:
    return answer.cost <= problem.budget * (1 + 1.01e-9) and answer.gap < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("form", ["radius", "temperature"])
def test_value_equals_cvxpys_on_a_hundred_random_instances(form):
    apart = []
    for seed in range(100):
        problem = instance(seed, form)
        answer = solve(problem)
        assert is_bound(problem, answer), (seed, answer.gap, answer.cost / problem.budget)
        assert answer.value == pytest.approx(objective(problem, answer.p_NK), abs=1e-12)
        apart.append(abs(answer.value - by_cvxpy(problem)))
    assert max(apart) < 1e-4, int(np.argmax(apart))
    assert float(np.median(apart)) < 1e-7


def test_a_budget_below_the_cheapest_cost_is_infeasible_to_cvxpy_too():
    for seed in (0, 6, 16, 41, 95):
        problem = instance(seed, "radius")
        low = problem.cheapest_cost
        with pytest.raises(BudgetError, match=re.escape(f"below {low:.6g}")):
            dataclasses.replace(problem, budget=0.99 * low)
        assert by_cvxpy(problem, budget=0.99 * low) == -math.inf


def test_the_price_term_overruns_by_beta_lambda_and_agrees_with_cvxpy():
    for seed, form in ((25, "radius"), (27, "temperature"), (45, "radius")):
        problem = instance(seed, form, price_term=True, beta=0.05)
        answer = solve(problem)
        assert answer.multiplier > 0
        assert answer.gap < 1e-9
        assert answer.cost - problem.budget == pytest.approx(0.05 * answer.multiplier, rel=1e-5, abs=1e-9)
        assert answer.value == pytest.approx(by_cvxpy(problem), abs=1e-4)


@pytest.mark.parametrize("form", ["radius", "temperature"])
@pytest.mark.parametrize("seed", [0, 7, 26, 33, 38, 58])
def test_random_starts_end_at_one_policy(seed, form):
    problem = instance(seed, form)
    answer = solve(problem)
    rng = np.random.default_rng(seed)
    for concentration in (0.2, 1.0, 5.0):
        start_NK = rng.dirichlet(np.full(problem.reward_NK.shape[1], concentration), len(problem.reward_NK))
        other = solve(problem, start_NK)
        np.testing.assert_allclose(other.p_NK, answer.p_NK, atol=1e-6)
        if answer.multiplier > 0:
            assert other.multiplier == pytest.approx(answer.multiplier, rel=1e-4)


def test_a_slack_budget_gives_multiplier_zero_and_the_policy_without_a_budget():
    for form in ("radius", "temperature"):
        problem = instance(77, form)
        answer = solve(problem)
        assert answer.multiplier == 0
        assert answer.cost < problem.budget
        np.testing.assert_allclose(answer.p_NK, solve(dataclasses.replace(problem, budget=math.inf)).p_NK, atol=1e-9)


def test_acer_is_the_softmax_whose_mean_cost_meets_the_budget():
    problem = dataclasses.replace(instance(30, "radius"), reward_set=Radius(0), cost_set=Radius(0))
    low, high = (
        problem.cost_NK.min(axis=1).mean(),
        cost_at(problem, solve(dataclasses.replace(problem, budget=1e9)).p_NK).value,
    )
    problem = dataclasses.replace(problem, budget=0.7 * low + 0.3 * high)

    def policy(log_price):
        return softmax_policy(problem.reward_NK, problem.cost_NK, math.exp(log_price), problem.beta)

    root = brentq(lambda x: cost_at(problem, policy(x)).value - problem.budget, -20, 20, xtol=1e-13)
    answer = solve(problem)
    assert answer.multiplier == pytest.approx(math.exp(root), rel=1e-8)
    np.testing.assert_allclose(answer.p_NK, policy(root), atol=1e-8)


def test_the_policy_is_the_best_response_to_its_own_worst_case():
    problem = Problem(*_table(80), 2.0, 0.02, Radius(0.2), Radius(0.2))
    answer = solve(problem)
    point = point_at(problem, answer.p_NK, answer.multiplier)
    np.testing.assert_allclose(answer.q_reward_N, point.q_reward_N, atol=1e-8)
    np.testing.assert_allclose(answer.q_cost_N, point.q_cost_N, atol=1e-8)
    response = softmax_policy(problem.reward_NK, problem.cost_NK, answer.multiplier, problem.beta, point)
    np.testing.assert_allclose(response, answer.p_NK, atol=1e-6)
    assert abs(divergence(answer.q_reward_N) - 0.2) < 1e-8
    assert abs(divergence(answer.q_cost_N) - 0.2) < 1e-8


def test_the_two_forms_meet_where_the_divergence_is_the_radius():
    by_radius = Problem(*_table(60), 2.5, 0.02, Radius(0.15), Radius(0.15))
    answer = solve(by_radius)
    tau_reward = temperature_at(-mean_choice(answer.p_NK, by_radius.reward_NK), 0.15)
    tau_cost = temperature_at(mean_choice(answer.p_NK, by_radius.cost_NK), 0.15)
    # the soft maximum is lower than the worst mean by tau rho, and so must the budget be
    by_temperature = dataclasses.replace(
        by_radius, budget=2.5 - tau_cost * 0.15, reward_set=Temperature(tau_reward), cost_set=Temperature(tau_cost)
    )
    other = solve(by_temperature)
    np.testing.assert_allclose(other.p_NK, answer.p_NK, atol=1e-6)
    assert other.multiplier == pytest.approx(answer.multiplier, rel=1e-5)


@pytest.mark.parametrize("form", ["radius", "temperature"])
def test_a_larger_budget_never_lowers_the_value_nor_raises_the_multiplier(form):
    problem = instance(27, form)
    low = problem.cheapest_cost
    answers = [solve(dataclasses.replace(problem, budget=low * x + 1e-3)) for x in (1, 1.1, 1.3, 1.7, 2.5, 4, 8, 16)]
    values, prices = [a.value for a in answers], [a.multiplier for a in answers]
    assert all(a <= b + 1e-9 for a, b in pairwise(values))
    assert all(a >= b * (1 - 1e-6) for a, b in pairwise(prices))


def test_a_larger_radius_never_raises_the_value():
    values = [
        solve(Problem(*_table(60), 3.5, 0.02, Radius(rho), Radius(rho))).value for rho in (0, 1e-3, 0.05, 0.2, 0.5)
    ]
    assert all(a >= b - 1e-9 for a, b in pairwise(values))


def test_order_of_choices_and_unit_of_cost_change_nothing_else():
    problem = instance(31, "temperature")
    answer = solve(problem)
    order = np.random.default_rng(0).permutation(problem.reward_NK.shape[1])
    turned = dataclasses.replace(problem, reward_NK=problem.reward_NK[:, order], cost_NK=problem.cost_NK[:, order])
    np.testing.assert_allclose(solve(turned).p_NK, answer.p_NK[:, order], atol=1e-7)
    scaled = dataclasses.replace(
        problem,
        cost_NK=problem.cost_NK * 1e6,
        budget=problem.budget * 1e6,
        cost_set=Temperature(problem.cost_set.tau * 1e6),
    )
    other = solve(scaled)
    np.testing.assert_allclose(other.p_NK, answer.p_NK, atol=1e-7)
    assert other.multiplier * 1e6 == pytest.approx(answer.multiplier, rel=1e-6)


def test_an_unreachable_radius_maximises_the_worst_instance_and_caps_every_cost():
    reward_NK, cost_NK = _table(40)
    problem = Problem(reward_NK, cost_NK, 4.0, 0.001, Radius(99), Radius(99))
    answer = solve(problem)
    assert answer.gap < 1e-9
    assert mean_choice(answer.p_NK, cost_NK).max() == pytest.approx(4.0, rel=1e-9)
    worst = linprog(  # maximise t with r_i(p) >= t and c_i(p) <= 4
        np.r_[np.zeros(reward_NK.size), -1],
        A_ub=np.r_[
            np.c_[-_rows(reward_NK), np.ones(40)],
            np.c_[_rows(cost_NK), np.zeros(40)],
        ],
        b_ub=np.r_[np.zeros(40), np.full(40, 4.0)],
        A_eq=np.c_[_rows(np.ones_like(cost_NK)), np.zeros(40)],
        b_eq=np.ones(40),
    )
    assert mean_choice(answer.p_NK, reward_NK).min() == pytest.approx(-worst.fun, abs=0.002)  # beta log K at most


def test_without_entropy_weight_acer_is_the_linear_program():
    for seed in (25, 28, 35, 53):
        problem = instance(seed, "radius", beta=0.0)
        problem = dataclasses.replace(
            problem, reward_set=Radius(0), cost_set=Radius(0), budget=problem.cost_NK.mean() * 0.6
        )
        n, k = problem.reward_NK.shape
        program = linprog(
            -problem.reward_NK.ravel() / n,
            A_ub=problem.cost_NK.reshape(1, -1) / n,
            b_ub=[problem.budget],
            A_eq=_rows(np.ones((n, k))),
            b_eq=np.ones(n),
        )
        assert solve(problem).value == pytest.approx(-program.fun, abs=1e-6)


@pytest.mark.parametrize("beta", [0.0, 1e-6, 1e-4, 10.0])
@pytest.mark.parametrize("form", ["radius", "temperature"])
def test_entropy_weights_far_from_the_usual_are_solved_too(beta, form):
    for seed in (1, 27, 33, 61):
        problem = instance(seed, form, beta=beta)
        answer = solve(problem)
        assert answer.gap < 1e-6, seed
        assert answer.cost <= problem.budget * (1 + 1.01e-9)


def test_nothing_breaks_at_small_temperatures_and_large_costs():
    reward_NK, cost_NK = _table(50)
    cost_NK[3] *= 1e6
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        for tau in (1e-3, 1.0, 1e3):
            problem = Problem(reward_NK, cost_NK, 2e6, 0.005, Temperature(1e-3), Temperature(tau))
            answer = solve(problem)
            assert answer.cost <= 2e6 * (1 + 1.01e-9)
            assert answer.gap < 1e-7


def test_a_budget_of_exactly_the_cheapest_cost_buys_the_cheapest_choices():
    reward_NK, cost_NK = _table(30)
    cost_NK[:, 1] = cost_NK[:, 0]  # two share the lowest cost: the better one is for free
    cost_NK[:20, :2] = 1.0  # and it is the same for many
    for sets in ((Radius(0), Radius(0)), (Radius(0.1), Radius(0.1)), (Temperature(1.0), Temperature(2.0))):
        free = Problem(reward_NK, cost_NK, math.inf, 0.01, *sets)
        answer = solve(dataclasses.replace(free, budget=free.cheapest_cost))
        assert answer.p_NK[:, 2].max() < 1e-6
        assert answer.cost <= free.cheapest_cost * (1 + 1.01e-9)
        assert answer.gap < 1e-6
        only = Problem(reward_NK[:, :2], cost_NK[:, :2], math.inf, 0.01, *sets)
        assert answer.value == pytest.approx(solve(only).value, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_a_budget_of_one_where_the_first_choice_costs_one_buys_the_first_choice(n):
    reward_NK, cost_NK = _table(n)
    cost_NK = np.c_[np.ones(n), 1.5 + cost_NK[:, 1:]]
    for sets in ((Radius(0), Radius(0)), (Radius(0.1), Radius(0.1)), (Radius(99), Radius(99)), (Temperature(1),) * 2):
        answer = solve(Problem(reward_NK, cost_NK, 1.0, 0.01, *sets))
        np.testing.assert_allclose(answer.p_NK[:, 0], 1, atol=1e-6)
        assert answer.gap < 1e-7


def test_a_budget_of_zero_buys_what_is_free():
    reward_NK = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]])
    cost_NK = np.array([[0.0, 0.0, 3.0], [0.0, 2.0, 4.0]])
    answer = solve(Problem(reward_NK, cost_NK, 0.0, 0.01, Radius(0.1), Radius(0.1)))
    assert answer.cost == 0
    np.testing.assert_allclose(answer.p_NK, [[1, 0, 0], [1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("sets", [(Radius(0), Radius(0)), (Radius(0.3), Radius(0.3)), (Temperature(1), Temperature(1))])
def test_tables_where_nothing_differs_are_solved(sets):
    same = np.full((7, 3), 0.5)
    for reward_NK, cost_NK in ((same, same), (np.eye(7, 3), same), (same, np.arange(21.0).reshape(7, 3))):
        answer = solve(Problem(reward_NK, cost_NK, cost_NK.min(axis=1).max() + 0.5, 0.01, *sets))
        assert answer.gap < 1e-9
    assert np.allclose(solve(Problem(same, same, 1.0, 0.01, *sets)).p_NK, 1 / 3)


def test_five_thousand_instances_take_at_most_five_seconds():
    reward_NK, cost_NK = _table(5000)
    for sets in ((Radius(0), Radius(0)), (Radius(0.2), Radius(0.2)), (Temperature(0.5), Temperature(2.0))):
        problem = Problem(reward_NK, cost_NK, 3.5, 0.005, *sets)
        began = time.perf_counter()
        answer = solve(problem)
        assert time.perf_counter() - began < 5
        assert answer.multiplier > 0
        assert answer.gap < 1e-9


def test_the_gap_of_any_other_policy_is_larger():
    problem = Problem(*_table(50), 3.0, 0.02, Radius(0.1), Radius(0.1))
    answer = solve(problem)
    for policy_NK in (np.full((50, 3), 1 / 3), np.eye(3)[np.zeros(50, int)], np.eye(3)[np.full(50, 2)]):
        assert gap(problem, point_at(problem, policy_NK, answer.multiplier)) > answer.gap + 1e-3


def _table(n):
    """Three choices: dearer ones are right more often."""
    rng = np.random.default_rng(n)
    reward_NK = (rng.uniform(size=(n, 3)) < [0.55, 0.65, 0.75]).astype(float)
    return reward_NK, np.array([1.0, 2.5, 8.0]) * rng.lognormal(0, 0.4, (n, 3))


def _rows(value_NK):
    """The block matrix that sums each row of a flattened table."""
    n, k = value_NK.shape
    rows = np.zeros((n, n * k))
    for i in range(n):
        rows[i, i * k : (i + 1) * k] = value_NK[i]
    return rows
