"""Rungs of a router, and how a budget is met with them.

A **rung** is one policy at one multiplier, with the cost and the reward that it had on data which it was not fitted
on. A budget is met by mixing two rungs, the one below and the one above it, so that the budget is spent and not passed.
Costs are in the table's unit.
"""

from typing import NamedTuple

import numpy as np

from adjudge.errors import BudgetError
from adjudge.routing.ambiguity import Array
from adjudge.routing.table import Ints

FINEST = 40  # rungs between the cheapest and the dearest policy


class Rung(NamedTuple):
    """`multiplier`: reward that one more unit of cost must buy. `cost`, `reward`: means on rows held out of the fit."""

    multiplier: float
    cost: float
    reward: float


def mix(rungs: tuple[Rung, ...], budget: float) -> list[tuple[int, float]]:
    """[(rung, probability)]: the best mixture of two rungs whose mean cost is the budget, or of one that is below it.

    Raises BudgetError for a budget below the cheapest rung.

    >>> mix((Rung(1.0, 10.0, 0.5), Rung(0.1, 30.0, 0.8)), 15.0)
    [(0, 0.75), (1, 0.25)]
    """
    hull = upper_hull(rungs)
    cheapest = rungs[hull[0]].cost
    if budget < cheapest * (1 - 1e-9):
        raise BudgetError(
            f"budget {budget:.6g} is below {cheapest:.6g}, what the cheapest policy costs; raise --budget"
        )
    below = [k for k in hull if rungs[k].cost <= budget * (1 + 1e-9)][-1]
    above = next((k for k in hull if rungs[k].cost > rungs[below].cost), None)
    if above is None or rungs[above].cost <= budget:
        return [(below, 1.0)]
    share = max((budget - rungs[below].cost) / (rungs[above].cost - rungs[below].cost), 0.0)
    return [(below, 1 - share), (above, share)] if share > 0 else [(below, 1.0)]


def upper_hull(rungs: tuple[Rung, ...]) -> list[int]:
    """The rungs that no mixture of others beats: from the cheapest up, each buying reward at a falling price."""
    order = sorted(range(len(rungs)), key=lambda k: (rungs[k].cost, -rungs[k].reward))
    hull: list[int] = []
    for k in order:
        if hull and rungs[k].reward <= rungs[hull[-1]].reward:
            continue
        while len(hull) >= 2 and _slope(rungs[hull[-2]], rungs[k]) >= _slope(rungs[hull[-2]], rungs[hull[-1]]):
            hull.pop()
        hull.append(k)
    return hull


def multipliers(reward_NK: Array, cost_NK: Array, count: int = FINEST) -> Array:
    """Multipliers from the one at which only cost counts down to 0, evenly spaced in their logarithm; falling."""
    gap = np.ptp(cost_NK, axis=1).mean()
    worth = np.ptp(reward_NK, axis=1).max() / max(gap, 1e-12)
    if worth == 0:  # no choice is worth more than another: only cost counts, at any multiplier
        return np.array([1.0, 0.0])
    return np.append(np.geomspace(worth * 100, worth * 1e-3, count - 1), 0.0)


def best_choice(reward_NK: Array, cost_NK: Array, multiplier: float) -> Ints:
    """The choice of the greatest reward less multiplier times cost, the cheaper of two that are level; shape (N,)."""
    worth_NK = reward_NK - multiplier * cost_NK
    level_NK = worth_NK >= worth_NK.max(axis=1, keepdims=True) - 1e-12
    return np.asarray(np.where(level_NK, cost_NK, np.inf).argmin(axis=1))


def climb(predicted_reward_NK: Array, predicted_cost_NK: Array, reward_NK: Array, cost_NK: Array) -> tuple[Rung, ...]:
    """The rungs of the policies that choose by what was predicted, with what they really cost and earned. The
    predictions are to be out of fold."""
    found: dict[bytes, Rung] = {}
    rows = np.arange(len(reward_NK))
    for multiplier in multipliers(predicted_reward_NK, predicted_cost_NK):
        choice_N = best_choice(predicted_reward_NK, predicted_cost_NK, float(multiplier))
        rung = Rung(float(multiplier), float(cost_NK[rows, choice_N].mean()), float(reward_NK[rows, choice_N].mean()))
        found.setdefault(choice_N.tobytes(), rung)
    return tuple(sorted(found.values(), key=lambda rung: rung.cost))


def _slope(low: Rung, high: Rung) -> float:
    gap = high.cost - low.cost
    return (high.reward - low.reward) / gap if gap > 0 else np.inf
