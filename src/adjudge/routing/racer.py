"""RACER, RACER-R, RACER-C and ACER solved exactly on a table of instances: policy, multiplier, weights, duality gap.

The problem is stated in problem.py (source: arXiv 2605.10805). Its optimality conditions, with y_i = N q^r_i and
z_i = lambda N q^c_i, costs in budgets, and one line per unknown:

    p_ia     y_i r_ia - z_i c_ia - beta (log p_ia + 1) - total_i + p_floor_ia = 0
    total_i  sum_a p_ia = 1
    y_i      r_i(p) - level + tau_r log y_i - y_floor_i = 0
    level    mean_i y_i = 1
    z_i      1 - c_i(p) + tau_c (log(z_i / lambda) - rho_c) - z_floor_i = 0     (the paper's price term adds beta
    lambda) lambda   mean_i z_i = lambda
    tau_r    mean_i y_i log y_i = rho_r - slack_r                               (radius form; else tau_r is given)
    tau_c    mean_i z_i log(z_i / lambda) = lambda rho_c - slack_c

and p p_floor = y y_floor = z z_floor = tau slack = 0. A plain side has y = 1, or z = lambda and mean_i c_i(p) = 1 for
lambda's line. newton.py takes Newton steps on all lines at once, while the products fall to 0. First of all the problem
without its budget is solved: where its policy is within budget, lambda is 0 and that is the answer.

Departures from the paper, which alternates best responses (primal_dual.py): these cycle, since the best response to
worst-case weights overshoots them. A Newton iteration on the scalars alone, with every instance solved to the end
inside it, is quadratic near the solution, but it crawls where a radius is unreachable (tau -> 0) or beta is small. The
products keep a Newton step on everything well defined there too, down to tau = 0.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from adjudge.routing import newton
from adjudge.routing.ambiguity import Ambiguity, Array, Radius, Temperature
from adjudge.routing.newton import Program, State
from adjudge.routing.problem import (
    ROUNDING,
    Point,
    Problem,
    cost_at,
    feasible,
    gap,
    objective,
    point_at,
    softmax_policy,
)

MOST_STEPS = 100
PATIENCE = 8  # steps without a smaller gap, with the products as low as they go, that show that rounding allows none
CONVERGED = 1e-11  # largest failure of any condition, in rewards, budgets or nats
NEAR = 1e-8  # mean product from which on the gap says which state is best
NUDGE = 1e-11  # what a budget of 0 is solved as, in shares of the highest cost
LEAST_BETA = 1e-7  # what beta = 0 is solved with: no value moves by more than this times log K


class Solution(NamedTuple):
    p_NK: Array  # the policy; within budget, but with the paper's price term
    multiplier: float  # lambda, in reward per unit of cost; 0 where the budget does not bind
    q_reward_N: Array  # worst-case weights of rewards
    q_cost_N: Array
    value: float  # objective of the policy
    cost: float  # its worst-case cost, in the problem's unit
    gap: float  # what a better policy could gain at most, in units of the objective
    steps: int  # Newton steps, over both solves where the budget binds


def solve(problem: Problem, start: Array | None = None) -> Solution:
    """Solve the problem exactly. `start`, a policy of shape (N, K), is where to start; it changes no answer.

    The gap is that of the policy returned. It is near rounding (below 1e-9) unless the budget leaves next to no room
    above the cheapest cost while costs span many orders of magnitude.

    >>> table = Problem(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 3.0], [1.0, 3.0]]), budget=1.5, beta=0.01)
    >>> answer = solve(table)
    >>> answer.p_NK.round(2).tolist(), round(answer.cost, 6), answer.gap < 1e-9
    ([[0.5, 0.5], [1.0, 0.0]], 1.5, True)
    """
    point, steps = _solve_free(problem, start)
    if cost_at(problem, point.p_NK).value > problem.budget:
        point, more = _run(problem, *to_program(problem), start)
        steps += more
    p_NK = feasible(problem, point)
    return Solution(
        p_NK=p_NK,
        multiplier=point.multiplier,
        q_reward_N=point.q_reward_N,
        q_cost_N=point.q_cost_N,
        value=objective(problem, p_NK),
        cost=cost_at(problem, p_NK).value,
        gap=gap(problem, point._replace(p_NK=p_NK)),
        steps=steps,
    )


def to_program(problem: Problem) -> tuple[Program, float]:
    """The problem in the solver's unit of cost, and that unit: the budget, or a hair more where that leaves no room."""
    # half the rounding above the cheapest policy leaves it some room
    unit = max(problem.budget, problem.cheapest_cost * (1 + ROUNDING / 2)) or NUDGE * float(problem.cost_NK.max())
    cost_set = _effective(problem.cost_set, problem.cost_NK)
    if isinstance(cost_set, Temperature):
        cost_set = Temperature(cost_set.tau / unit)
    square = problem.beta / unit**2 if problem.soft_budget else 0.0
    return _free_program(problem)._replace(cost_NK=problem.cost_NK / unit, cost_set=cost_set, square=square), unit


def to_point(program: Program, state: State, unit: float) -> Point:
    """The state's policy, multiplier and weights in the problem's unit."""
    n = len(state.y_N)
    q_cost_N = state.z_N / state.z_N.sum() if program.robust_cost else np.full(n, 1 / n)
    p_NK = state.p_NK / state.p_NK.sum(axis=1, keepdims=True)
    return Point(p_NK, max(0.0, float(state.price / unit)), state.y_N / state.y_N.sum(), q_cost_N)


def _solve_free(problem: Problem, start: Array | None) -> tuple[Point, int]:
    """Solve the problem as if its budget had no end."""
    program, free = _free_program(problem), replace(problem, budget=np.inf)
    if not program.robust_reward:
        return point_at(free, softmax_policy(problem.reward_NK, problem.cost_NK, 0.0, problem.beta), 0.0), 0
    return _run(free, program, 1.0, start)


def _free_program(problem: Problem) -> Program:
    reward_set = _effective(problem.reward_set, problem.reward_NK)
    return Program(problem.reward_NK, problem.cost_NK, max(problem.beta, LEAST_BETA), reward_set, None, 0.0)


def _effective(ambiguity: Ambiguity, value_NK: Array) -> Ambiguity:
    """Plain where shifting the mix changes nothing: a single instance, or one value throughout."""
    return Radius(0) if len(value_NK) == 1 or value_NK.min() == value_NK.max() else ambiguity


def _run(problem: Problem, program: Program, unit: float, start: Array | None) -> tuple[Point, int]:
    """Step until every condition is met, or rounding lets no step come closer; the state of the smallest gap counts."""
    inside = None if start is None else 0.9 * start + 0.1 / start.shape[1]
    state = newton.init(program, inside)
    best, least, idle, steps = to_point(program, state, unit), np.inf, 0, 0
    while steps < MOST_STEPS and idle < PATIENCE and newton.error(program, state) > CONVERGED:
        try:
            state = newton.step(program, state)
        except np.linalg.LinAlgError:  # singular by rounding: no step comes closer
            break
        steps += 1
        mu = newton.products(program, state).mean()
        if mu > NEAR:
            continue
        point = to_point(program, state, unit)
        now = gap(problem, point)
        idle = idle + 1 if now >= least and mu < CONVERGED / 100 else 0
        if now <= least:
            best, least = point, now
    return (best if least < np.inf else to_point(program, state, unit)), steps
