"""The paper's primal-dual iteration on a table of instances: worst-case reweighting, softmax policy, multiplier update.

Source: Algorithm 1 and Theorems 4.1 and 4.2 of arXiv 2605.10805. From a policy p_t and a multiplier lambda_t:

    1. weights     at p_t: q^r_i ~ exp((mean_j r_j - r_i) / tau_r), q^c_i ~ exp((c_i - mean_j c_j) / tau_c), sum 1 each
    2. policy      p_{t+1} maximises q^r.r(p) - lambda_t q^c.c(p) + beta mean_i H(p_i): a softmax
    3. multiplier  lambda_{t+1} = max(0, lambda_t + rate (cost(p_{t+1}) - budget)), or the minimiser of
                   -lambda (cost(p_{t+1}) - budget) + beta lambda^2 / 2 where the paper's price term is kept

Two costs can drive the multiplier. "worst" takes the worst-case cost that the problem's constraint has: a point that
stays where it is then solves the problem, in both forms. "mean" takes the plain mean, as the published pseudo-code does
at its fixed temperatures: `step_as_published` is that reproduction. Where costs are robust it settles elsewhere, with a
worst-case cost over budget, and its gap does not vanish.

What to expect (racer.py is the solver; this is for study): with plain rewards and costs, each step shrinks the
multiplier's error by about |1 - rate k|, k = mean_i Var_{p*_i}(c_i) / beta, hence a linear rate for rate < 2 / k and a
cycle of two above it. With the price term and the minimiser the factor is k / beta: linear below 1, a cycle of two
above. Robust rewards or costs feed the policy back into the weights; the softmax overshoots when tau beta is small
against the variance of a row, and the iteration cycles however small the rate is.

Departures from the paper: the policy is a table, maximised exactly, where the paper trains a network by gradient steps
on batches; all instances are one batch; no best iterate is picked on validation data.
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import rel_entr

from adjudge.errors import ConfigError
from adjudge.routing.ambiguity import Ambiguity, Array, Temperature
from adjudge.routing.problem import Problem, cost_at, gap, mean_choice, point_at, softmax_policy

DualCost: TypeAlias = Literal["worst", "mean"]


class State(NamedTuple):
    p_NK: Array  # policy
    multiplier: float  # lambda, in reward per unit of cost


class Trace(NamedTuple):
    """What happened, before the first step (index 0) and after each."""

    multiplier_T: Array
    cost_T: Array  # worst-case cost, in the problem's unit
    gap_T: Array  # duality gap, to the policy made feasible
    distance_T: Array  # mean KL(p_t || the policy to approach), in nats


def init(problem: Problem, multiplier: float = 0.0) -> State:
    """The uniform policy, and the multiplier to start from (the paper's is 0)."""
    n, k = problem.reward_NK.shape
    return State(np.full((n, k), 1 / k), multiplier)


def step(problem: Problem, state: State, rate: float | None, dual_cost: DualCost = "worst") -> State:
    """One iteration: reweigh, best response, multiplier. A rate of None takes the multiplier's minimiser.

    Raises ConfigError for a rate of None without the price term, which the minimiser needs.
    """
    point = point_at(problem, *state)
    p_NK = softmax_policy(problem.reward_NK, problem.cost_NK, state.multiplier, problem.beta, point)
    cost = cost_at(problem, p_NK).value if dual_cost == "worst" else float(mean_choice(p_NK, problem.cost_NK).mean())
    weight = problem.beta if problem.soft_budget else 0.0
    if rate is not None:
        return State(p_NK, ascend_multiplier(state.multiplier, cost, problem.budget, rate, weight))
    if weight == 0:
        raise ConfigError("no minimiser of the multiplier without the price term; give a rate, or set price_term")
    return State(p_NK, best_multiplier(cost, problem.budget, weight))


def step_as_published(problem: Problem, state: State, rate: float) -> State:
    """One iteration of the published pseudo-code: fixed temperatures, plain mean in the multiplier's update.

    Raises ConfigError for the radius form, which the pseudo-code does not have.
    """
    if not (_has_fixed_tau(problem.reward_set) and _has_fixed_tau(problem.cost_set)):
        raise ConfigError("the published iteration has fixed temperatures; give Temperature(tau), not a radius")
    return step(problem, state, rate, "mean")


def ascend_multiplier(multiplier: float, cost: float, budget: float, rate: float, weight: float = 0.0) -> float:
    """Projected gradient step of the multiplier: it rises where the cost is over budget, and never below 0.

    weight: beta where the paper's price term is kept.

    >>> ascend_multiplier(0.5, cost=3.0, budget=2.0, rate=0.25), ascend_multiplier(0.5, cost=0.0, budget=3.0, rate=0.25)
    (0.75, 0.0)
    """
    return max(0.0, multiplier + rate * (cost - budget - weight * multiplier))


def best_multiplier(cost: float, budget: float, weight: float) -> float:
    """Minimiser over lambda >= 0 of -lambda (cost - budget) + weight lambda^2 / 2.

    >>> best_multiplier(cost=2.5, budget=2.0, weight=0.25), best_multiplier(cost=1.0, budget=2.0, weight=0.25)
    (2.0, 0.0)
    """
    return max(0.0, (cost - budget) / weight)


def run(
    problem: Problem,
    steps: int,
    rate: float | None,
    towards_NK: Array,
    dual_cost: DualCost = "worst",
    multiplier: float = 0.0,
) -> Trace:
    """Iterate from `init` and record the way; distances are taken to the policy `towards_NK`, such as racer.solve's."""
    state = init(problem, multiplier)
    rows = [_record(problem, state, towards_NK)]
    for _ in range(steps):
        state = step(problem, state, rate, dual_cost)
        rows.append(_record(problem, state, towards_NK))
    return Trace(*(np.array(column) for column in zip(*rows, strict=True)))


def linear_rate(error_T: Array, floor: float = 1e-12) -> float:
    """Factor per step by which errors shrink: a line through their logarithms, over the later half above the floor.

    About 1 where they do not shrink; NaN with fewer than three errors above the floor.

    >>> round(linear_rate(0.5 ** np.arange(30)), 6), round(linear_rate(np.full(9, 0.1)), 6)
    (0.5, 1.0)
    """
    below = np.flatnonzero(error_T <= floor)
    kept_T = error_T[: below[0]] if len(below) else error_T
    later_T = kept_T[len(kept_T) // 2 :]
    if len(later_T) < 3:
        return float("nan")
    return float(np.exp(np.polyfit(np.arange(len(later_T)), np.log(later_T), 1)[0]))


def cycle_length(value_T: Array, tolerance: float = 1e-6, longest: int = 12) -> int | None:
    """After how many steps the values come back at the end: 1 when they have settled, None when they do neither.

    tolerance: relative to the largest value. Looks at the last 2 `longest` values.

    >>> cycle_length(np.tile([0.0, 3.0], 20)), cycle_length(np.full(40, 2.0)), cycle_length(np.arange(40.0))
    (2, 1, None)
    """
    tail_T = value_T[-2 * longest :]
    scale = max(float(np.abs(tail_T).max()), np.finfo(float).tiny)
    for length in range(1, min(longest, len(tail_T) - 1) + 1):
        if np.abs(tail_T[length:] - tail_T[:-length]).max() <= tolerance * scale:
            return length
    return None


def _record(problem: Problem, state: State, towards_NK: Array) -> tuple[float, float, float, float]:
    distance = float(rel_entr(state.p_NK, towards_NK).sum(axis=1).mean())
    return state.multiplier, cost_at(problem, state.p_NK).value, gap(problem, point_at(problem, *state)), distance


def _has_fixed_tau(ambiguity: Ambiguity) -> bool:
    return isinstance(ambiguity, Temperature) or ambiguity.is_plain
