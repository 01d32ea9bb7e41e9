"""How many pairs to take from each source and domain.

Problem: given available_SK (pairs of source s in domain group k), targets for some sources and some groups and a
total, find n_SK <= available_SK whose sums meet the targets, otherwise as near to the proportions of what is available
as can be. Iterative proportional fitting (Deming and Stephan 1940) from available_SK, each cell capped at what there
is: a target that cannot be met is left short, and what is missing is not made up with other domains.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 200
Targets = Sequence[float | None]


def largest_total(available_SK: NDArray[np.int64], shares_S: Targets, shares_K: Targets) -> int:
    """The largest total at which every share can be met, taken one at a time; all there is when no share is given."""
    bounds = [float(available_SK.sum())]
    for axis, shares in ((1, shares_S), (0, shares_K)):
        sums = available_SK.sum(axis=axis)
        given = [(s, float(n)) for s, n in zip(shares, sums, strict=True) if s is not None]
        rest = 1 - sum(s for s, _ in given)
        if given and len(given) < len(shares):
            given.append((rest, float(sum(n for s, n in zip(shares, sums, strict=True) if s is None))))
        bounds += [n / s for s, n in given if s > 1e-9]
    return math.floor(min(bounds) + 1e-9)


_NOTHING = 1e-9  # of a pair: a share so small that dividing by it overflows


def allot(available_SK: NDArray[np.int64], total: int, targets_S: Targets, targets_K: Targets) -> NDArray[np.int64]:
    """Pairs to take per source and group. Targets are numbers of pairs; None: no target of its own."""
    want_SK = available_SK.astype(float)
    groups = [*_groups(total, targets_S, axis=0), *_groups(total, targets_K, axis=1)]
    for _ in range(_ROUNDS):
        for index, target in groups:
            held = want_SK[index].sum()
            if held > _NOTHING:
                want_SK[index] = np.minimum(want_SK[index] * (target / held), available_SK[index])
    return _rounded(want_SK, available_SK)


def _groups(total: int, targets: Targets, axis: int) -> list[tuple[tuple[slice | list[int], ...], float]]:
    """(cells, target) of every row or column with a target, and of those without one together."""

    def cells(places: list[int]) -> tuple[slice | list[int], ...]:
        return (places, slice(None)) if axis == 0 else (slice(None), places)

    free = [i for i, target in enumerate(targets) if target is None]
    given = [(cells([i]), target) for i, target in enumerate(targets) if target is not None]
    if free:
        given.append((cells(free), max(0.0, total - sum(target for _, target in given))))
    return given


def _rounded(want_SK: NDArray[np.float64], available_SK: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers by largest remainder: first the groups' sums, then each group's sources."""
    sums_K = _largest_remainder(want_SK.sum(axis=0), round(float(want_SK.sum())), available_SK.sum(axis=0))
    columns = [_largest_remainder(want_SK[:, k], int(sums_K[k]), available_SK[:, k]) for k in range(want_SK.shape[1])]
    return np.stack(columns, axis=1)


def _largest_remainder(want: NDArray[np.float64], total: int, most: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.minimum(np.floor(want + 1e-9).astype(np.int64), most)
    for i in np.argsort(counts - want, kind="stable"):
        if counts.sum() >= total:
            break
        counts[i] += counts[i] < most[i]
    return counts
