"""A router at work on a stream of judgments, paced: what `pacing` would let it buy, row after row of a table.

What a policy would buy on every row, if nothing stopped it, is worked out once per rung for all rows; the stream then
walks these lists. Where a purchase cannot be paid, the rungs below are asked what they would do with what is known, the
dearest first; where none of them can go on, the row is decided by what was bought. A row for which nothing was bought
gets the cheapest purchase, or is refused: no verdict, no cost.
"""

from typing import NamedTuple

import numpy as np

from adjudge.errors import BudgetError
from adjudge.routing import pacing
from adjudge.routing.ambiguity import Array
from adjudge.routing.evidence import following, weigh
from adjudge.routing.pacing import Pace, Pacer, Target
from adjudge.routing.router import STOP, Router
from adjudge.routing.table import Bools, Ints, Table


class Prices(NamedTuple):
    """Of each purchase, on the fitting data: the highest cost seen, and the mean."""

    most_U: Array
    mean_U: Array


class Paced(NamedTuple):
    """What was done on each row of the table; `last` is the pacer's state at the end."""

    bought_NU: Bools
    reward_N: Array
    cost_N: Array
    refused_N: Bools
    last: Pace


def prices(table: Table) -> Prices:
    return Prices(table.cost_NU.max(axis=0), table.cost_NU.mean(axis=0))


def pacer_for(
    router: Router, known: Prices, budget: float, horizon: int | None = None, cap: float = np.inf
) -> tuple[Pacer, int]:
    """The pacer of a router, and the place of the cheapest purchase that can be made first."""
    firsts = following(router.purchases, ())
    cheapest = min(firsts, key=lambda u: (known.mean_U[u], u))
    pacer = Pacer(
        router.rungs,
        budget,
        cheapest=float(known.mean_U[cheapest]),
        cheapest_most=float(known.most_U[cheapest]),
        dearest_most=float(known.most_U.max()),
        horizon=horizon,
        cap=cap,
    )
    return pacer, cheapest


def stream(
    router: Router,
    table: Table,
    order: Ints,
    budget: float,
    known: Prices,
    rng: np.random.Generator,
    *,
    horizon: int | None = None,
    cap: float = np.inf,
) -> Paced:
    """Judge the rows of the table in this order. `budget`, `cap`: in the table's unit. `rng` draws the rungs."""
    pacer, cheapest = pacer_for(router, known, budget, horizon, cap)
    walk = _Walk(router, table, known.most_U, cheapest, rng.random(len(table)))
    n = len(table)
    bought_NU = np.zeros(table.cost_NU.shape, bool)
    refused_N = np.zeros(n, bool)
    rung_N = np.full(n, STOP)
    pace = pacing.init()
    for row in order.tolist():
        try:
            aim = pacing.target(pacer, pace)
        except BudgetError:
            refused_N[row], pace = True, pacing.refuse(pace)
            continue
        rung_N[row], pace = walk.judge(row, aim, rng.random(), pacer, pace, bought_NU[row])
    reward_N = np.zeros(n)
    for rung in np.unique(rung_N[~refused_N]).tolist():
        rows = np.flatnonzero(rung_N == rung)
        part = table.at(rows)
        # a cheapest purchase that no rung asked for speaks for itself
        weight_U = np.ones(len(router.purchases)) if rung == STOP else router.weights(rung)
        reward_N[rows] = weigh(part.seen(bought_NU[rows]), weight_U).reward(part)
    reward_N[refused_N] = 0.0
    return Paced(bought_NU, reward_N, np.where(bought_NU, table.cost_NU, 0.0).sum(axis=1), refused_N, pace)


class _Walk:
    """The rows of a table under one router, with what each rung would buy there, worked out when first asked for."""

    def __init__(self, router: Router, table: Table, most_U: Array, cheapest: int, draw_N: Array) -> None:
        self.router, self.table, self.draw_N, self.cheapest = router, table, draw_N, cheapest
        self.most_U = most_U.tolist()
        self.by_cost = sorted(range(len(router.rungs)), key=lambda k: router.rungs[k].cost)
        self.lists: dict[int, Ints] = {}

    def judge(self, row: int, aim: Target, draw: float, pacer: Pacer, pace: Pace, bought_U: Bools) -> tuple[int, Pace]:
        """Buy for one row, marking what was bought; (the rung whose weights decide, or STOP, the state after)."""
        rung = aim.mixture[0][0] if draw < aim.mixture[0][1] else aim.mixture[-1][0]
        before, pace = pace.spent, pacing.start(pace)
        step, by_list = 0, True
        while True:
            u = int(self._list(rung)[row, step]) if by_list else self._asked(row, rung, bought_U)
            if u != STOP and not pacing.affords(pacer, pace, self.most_U[u]):
                rung, u = self._lower(row, rung, pacer, pace, bought_U)
                by_list = False
            if u == STOP:
                break
            pace = self._buy(row, u, pace, bought_U)
            step += 1
        if not bought_U.any():  # it can be paid: `target` made sure of that
            pace = self._buy(row, self.cheapest, pace, bought_U)
            rung = STOP
        return rung, pacing.settle(pace, aim, pace.spent - before)

    def _buy(self, row: int, u: int, pace: Pace, bought_U: Bools) -> Pace:
        bought_U[u] = True
        most, cost = self.most_U[u], float(self.table.cost_NU[row, u])
        self.most_U[u] = max(most, cost)  # what has once been seen can come again
        return pacing.pay(pacing.hold(pace, most), most, cost)

    def _asked(self, row: int, rung: int, bought_U: Bools) -> int:
        """What the rung would buy next on this row, or STOP; STOP too where it knows no better than what is bought."""
        at = np.array([row])
        u = int(self.router.decide(self.table.at(at).seen(bought_U[None]), rung, self.draw_N[at])[0])
        return STOP if u == STOP or bought_U[u] else u

    def _lower(self, row: int, rung: int, pacer: Pacer, pace: Pace, bought_U: Bools) -> tuple[int, int]:
        """(rung, purchase) of the dearest rung below this one that can go on or would stop; (rung, STOP) if none."""
        for lower in reversed(self.by_cost[: self.by_cost.index(rung)]):
            u = self._asked(row, lower, bought_U)
            if (u == STOP and bought_U.any()) or (u != STOP and pacing.affords(pacer, pace, self.most_U[u])):
                return lower, u
        return rung, STOP

    def _list(self, rung: int) -> Ints:
        if rung not in self.lists:
            self.lists[rung] = listed(self.router, self.table, rung, self.draw_N)
        return self.lists[rung]


def listed(router: Router, table: Table, rung: int, draw_N: Array) -> Ints:
    """What one policy buys on every row, in order; shape (N, U + 1), STOP from where it stops."""
    n, width = table.cost_NU.shape
    order_NU = np.full((n, width + 1), STOP)
    bought_NU = np.zeros((n, width), bool)
    alive_N = np.arange(n)
    for step in range(width + 1):
        next_N = router.decide(table.at(alive_N).seen(bought_NU[alive_N]), rung, draw_N[alive_N])
        goes_on = next_N != STOP
        alive_N, next_N = alive_N[goes_on], next_N[goes_on]
        if not len(alive_N):
            break
        bought_NU[alive_N, next_N] = True
        order_NU[alive_N, step] = next_N
    return order_NU
