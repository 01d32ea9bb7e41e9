"""The per-instance oracle: sees the gold, so it is no router but the ceiling for those that buy one arm a row.

Problem: choose one bundle a row, (N, K) rewards and costs known, so that the mean reward is greatest and the mean cost
is within the budget; choices may be mixed. One multiplier solves it: each row takes the greatest reward less multiplier
times cost, and the two policies on either side of the multiplier at which the budget is crossed are mixed so that it is
met. With K = 2 it is the oracle of RouterBench (arXiv 2403.12031), whose choice per row is the cheapest right model.
"""

from collections.abc import Sequence

import numpy as np

from adjudge.errors import BudgetError
from adjudge.routing.ladder import best_choice
from adjudge.routing.router import Expected, bundle_table
from adjudge.routing.table import Ints, Table

HALVINGS = 200  # of an interval of multipliers; it is down to neighbouring numbers by then


def ceiling(table: Table, budget: float, bundles: Sequence[Sequence[int]] = ()) -> Expected:
    """The best that one bundle a row can do within the budget (in the table's unit). `bundles`: those of the arms.

    Raises BudgetError where the cheapest choices cost more than the budget.
    """
    bundles = bundles or table.bundles
    reward_NK, cost_NK = bundle_table(table, bundles, np.ones(len(table.purchases)))
    rows = np.arange(len(table))
    dear_N = best_choice(reward_NK, cost_NK, 0.0)
    cheap_N = np.lexsort((-reward_NK, cost_NK), axis=1)[:, 0]
    least = cost_NK[rows, cheap_N].mean()
    if budget < least * (1 - 1e-9):
        raise BudgetError(f"budget {budget:.6g} is below {least:.6g}, what the cheapest choices cost; raise --budget")
    if cost_NK[rows, dear_N].mean() <= budget:
        return _mixture(reward_NK, cost_NK, bundles, table, [(1.0, dear_N)])
    low, high = 0.0, _last_multiplier(reward_NK, cost_NK)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        choice_N = best_choice(reward_NK, cost_NK, middle)
        if cost_NK[rows, choice_N].mean() > budget:
            low, dear_N = middle, choice_N
        else:
            high, cheap_N = middle, choice_N
    dear, cheap = (cost_NK[rows, choice_N].mean() for choice_N in (dear_N, cheap_N))
    share = min(max((budget - cheap) / (dear - cheap), 0.0), 1.0)
    return _mixture(reward_NK, cost_NK, bundles, table, [(share, dear_N), (1 - share, cheap_N)])


def _last_multiplier(reward_NK: np.ndarray, cost_NK: np.ndarray) -> float:
    """One from which on nothing but cost counts."""
    gaps_NK = cost_NK - cost_NK.min(axis=1, keepdims=True)
    smallest = gaps_NK[gaps_NK > 0].min(initial=1.0)
    return float((np.ptp(reward_NK) + 1) / smallest)


def _mixture(
    reward_NK: np.ndarray,
    cost_NK: np.ndarray,
    bundles: Sequence[Sequence[int]],
    table: Table,
    policies: list[tuple[float, Ints]],
) -> Expected:
    rows = np.arange(len(table))
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
