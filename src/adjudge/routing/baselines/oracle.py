"""The per-instance oracle: sees the gold, so it is no router but the ceiling for those that buy one arm.

Problem: choose one bundle an instance, (I, K) rewards and costs known (means over its rows, which differ by the order
that came first), so that the mean reward is greatest and the mean cost is within the budget; choices may be mixed. One
multiplier solves it: each instance takes the greatest reward less multiplier times cost, and the two policies on either
side of the multiplier at which the budget is crossed are mixed so that it is met. Without a budget it is the oracle of
RouterBench (arXiv 2403.12031): the cheapest of the best.
"""

from collections.abc import Sequence

import numpy as np

from adjudge.errors import BudgetError
from adjudge.routing.ambiguity import Array
from adjudge.routing.ladder import best_choice
from adjudge.routing.router import Expected, bundle_table
from adjudge.routing.table import Ints, Table

HALVINGS = 200  # of an interval of multipliers; it is down to neighbouring numbers by then


def ceiling(table: Table, budget: float, bundles: Sequence[Sequence[int]] = ()) -> Expected:
    """The best that one bundle an instance can do within the budget, in the table's unit. `bundles`: those of the arms
    where none are given.

    Raises BudgetError where the cheapest choices cost more than the budget.
    """
    bundles = bundles or table.bundles
    per_row = bundle_table(table, bundles, np.ones(len(table.purchases)))
    _, at_N = np.unique(table.instance_N, return_inverse=True)
    rows_I = np.bincount(at_N)
    reward_IK, cost_IK = (_sums(value_NK, at_N) / rows_I[:, None] for value_NK in per_row)

    def mean_cost(choice_I: Ints) -> float:
        return float(rows_I @ cost_IK[np.arange(len(rows_I)), choice_I] / len(table))

    dear_I = best_choice(reward_IK, cost_IK, 0.0)
    cheap_I = np.lexsort((-reward_IK, cost_IK), axis=1)[:, 0]
    least = mean_cost(cheap_I)
    if budget < least * (1 - 1e-9):
        raise BudgetError(f"budget {budget:.6g} is below {least:.6g}, what the cheapest choices cost; raise --budget")
    if mean_cost(dear_I) <= budget:
        return _mixture(per_row, bundles, table, [(1.0, dear_I[at_N])])
    low, high = 0.0, _last_multiplier(reward_IK, cost_IK)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        choice_I = best_choice(reward_IK, cost_IK, middle)
        if mean_cost(choice_I) > budget:
            low, dear_I = middle, choice_I
        else:
            high, cheap_I = middle, choice_I
    dear, cheap = mean_cost(dear_I), mean_cost(cheap_I)
    share = min(max((budget - cheap) / (dear - cheap), 0.0), 1.0) if dear > cheap else 0.0  # budgets as low as can be
    return _mixture(per_row, bundles, table, [(share, dear_I[at_N]), (1 - share, cheap_I[at_N])])


def _sums(value_NK: Array, at_N: Ints) -> Array:
    total_IK = np.zeros((int(at_N.max()) + 1, value_NK.shape[1]))
    np.add.at(total_IK, at_N, value_NK)
    return total_IK


def _last_multiplier(reward_IK: Array, cost_IK: Array) -> float:
    """One from which on nothing but cost counts."""
    gaps_IK = cost_IK - cost_IK.min(axis=1, keepdims=True)
    smallest = gaps_IK[gaps_IK > 0].min(initial=1.0)
    return float((np.ptp(reward_IK) + 1) / smallest)


def _mixture(
    per_row: tuple[Array, Array],
    bundles: Sequence[Sequence[int]],
    table: Table,
    policies: list[tuple[float, Ints]],
) -> Expected:
    (reward_NK, cost_NK), rows = per_row, np.arange(len(table))
    in_bundle_KU = np.zeros((len(bundles), len(table.purchases)))
    for k, bundle in enumerate(bundles):
        in_bundle_KU[k, list(bundle)] = 1.0
    reward_N, cost_N = np.zeros(len(table)), np.zeros(len(table))
    bought_NU = np.zeros(table.cost_NU.shape)
    for share, choice_N in policies:
        reward_N += share * reward_NK[rows, choice_N]
        cost_N += share * cost_NK[rows, choice_N]
        bought_NU += share * in_bundle_KU[choice_N]
    return Expected(reward_N, cost_N, bought_NU)
