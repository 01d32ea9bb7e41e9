"""Sets of purchases that are worth choosing from, and their frontier without any features.

Sets grow one purchase at a time from those that stand on the Pareto front of mean cost and mean reward on the fitting
data: a set whose every larger relative is dominated leads nowhere. What is kept are the front and, as far as there is
room, the sets that fall short of it by least: a router may find rows for which they are the better ones.

Axes as table.py. Costs are in the table's unit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.evidence import Evidence, following, weigh
from adjudge.routing.table import Seen, Table

MOST_KEPT = 32
MOST_GROWN = 12  # sets of one size that larger ones grow from
LARGEST = 8  # purchases in a set
WORTH = 5e-4  # a set that earns less than this above all cheaper ones is not on the front: it is luck


class Portfolio(NamedTuple):
    """`bundle`: places of the purchases, in the order in which they are made; `cost`, `reward`: means."""

    bundle: tuple[int, ...]
    cost: float
    reward: float


def candidates(table: Table, weight_U: Array, most: int = MOST_KEPT) -> tuple[tuple[int, ...], ...]:
    """The sets to choose from, rising in cost; every arm's own bundle that is not dominated by far is among them."""
    grown = grow(table, weight_U)
    short = _shortfall(grown)
    kept = sorted(range(len(grown)), key=lambda k: (short[k], grown[k].cost))[:most]
    return tuple(grown[k].bundle for k in sorted(kept, key=lambda k: grown[k].cost))


def static(table: Table, weight_U: Array) -> list[Portfolio]:
    """The frontier of sets bought for every row alike: each earns more than all cheaper ones."""
    return front(grow(table, weight_U))


def front(portfolios: Sequence[Portfolio]) -> list[Portfolio]:
    """Those that no cheaper one equals, rising in cost.

    >>> a, b, c = Portfolio((0,), 1.0, 0.6), Portfolio((1,), 2.0, 0.5), Portfolio((2,), 3.0, 0.8)
    >>> front([c, b, a]) == [a, c]
    True
    """
    found: list[Portfolio] = []
    for one in sorted(portfolios, key=lambda p: (p.cost, -p.reward, len(p.bundle))):
        if not found or one.reward > found[-1].reward + WORTH:
            found.append(one)
    return found


def grow(table: Table, weight_U: Array) -> list[Portfolio]:
    """All sets that were looked at: single purchases, the arms' bundles, and what grew from the best of each size."""
    seen: dict[frozenset[int], Portfolio] = {}
    firsts = [(u,) for u in following(table.purchases, ())]
    for bundle in [*firsts, *table.bundles]:
        _measure(table, weight_U, bundle, seen)
    parents = [seen[frozenset(bundle)] for bundle in firsts]
    for _ in range(1, LARGEST):
        best = _nearest(list(seen.values()), parents)
        born = []
        for parent in best:
            for u in following(table.purchases, parent.bundle):
                if frozenset((*parent.bundle, u)) not in seen:
                    born.append(_measure(table, weight_U, (*parent.bundle, u), seen))
        if not born:
            break
        parents = born
    return sorted(seen.values(), key=lambda p: (p.cost, p.bundle))


def _nearest(known: list[Portfolio], among: list[Portfolio]) -> list[Portfolio]:
    """Those of `among` that fall short of the front of all known ones by least."""
    short = _shortfall(known)
    of = {one.bundle: s for one, s in zip(known, short, strict=True)}
    return sorted(among, key=lambda p: (of[p.bundle], p.cost))[:MOST_GROWN]


def _shortfall(portfolios: Sequence[Portfolio]) -> list[float]:
    """How much less each earns than the best of its cost or less."""
    best = front(portfolios)
    cost = np.array([p.cost for p in best])
    reward = np.array([p.reward for p in best])
    at = [max(int(np.searchsorted(cost, p.cost, side="right")) - 1, 0) for p in portfolios]
    return [max(0.0, float(reward[k]) - p.reward) for k, p in zip(at, portfolios, strict=True)]


def _measure(table: Table, weight_U: Array, bundle: Sequence[int], seen: dict[frozenset[int], Portfolio]) -> Portfolio:
    cost = float(table.cost_NU[:, list(bundle)].sum(axis=1).mean())
    found = Portfolio(tuple(bundle), cost, float(look(table, bundle, weight_U).reward(table).mean()))
    seen[frozenset(bundle)] = found
    return found


def look(table: Table, bundle: Sequence[int], weight_U: Array) -> Evidence:
    """What a bundle says on every row; purchases outside it are left out of the sums, which saves most of the time."""
    of = list(bundle)
    rating = None if table.rating_NUR is None else table.rating_NUR[:, of]
    bought = np.ones((len(table), len(of)), bool)
    return weigh(Seen(table.x_ND, bought, table.said_NU[:, of], rating, table.cost_NU[:, of]), weight_U[of])
