"""What an evaluation says of each domain: accuracy, cost against the budget, and what was bought, with intervals.

Domains of few instances are taken together, as where they are left out. Resamples are those of the whole split, of
which each domain sees its own instances. Axes: R resamples, I instances, C cells (a router at a budget), K arms.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.evaluate import Cell
from adjudge.routing.registry import ALWAYS
from adjudge.routing.splits import domain_groups
from adjudge.routing.table import Table


def domain_rows(
    table: Table,
    split: str,
    cells: list[list[Cell]],
    sums: tuple[Array, Array, Array],
    weight_RI: Array,
    level: float,
) -> list[dict[str, Any]]:
    """A row for each router (but single arms), budget and domain. `cells`: of each router at a budget; `sums`: their
    reward_IC and cost_IC added up, and times_I, how often each instance was tested; `weight_RI`: what each instance
    counts in each resample, in the first row that of the data itself."""
    reward_IC, cost_IC, times_I = sums
    _, first_I = np.unique(table.instance_N, return_index=True)
    domain_I = table.domain_N[first_I]
    ends = [(1 - level) / 2, (1 + level) / 2]
    found = []
    for group in domain_groups(domain_I[times_I > 0]):
        inside = np.flatnonzero(np.isin(domain_I, group) & (times_I > 0))
        weight_RG = weight_RI[:, inside]
        total_R = np.maximum(weight_RG.sum(axis=1, keepdims=True), 1.0)
        of_RC = [(weight_RG @ (sum_IC[inside] / times_I[inside, None])) / total_R for sum_IC in (reward_IC, cost_IC)]
        low_2C, high_2C = (
            np.stack(pair) for pair in zip(*(np.quantile(x[1:], ends, axis=0) for x in of_RC), strict=True)
        )
        for c, group_cells in enumerate(cells):
            router, budget = group_cells[0].router, group_cells[0].budget
            if router.startswith(ALWAYS):
                continue
            found.append(
                {
                    "router": router,
                    "budget": budget,
                    "split": split,
                    "domain": " + ".join(group),
                    "n": len(inside),
                    "accuracy": float(of_RC[0][0, c]),
                    "accuracy_low": float(low_2C[0, c]),
                    "accuracy_high": float(high_2C[0, c]),
                    "cost_rel": float(of_RC[1][0, c]),
                    "overrun": float(of_RC[1][0, c]) / budget - 1,
                    "overrun_low": float(low_2C[1, c]) / budget - 1,
                    "overrun_high": float(high_2C[1, c]) / budget - 1,
                    "draws": dict(_draws(table, group_cells, group)),
                }
            )
    return found


def _draws(table: Table, cells: list[Cell], group: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Purchases per judgment of each arm of which any was bought."""
    parts = [bought for cell in cells for bought in cell.domains if bought.domain in group]
    mean_K = np.average([part.draws_K for part in parts], axis=0, weights=[part.rows for part in parts])
    return ((arm, float(draws)) for arm, draws in zip(table.arms, mean_K, strict=True) if draws)
