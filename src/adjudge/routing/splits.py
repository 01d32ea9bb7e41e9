"""How a table is parted into rows to fit on and rows to test on. An instance's rows always stay together.

- `random`: five folds, each with its share of every domain; a seed draws them.
- `leave-one-domain-out`: each domain in turn is tested by a router that never saw it. Domains of fewer than ten
  instances are tested together. The parts are the same for every seed; what a seed changes is the fit.
- `shift`: the mixture of domains moves between fit and test, in two directions: `shift-dearer` puts the larger part of
  the dear domains into the test, `shift-cheaper` that of the cheap ones. A seed draws which instances they are.

A domain's cost is the mean, over arms, of what the arm costs there relative to what it costs everywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from adjudge.errors import ConfigError, DataError
from adjudge.routing.ambiguity import Array
from adjudge.routing.table import Ints, Table

SplitKind = Literal["random", "leave-one-domain-out", "shift"]
SPLIT_KINDS: tuple[SplitKind, ...] = get_args(SplitKind)
FOLDS = 5
LEAST_DOMAIN = 10  # instances of a domain that is tested on its own
SHIFT_TEST = 1 / 3  # share of the instances that a shifted split tests on
Parts = Callable[[Table, NDArray[np.str_], int], Iterator[tuple[str, int | str, Ints]]]  # name, fold, tested instances
TILT = 2.0  # log-odds of being tested, of the dearest domain above the middle one, and of the middle above the cheapest


class Split(NamedTuple):
    """`name` is random, leave-one-domain-out, shift-dearer or shift-cheaper; `fold` its number, or what was left out.
    `fit_N` and `test_N` are places of rows in the table."""

    name: str
    fold: int | str
    seed: int
    fit_N: Ints
    test_N: Ints


def splits(table: Table, kind: SplitKind, seeds: Sequence[int]) -> Iterator[Split]:
    """All parts of one kind. Raises DataError where the table is too small for it: how small, and the remedy."""
    if kind not in SPLIT_KINDS:
        raise ConfigError(f"no split {kind!r}; known: {', '.join(SPLIT_KINDS)}")
    instances, first_I = np.unique(table.instance_N, return_index=True)
    domain_I = table.domain_N[first_I]
    parts: Parts = {"random": _random, "leave-one-domain-out": _left_out, "shift": _shifted}[kind]
    for seed in seeds:
        for name, fold, tested_I in parts(table, domain_I, seed):
            test_N = np.isin(table.instance_N, instances[tested_I])
            yield Split(name, fold, seed, np.flatnonzero(~test_N), np.flatnonzero(test_N))


def domain_groups(domain_I: NDArray[np.str_]) -> list[tuple[str, ...]]:
    """The domains, each alone; those of fewer than LEAST_DOMAIN instances together, with the next smallest where even
    together they are too few.

    >>> domain_groups(np.array(["a"] * 30 + ["b"] * 20 + ["c"] * 6 + ["d"] * 3))
    [('a',), ('b', 'c', 'd')]
    """
    names, counts = np.unique(domain_I, return_counts=True)
    by_size = sorted(zip(counts.tolist(), names.tolist(), strict=True))
    small: list[str] = []
    total = 0
    while by_size and (by_size[0][0] < LEAST_DOMAIN or 0 < total < LEAST_DOMAIN):
        count, name = by_size.pop(0)
        small, total = [*small, name], total + count
    return sorted([(name,) for _, name in by_size] + ([tuple(sorted(small))] if small else []))


def domain_costs(table: Table) -> dict[str, float]:
    """What each domain costs, as the module says; 1 is the mean of all rows."""
    cost_NK = table.arm_costs()
    mean_K = cost_NK.mean(axis=0)
    rel_NK = cost_NK[:, mean_K > 0] / mean_K[mean_K > 0]
    if not rel_NK.shape[1]:
        raise DataError("no arm costs anything, so the mixture cannot be shifted by cost", remedy="choose another cost")
    return {str(name): float(rel_NK[table.domain_N == name].mean()) for name in np.unique(table.domain_N)}


def _random(
    table: Table,  # noqa: ARG001  # one signature for all kinds
    domain_I: NDArray[np.str_],
    seed: int,
) -> Iterator[tuple[str, int | str, Ints]]:
    if len(domain_I) < 2 * FOLDS:
        raise DataError(
            f"{len(domain_I)} instances are too few for {FOLDS} folds", remedy=f"give at least {2 * FOLDS} records"
        )
    fold_I = _dealt(domain_I, FOLDS, np.random.default_rng(seed))
    for fold in range(FOLDS):
        yield "random", fold, np.flatnonzero(fold_I == fold)


def _dealt(domain_I: NDArray[np.str_], hands: int, rng: np.random.Generator) -> Ints:
    """The hand of each instance: dealt round and round, shuffled within a domain, domain after domain."""
    order = np.lexsort((rng.permutation(len(domain_I)), domain_I))
    hand_I = np.empty(len(domain_I), np.int64)
    hand_I[order] = np.arange(len(domain_I)) % hands
    return hand_I


def _left_out(
    table: Table,  # noqa: ARG001
    domain_I: NDArray[np.str_],
    seed: int,  # noqa: ARG001
) -> Iterator[tuple[str, int | str, Ints]]:
    groups = domain_groups(domain_I)
    if len(groups) < 2:
        raise DataError(
            f"leave-one-domain-out needs two domains of {LEAST_DOMAIN} instances or more, found {len(groups)}",
            remedy="use --split random",
        )
    for group in groups:
        yield "leave-one-domain-out", " + ".join(group), np.flatnonzero(np.isin(domain_I, group))


def _shifted(table: Table, domain_I: NDArray[np.str_], seed: int) -> Iterator[tuple[str, int | str, Ints]]:
    names, counts = np.unique(domain_I, return_counts=True)
    if len(names) < 2 or len(domain_I) < 2 * FOLDS:
        raise DataError(
            f"shift needs two domains and {2 * FOLDS} instances or more, found {len(names)} and {len(domain_I)}",
            remedy="use --split random",
        )
    costs = domain_costs(table)
    height = _heights(np.array([costs[str(name)] for name in names]))
    rng = np.random.default_rng(seed)
    rank_I = rng.random(len(domain_I))
    for name, sign in (("shift-dearer", 1.0), ("shift-cheaper", -1.0)):
        share = _tilted(sign * TILT * height, counts)
        tested = [_lowest(rank_I, np.flatnonzero(domain_I == d), s) for d, s in zip(names, share, strict=True)]
        yield name, 0, np.sort(np.concatenate(tested))


def _heights(cost_V: Array) -> Array:
    """Costs on a scale from -1, the cheapest domain, to 1, the dearest."""
    spread = np.ptp(cost_V)
    return np.asarray(2 * (cost_V - cost_V.min()) / spread - 1 if spread > 0 else np.zeros(len(cost_V)))


def _tilted(logit_V: Array, counts: Ints) -> Array:
    """The share of each domain that is tested: its log-odds are `logit_V` and what makes the whole SHIFT_TEST."""

    def excess(level: float) -> float:
        return float(expit(logit_V + level) @ counts) / float(counts.sum()) - SHIFT_TEST

    return np.asarray(expit(logit_V + brentq(excess, -20.0, 20.0)))


def _lowest(rank_I: Array, places: Ints, share: float) -> Ints:
    """The `share` of the places that have the lowest ranks."""
    return places[np.argsort(rank_I[places])[: round(share * len(places))]]
