"""The routing problem, its Lagrangian, and the certificate that every solver is asked for.

Instances i = 1..N, choices a = 1..K, rewards r_ia, costs c_ia >= 0, a policy p_i(a). With r_i(p) = sum_a p_i(a) r_ia,
c_i(p) alike and H the entropy in nats:

    maximise over p   worst over q of sum_i q_i r_i(p)  +  beta mean_i H(p_i)
    subject to        worst over q of sum_i q_i c_i(p)  <=  budget

The two worst cases are taken separately, each over its own `Ambiguity` (a radius or a temperature, see ambiguity.py):
both plain is ACER, the reward's alone RACER-R, the cost's alone RACER-C, both RACER. Rewards are fractions; costs and
the budget share one unit of the caller's choice, and the multiplier (lambda) is reward per unit of cost.

Source: arXiv 2605.10805. Departures from it:
- K >= 2 choices where the paper has two.
- The paper's Lagrangian holds + beta lambda^2 / 2 beside the entropy. Its optimum overruns the budget by beta lambda*,
  so it is an option here (`price_term`), off by default. With it the budget is soft: the problem is then to maximise
  the objective less overrun^2 / (2 beta).
- beta = 0 is allowed: the entropy is left out, and what remains is a linear program when both sides are plain.

The certificate: for any multiplier >= 0 and any weights that the ambiguities allow, maximising over p instance by
instance gives an upper bound on what any policy within budget can reach. `gap` is that bound less the value of the
policy at hand, made feasible by mixing in the cheapest choice where it is dearest. It is 0 at the optimum only.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import entr, logsumexp

from adjudge.errors import BudgetError, ConfigError, DataError
from adjudge.routing.ambiguity import PLAIN, Ambiguity, Array, Radius, Worst, divergence, worst_cost, worst_reward

ROUNDING = 1e-9  # a cost over the budget by this share of it is within it


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One table of instances and choices, with what may be spent on it.

    reward_NK: fractions (finite). cost_NK, budget: one unit, >= 0. beta: entropy weight, in reward per nat.
    price_term: keep the paper's beta lambda^2 / 2.
    Raises DataError for a table that cannot be used, ConfigError for a setting out of bounds, BudgetError for a budget
    below the cheapest possible worst-case cost.
    """

    reward_NK: Array
    cost_NK: Array
    budget: float
    beta: float = 0.005
    reward_set: Ambiguity = PLAIN
    cost_set: Ambiguity = PLAIN
    price_term: bool = False

    def __post_init__(self) -> None:
        for name in ("reward_NK", "cost_NK"):
            table_NK = np.array(getattr(self, name), dtype=float)
            table_NK.flags.writeable = False
            object.__setattr__(self, name, table_NK)
        _check_tables(self.reward_NK, self.cost_NK)
        if not 0 <= self.beta < np.inf:
            raise ConfigError(f"beta {self.beta} must be 0 or more and finite")
        cheapest = self.cheapest_cost
        if not self.budget * (1 + ROUNDING) >= cheapest:
            remedy = "raise the budget" if self.cost_set.is_plain else "raise the budget or allow costs to shift less"
            raise BudgetError(
                f"budget {self.budget:.6g} is below {cheapest:.6g}, the "
                f"{'mean' if self.cost_set.is_plain else 'worst-case'} cost of the cheapest choice everywhere; {remedy}"
            )

    @property
    def cheapest_cost(self) -> float:
        """Lowest worst-case cost that any policy has."""
        return worst_cost(self.cost_NK.min(axis=1), self.cost_set).value

    @property
    def variant(self) -> str:
        """The paper's name: racer, racer-r, racer-c or acer."""
        robust = (not self.reward_set.is_plain, not self.cost_set.is_plain)
        return {(True, True): "racer", (True, False): "racer-r", (False, True): "racer-c", (False, False): "acer"}[
            robust
        ]

    @property
    def soft_budget(self) -> bool:
        """Whether the paper's price term makes the budget soft; without entropy weight it vanishes."""
        return self.price_term and self.beta > 0


class Point(NamedTuple):
    """A policy, and the prices that its optimality is to be judged by."""

    p_NK: Array  # probability of each choice, per instance
    multiplier: float  # lambda: reward that one more unit of worst-case cost must buy
    q_reward_N: Array  # worst-case weights of rewards
    q_cost_N: Array  # worst-case weights of costs


def reward_at(problem: Problem, p_NK: Array) -> Worst:
    """Worst-case reward of a policy, with the weights that attain it."""
    return worst_reward(mean_choice(p_NK, problem.reward_NK), problem.reward_set)


def cost_at(problem: Problem, p_NK: Array) -> Worst:
    """Worst-case cost of a policy, in the problem's unit, with the weights that attain it."""
    return worst_cost(mean_choice(p_NK, problem.cost_NK), problem.cost_set)


def point_at(problem: Problem, p_NK: Array, multiplier: float) -> Point:
    """The policy with its own worst-case weights."""
    return Point(p_NK, multiplier, reward_at(problem, p_NK).q_N, cost_at(problem, p_NK).q_N)


def mean_choice(p_NK: Array, value_NK: Array) -> Array:
    """Each instance's mean value under the policy, shape (N,)."""
    return np.asarray(np.einsum("nk,nk->n", p_NK, value_NK))


def entropy(p_NK: Array) -> float:
    """Mean entropy of the policy, in nats.

    >>> round(entropy(np.array([[0.5, 0.5], [1.0, 0.0]])), 6)  # half of log 2
    0.346574
    """
    return float(entr(p_NK).sum(axis=1).mean())


def objective(problem: Problem, p_NK: Array) -> float:
    """Worst-case reward plus beta times the mean entropy; with a soft budget, less overrun^2 / (2 beta)."""
    value = reward_at(problem, p_NK).value + problem.beta * entropy(p_NK)
    if problem.soft_budget:
        value -= max(0.0, cost_at(problem, p_NK).value - problem.budget) ** 2 / (2 * problem.beta)
    return value


def lagrangian(problem: Problem, p_NK: Array, multiplier: float) -> float:
    """Worst-case reward + beta H - lambda (worst-case cost - budget) [+ beta lambda^2 / 2].

    >>> problem = Problem(np.array([[0.0, 1.0]]), np.array([[1.0, 3.0]]), budget=2.0, beta=0.0)
    >>> lagrangian(problem, np.array([[0.0, 1.0]]), 0.25)  # 1 - 0.25 (3 - 2)
    0.75
    """
    value = reward_at(problem, p_NK).value + problem.beta * entropy(p_NK)
    value -= multiplier * (cost_at(problem, p_NK).value - problem.budget)
    return value + (problem.beta * multiplier**2 / 2 if problem.soft_budget else 0.0)


def softmax_policy(
    reward_NK: Array, cost_NK: Array, multiplier: float, beta: float, point: Point | None = None
) -> Array:
    """Maximise sum_i (q^r_i r_i(p) - lambda q^c_i c_i(p)) + beta mean_i H(p_i) for fixed weights and multiplier.

    p_i(a) is proportional to exp((N q^r_i r_ia - lambda N q^c_i c_ia) / beta); uniform weights when no point is given.
    beta = 0 shares equally among the best choices.

    >>> gain = np.array([[0.0, 1.0]]); cost = np.array([[0.0, 2.0]])
    >>> softmax_policy(gain, cost, 0.5, 0.1).tolist()  # a price of 0.5 makes both worth nothing
    [[0.5, 0.5]]
    >>> softmax_policy(gain, cost, 0.0, 1 / np.log(3)).round(6).tolist()  # odds 1 : 3
    [[0.25, 0.75]]
    """
    n = len(reward_NK)
    weights = (np.full(n, 1 / n),) * 2 if point is None else point[2:]
    worth_NK = _worth(reward_NK, cost_NK, multiplier, *weights)
    below_NK = worth_NK - worth_NK.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):  # far below is never chosen
        p_NK = np.exp(below_NK / beta) if beta > 0 else (below_NK == 0).astype(float)
    return np.asarray(p_NK / p_NK.sum(axis=1, keepdims=True))


def upper_bound(problem: Problem, point: Point) -> float:
    """What no policy within budget can exceed, from the point's multiplier and weights alone.

    The Lagrangian with the point's weights in place of the worst ones, maximised over policies. Weights outside a
    radius are first drawn towards the uniform ones until they are inside.
    """
    q_reward_N = _inside(point.q_reward_N, problem.reward_set)
    q_cost_N = _inside(point.q_cost_N, problem.cost_set)
    price = point.multiplier
    worth_NK = _worth(problem.reward_NK, problem.cost_NK, price, q_reward_N, q_cost_N)
    beta = problem.beta
    best_N = beta * logsumexp(worth_NK / beta, axis=1) if beta > 0 else worth_NK.max(axis=1)
    bound = float(best_N.mean()) + (price * problem.budget if price > 0 else 0.0)
    bound += _penalty(q_reward_N, problem.reward_set) + price * _penalty(q_cost_N, problem.cost_set)
    return bound + (beta * price**2 / 2 if problem.soft_budget else 0.0)


def feasible(problem: Problem, point: Point) -> Array:
    """The point's policy with just enough of the cheapest choices mixed in, where it is dearest, to be within budget.

    No instance then costs more than one common level, or than its cheapest choice where that costs more. Where several
    choices share the lowest cost they are mixed by what they are worth. With a soft budget nothing is mixed.
    """
    p_NK = point.p_NK
    limit = problem.budget * (1 + ROUNDING)
    if problem.soft_budget or cost_at(problem, p_NK).value <= limit:
        return p_NK
    least_N = problem.cost_NK.min(axis=1)
    is_dear_NK = problem.cost_NK > least_N[:, None]
    uniform_N = np.full(len(p_NK), 1 / len(p_NK))
    barred_NK = np.where(is_dear_NK, np.inf, 0.0)
    cheap_NK = softmax_policy(problem.reward_NK, barred_NK, 1.0, problem.beta, point._replace(q_cost_N=uniform_N))
    cost_N = mean_choice(p_NK, problem.cost_NK)

    def overrun(level: float) -> float:
        capped_N = np.minimum(cost_N, np.maximum(level, least_N))
        return worst_cost(capped_N, problem.cost_set).value - limit

    level = brentq(overrun, 0.0, cost_N.max(), rtol=1e-15) if overrun(0.0) < 0 else 0.0
    back = level * 1e-15
    while level > 0 and overrun(level) > 0:
        level, back = max(0.0, level - back), 2 * back
    above_N = np.maximum(cost_N - np.maximum(level, least_N), 0)
    share_N = np.divide(above_N, cost_N - least_N, out=np.zeros(len(p_NK)), where=above_N > 0)
    return np.asarray(p_NK + share_N[:, None] * (cheap_NK - p_NK))


def gap(problem: Problem, point: Point) -> float:
    """How far, at most, the point's policy (made feasible) is from the best, in units of the objective.

    >>> problem = Problem(np.array([[0.0, 1.0]]), np.array([[1.0, 3.0]]), budget=2.0, beta=0.0)
    >>> gap(problem, point_at(problem, np.array([[0.5, 0.5]]), 0.5))  # half the money buys half the reward
    0.0
    """
    return max(0.0, upper_bound(problem, point) - objective(problem, feasible(problem, point)))


def _worth(reward_NK: Array, cost_NK: Array, multiplier: float, q_reward_N: Array, q_cost_N: Array) -> Array:
    n = len(reward_NK)
    return np.asarray((n * q_reward_N)[:, None] * reward_NK - (multiplier * n * q_cost_N)[:, None] * cost_NK)


def _inside(q_N: Array, ambiguity: Ambiguity) -> Array:
    """The weights, drawn towards uniform until within the radius; KL is convex, so the share needed is at most this."""
    uniform_N = np.full(len(q_N), 1 / len(q_N))
    if ambiguity.is_plain:
        return uniform_N
    if isinstance(ambiguity, Radius) and (kl := divergence(q_N)) > ambiguity.rho:
        return np.asarray(uniform_N + (q_N - uniform_N) * (ambiguity.rho / kl))
    return q_N


def _penalty(q_N: Array, ambiguity: Ambiguity) -> float:
    return 0.0 if isinstance(ambiguity, Radius) or ambiguity.is_plain else ambiguity.tau * divergence(q_N)


def _check_tables(reward_NK: Array, cost_NK: Array) -> None:
    if reward_NK.ndim != 2 or reward_NK.shape != cost_NK.shape:
        raise DataError(f"rewards {reward_NK.shape} and costs {cost_NK.shape} must be two tables of one shape (N, K)")
    if reward_NK.shape[0] < 1 or reward_NK.shape[1] < 2:
        raise DataError(
            f"a table of shape {reward_NK.shape} has too little in it", remedy="give N >= 1 rows, K >= 2 choices"
        )
    for name, table_NK in (("reward", reward_NK), ("cost", cost_NK)):
        bad = np.argwhere(~np.isfinite(table_NK) | ((table_NK < 0) if name == "cost" else False))
        if len(bad):
            i, a = bad[0]
            want = "finite and 0 or more" if name == "cost" else "finite"
            raise DataError(
                f"{name} of instance {i}, choice {a} is {table_NK[i, a]}", remedy=f"give numbers that are {want}"
            )
