"""What an evaluation says: rows, means with intervals, and how routers differ on the same instances.

The unit of every interval is the instance: its rows and all seeds it was tested under are drawn together, so that no
judgment counts as two. All means are made of one matrix of resamples, which makes every difference a paired one: the
same resample decides both sides. Intervals are percentiles of it, 95 % unless said otherwise.

Axes: R resamples, I instances, C cells of one split (a router at a budget), B budgets, D domains.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.by_domain import domain_rows
from adjudge.routing.evaluate import Cell
from adjudge.routing.router import bundle_table
from adjudge.routing.splits import domain_groups
from adjudge.routing.table import Table

RESAMPLES = 1000
LEVEL = 0.95
DIGITS = 6


class Best(NamedTuple):
    """The single arm that is most often right on all rows, with its mean cost in those of the first arm."""

    arm: str
    accuracy: float
    cost_rel: float


class Sums(NamedTuple):
    """One split's cells added up per instance: `keys` are (router, budget); `times_I` how often each was tested."""

    keys: list[tuple[str, float]]
    cells: list[list[Cell]]
    reward_IC: Array
    cost_IC: Array
    times_I: Array


class Drawn(NamedTuple):
    """Means of every resample; the first row are the means of the data itself."""

    reward_RC: Array
    cost_RC: Array


def scored(
    table: Table, cells: Sequence[Cell], *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> dict[str, Any]:
    """The evaluation as JSON values: `rows` and `summary` as the design gives them, then `best_arm`, `differences`,
    `areas`, `reached` and `domains`. Accuracies and shares are fractions; `n` counts instances; costs are relative."""
    best = best_arm(table)
    found: dict[str, Any] = {
        "rows": [row(table, cell) for cell in cells],
        "summary": [],
        "best_arm": best._asdict(),
        "differences": [],
        "areas": [],
        "reached": [],
        "domains": [],
    }
    right_I, cost_I = _arm_on_instances(table, best.arm)
    for split in dict.fromkeys(cell.split for cell in cells):
        sums = added([cell for cell in cells if cell.split == split], len(table.ids))
        weight_RI = _resamples(sums.times_I, resamples, seed)
        drawn = _drawn(sums, weight_RI)
        known = (weight_RI @ np.stack([right_I, cost_I], axis=1)) / weight_RI.sum(axis=1, keepdims=True)
        found["summary"] += _summary(table, split, sums, drawn, level)
        found["differences"] += _differences(split, sums, drawn, level)
        found["areas"] += _areas(split, sums, drawn, level)
        found["reached"] += _reached(split, sums, drawn, known, level)
        by_instance = sums.reward_IC, sums.cost_IC, sums.times_I
        found["domains"] += domain_rows(table, split, sums.cells, by_instance, weight_RI, level)
    return {key: _rounded(value) for key, value in found.items()}


def row(table: Table, cell: Cell) -> dict[str, Any]:
    cost = float(cell.cost_I.mean())
    found: dict[str, Any] = {
        "router": cell.router,
        "budget": cell.budget,
        "split": cell.split,
        "fold": cell.fold,
        "seed": cell.seed,
        "n": len(cell.instance_I),
        "accuracy": float(cell.reward_I.mean()),
        "cost_rel": cost,
        "overrun": cost / cell.budget - 1,
        "share": dict(zip(table.arms, cell.share_K.tolist(), strict=True)),
        "draws": {arm: d for arm, d in zip(table.arms, cell.draws_K.tolist(), strict=True) if d},
        "regret": cell.regret,
        "refused": cell.refused,
    }
    return found | ({"note": cell.note} if cell.note else {})


def best_arm(table: Table) -> Best:
    """The most accurate arm of all, the cheaper of two that are level."""
    reward_NK, cost_NK = bundle_table(table, table.bundles, np.ones(len(table.purchases)))
    right_K, cost_K = reward_NK.mean(axis=0), cost_NK.mean(axis=0)
    k = int(np.lexsort((cost_K, -right_K))[0])
    return Best(table.arms[k], float(right_K[k]), float(cost_K[k] / cost_K[0]) if cost_K[0] > 0 else float("inf"))


def added(cells: Sequence[Cell], instances: int) -> Sums:
    """The cells of one split, added up per instance."""
    groups: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.router, cell.budget), []).append(cell)
    reward_IC, cost_IC = np.zeros((instances, len(groups))), np.zeros((instances, len(groups)))
    for c, group in enumerate(groups.values()):
        for cell in group:
            reward_IC[cell.instance_I, c] += cell.reward_I
            cost_IC[cell.instance_I, c] += cell.cost_I
    times_I = np.zeros(instances)
    for cell in next(iter(groups.values())):
        times_I[cell.instance_I] += 1
    return Sums(list(groups), list(groups.values()), reward_IC, cost_IC, times_I)


def _resamples(times_I: Array, resamples: int, seed: int) -> Array:
    """How much each instance counts, shape (R + 1, I): drawn as often as chance has it, times how often it was tested;
    in the first row each is drawn once. Instances that were not tested count nothing."""
    tested_I = times_I > 0
    n = int(tested_I.sum())
    drawn_RI = np.zeros((resamples + 1, len(times_I)))
    drawn_RI[0] = tested_I
    drawn_RI[1:, tested_I] = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return drawn_RI * times_I


def _drawn(sums: Sums, weight_RI: Array) -> Drawn:
    per_test_I = 1 / np.maximum(sums.times_I, 1)
    total_R = weight_RI.sum(axis=1, keepdims=True)
    return Drawn(
        (weight_RI @ (sums.reward_IC * per_test_I[:, None])) / total_R,
        (weight_RI @ (sums.cost_IC * per_test_I[:, None])) / total_R,
    )


def _summary(table: Table, split: str, sums: Sums, drawn: Drawn, level: float) -> list[dict[str, Any]]:
    low_C, high_C = _ends(drawn.reward_RC[1:], level)
    cost_low_C, cost_high_C = _ends(drawn.cost_RC[1:], level)
    found = []
    for c, (router, budget) in enumerate(sums.keys):
        cost = float(drawn.cost_RC[0, c])
        worst, where = _worst_domain(table, sums, c, budget)
        regrets = [cell.regret for cell in sums.cells[c]]
        notes = sorted({cell.note for cell in sums.cells[c] if cell.note.startswith("below")})
        summary: dict[str, Any] = {
            "router": router,
            "budget": budget,
            "split": split,
            "accuracy": float(drawn.reward_RC[0, c]),
            "accuracy_low": float(low_C[c]),
            "accuracy_high": float(high_C[c]),
            "cost_rel": cost,
            "overrun": cost / budget - 1,
            "cost_low": float(cost_low_C[c]),
            "cost_high": float(cost_high_C[c]),
            "overrun_worst": worst,
            "worst_domain": where,
            "regret": None if None in regrets else float(np.mean([r for r in regrets if r is not None])),
            "refused": float(np.mean([cell.refused for cell in sums.cells[c]])),
            "share": dict(
                zip(table.arms, np.mean([cell.share_K for cell in sums.cells[c]], axis=0).tolist(), strict=True)
            ),
            "n": int((sums.times_I > 0).sum()),
        }
        found.append(summary | ({"note": notes[0]} if notes else {}))
    return found


def _worst_domain(table: Table, sums: Sums, c: int, budget: float) -> tuple[float, str]:
    """The largest overrun of a domain, those of few instances taken together, and which it is."""
    _, first_I = np.unique(table.instance_N, return_index=True)
    domain_I = table.domain_N[first_I]
    tested_I = sums.times_I > 0
    worst = []
    for group in domain_groups(domain_I[tested_I]):
        inside_I = np.isin(domain_I, group) & tested_I
        cost = sums.cost_IC[inside_I, c].sum() / sums.times_I[inside_I].sum()
        worst.append((float(cost / budget - 1), " + ".join(group)))
    return max(worst)


def _differences(split: str, sums: Sums, drawn: Drawn, level: float) -> list[dict[str, Any]]:
    """Every two routers at one budget: how much more accurate, and dearer, the first is."""
    found = []
    for a, (router, budget) in enumerate(sums.keys):
        for b, (other, its_budget) in enumerate(sums.keys):
            if its_budget != budget or b <= a:
                continue
            gain_R = drawn.reward_RC[:, a] - drawn.reward_RC[:, b]
            low, high = _ends(gain_R[1:], level)
            found.append(
                {
                    "router": router,
                    "against": other,
                    "budget": budget,
                    "split": split,
                    "gain": float(gain_R[0]),
                    "gain_low": float(low),
                    "gain_high": float(high),
                    "cost_more": float(drawn.cost_RC[0, a] - drawn.cost_RC[0, b]),
                }
            )
    return found


def _areas(split: str, sums: Sums, drawn: Drawn, level: float) -> list[dict[str, Any]]:
    """The area under accuracy by budget over the budgets' width: the mean accuracy between the ends."""
    found = []
    for router, columns in _by_router(sums).items():
        budget_B = np.array([sums.keys[c][1] for c in columns])
        reward_RB = drawn.reward_RC[:, columns]
        width = budget_B[-1] - budget_B[0]
        area_R = np.trapezoid(reward_RB, budget_B, axis=1) / width if width > 0 else reward_RB[:, 0]
        low, high = _ends(area_R[1:], level)
        found.append(
            {
                "router": router,
                "split": split,
                "area": float(area_R[0]),
                "area_low": float(low),
                "area_high": float(high),
            }
        )
    return found


def _reached(split: str, sums: Sums, drawn: Drawn, known_R2: Array, level: float) -> list[dict[str, Any]]:
    """The smallest share of the best arm's cost at which each router is as accurate; None where it never is.

    Between two budgets accuracy is taken to rise evenly; below the smallest nothing is claimed. `how_often`: share of
    resamples in which it is reached; the interval's upper end is None where that is too rare to have one.
    """
    found = []
    for router, columns in _by_router(sums).items():
        share_R = _first_reach(drawn.reward_RC[:, columns], drawn.cost_RC[:, columns], known_R2[:, 0]) / known_R2[:, 1]
        drawn_R = np.sort(share_R[1:])
        low, high = (drawn_R[min(int(q * len(drawn_R)), len(drawn_R) - 1)] for q in ((1 - level) / 2, (1 + level) / 2))
        found.append(
            {
                "router": router,
                "split": split,
                "share": _known(share_R[0]),
                "share_low": _known(low),
                "share_high": _known(high),
                "how_often": float(np.isfinite(drawn_R).mean()),
            }
        )
    return found


def _first_reach(reward_RB: Array, cost_RB: Array, goal_R: Array) -> Array:
    """The cost at which each resample's curve first meets the goal, infinite where it never does; shape (R,)."""
    order_RB = np.argsort(cost_RB, axis=1)
    cost_RB = np.take_along_axis(cost_RB, order_RB, axis=1)
    reward_RB = np.maximum.accumulate(np.take_along_axis(reward_RB, order_RB, axis=1), axis=1)
    met_RB = reward_RB >= goal_R[:, None] - 1e-12
    first_R = met_RB.argmax(axis=1)
    rows = np.arange(len(goal_R))
    before_R = np.maximum(first_R - 1, 0)
    rise_R = reward_RB[rows, first_R] - reward_RB[rows, before_R]
    part_R = np.divide(goal_R - reward_RB[rows, before_R], rise_R, out=np.ones(len(rows)), where=rise_R > 0)
    cost_R = cost_RB[rows, before_R] + part_R * (cost_RB[rows, first_R] - cost_RB[rows, before_R])
    return np.where(met_RB.any(axis=1), cost_R, np.inf)


def _arm_on_instances(table: Table, arm: str) -> tuple[Array, Array]:
    """(reward_I, cost_I) of one arm's verdict on every instance, costs in mean costs of the first arm."""
    bundles = [table.bundles[table.arms.index(arm)], table.bundles[0]]
    reward_NK, cost_NK = bundle_table(table, bundles, np.ones(len(table.purchases)))
    rows_I = np.maximum(np.bincount(table.instance_N, minlength=len(table.ids)), 1)
    reward_I, cost_I = (
        np.bincount(table.instance_N, v, len(table.ids)) / rows_I for v in (reward_NK[:, 0], cost_NK[:, 0])
    )
    return reward_I, cost_I / float(cost_NK[:, 1].mean())


def _by_router(sums: Sums) -> dict[str, list[int]]:
    """The columns of each router, its budgets rising."""
    found: dict[str, list[int]] = {}
    for c in sorted(range(len(sums.keys)), key=lambda c: sums.keys[c][1]):
        found.setdefault(sums.keys[c][0], []).append(c)
    return {router: found[router] for router in dict.fromkeys(router for router, _ in sums.keys)}


def _ends(value_RX: Array, level: float) -> Array:
    return np.asarray(np.quantile(value_RX, [(1 - level) / 2, (1 + level) / 2], axis=0))


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
