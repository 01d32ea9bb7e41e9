"""What the baselines share: some columns of a table, a search for good sets and paths, and cards that JSON can hold."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from sklearn.model_selection import GroupKFold

from adjudge.routing.ambiguity import Array
from adjudge.routing.evidence import Evidence, weigh
from adjudge.routing.ladder import Rung, upper_hull
from adjudge.routing.table import Ints, Purchase, Table

C = TypeVar("C")


def narrowed(table: Table, among: Sequence[int]) -> Table:
    """The table with these purchases only, in this order; it names no bundles."""
    columns = list(among)
    return replace(
        table,
        purchases=tuple(table.purchases[u] for u in columns),
        bundles=(),
        said_NU=table.said_NU[:, columns],
        rating_NUR=None if table.rating_NUR is None else table.rating_NUR[:, columns],
        cost_NU=table.cost_NU[:, columns],
    )


def all_bought(table: Table, weight_U: Array) -> Evidence:
    """What all purchases of a table say together."""
    return weigh(table.seen(np.ones(table.cost_NU.shape, bool)), weight_U)


def folds_of(table: Table, count: int, seed: int) -> list[tuple[Ints, Ints]]:
    """(rows to fit on, rows held out) of each fold; an instance is never on both sides. One instance makes no fold."""
    count = min(count, len(np.unique(table.instance_N)))
    if count < 2:
        return []
    splitter = GroupKFold(count, shuffle=True, random_state=seed)
    return list(splitter.split(np.empty(len(table)), groups=table.instance_N))


def explore(
    starts: Iterable[C],
    grow: Callable[[C], Iterable[C]],
    measure: Callable[[C], Rung],
    *,
    depth: int,
    width: int,
) -> list[tuple[C, Rung]]:
    """The candidates that no mixture of others beats, by rising cost, of those that a beam search looks at.

    `grow` names the candidates that are one step longer. At each length the `width` candidates that are least below the
    hull of all that were measured so far are grown, up to `depth` steps.
    """
    found = {candidate: measure(candidate) for candidate in starts}
    front = list(found)
    for _ in range(depth - 1):
        longer = dict.fromkeys(c for candidate in front for c in grow(candidate) if c not in found)
        if not longer:
            break
        measured = {candidate: measure(candidate) for candidate in longer}
        found |= measured
        short_of = below_hull(list(found.values()), list(measured.values()))
        front = [list(measured)[i] for i in np.argsort(short_of, kind="stable")[:width]]
    items = list(found.items())
    return [items[k] for k in upper_hull(tuple(found.values()))]


def below_hull(rungs: Sequence[Rung], some: Sequence[Rung]) -> Array:
    """Reward by which each of some rungs is below what mixtures of the others reach at its cost; 0 on the hull."""
    hull = [rungs[k] for k in upper_hull(tuple(rungs))]
    reached = np.interp([r.cost for r in some], [r.cost for r in hull], [r.reward for r in hull])
    return np.asarray(reached - np.array([r.reward for r in some]))


def rising(rungs: Sequence[Rung]) -> list[int]:
    """The places of the rungs, by rising cost."""
    return sorted(range(len(rungs)), key=lambda k: (rungs[k].cost, rungs[k].reward))


def card_of(purchases: Sequence[Purchase], rungs: Sequence[Rung], **more: Any) -> dict[str, Any]:
    """Plain JSON values: purchases and rungs as lists of their fields."""
    return {"purchases": [list(p) for p in purchases], "rungs": [list(r) for r in rungs], **more}


def purchases_in(card: dict[str, Any]) -> tuple[Purchase, ...]:
    return tuple(Purchase(*fields) for fields in card["purchases"])


def rungs_in(card: dict[str, Any]) -> tuple[Rung, ...]:
    return tuple(Rung(*fields) for fields in card["rungs"])


def nested(lists: Any) -> Any:
    """JSON's lists as tuples, at every depth."""
    return tuple(nested(item) for item in lists) if isinstance(lists, list | tuple) else lists
