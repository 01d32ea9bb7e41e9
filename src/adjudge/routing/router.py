"""What every router is: a ladder of policies, each of which says what to buy next.

A **rung** is one policy at one multiplier, with the cost and the reward that it had on data which it was not fitted
on. A budget is met by mixing two rungs, the one below and the one above it, so that the budget is spent and not passed.
A policy looks at what is known of a row (`Seen`) and names the next purchase, or stops; the same `decide` serves
fitting, evaluation and the gateway. A router that decides once, before anything is bought, goes on naming the purchases
of its choice until they are made.

Costs of rungs are in the table's unit. `STOP` is -1.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from adjudge.errors import BudgetError
from adjudge.routing.ambiguity import Array
from adjudge.routing.evidence import weigh
from adjudge.routing.table import Bools, Ints, Purchase, Seen, Table

STOP = -1


class Rung(NamedTuple):
    """`multiplier`: reward that one more unit of cost must buy. `cost`, `reward`: means on rows held out of the fit."""

    multiplier: float
    cost: float
    reward: float


class Router(Protocol):
    """A fitted router. `rungs` rise in cost. `draw_N` are uniform numbers in [0, 1), one per row, the same at every
    step of a row: what is random in a policy is drawn from them."""

    @property
    def purchases(self) -> tuple[Purchase, ...]: ...
    @property
    def rungs(self) -> tuple[Rung, ...]: ...
    def decide(self, seen: Seen, rung: int, draw_N: Array) -> Ints:
        """The place of the next purchase among `purchases`, or STOP; shape (N,)."""
        ...

    def weights(self, rung: int) -> Array:
        """The weight of each purchase in the verdict, shape (U,)."""
        ...


class Played(NamedTuple):
    """What a policy did on the rows of a table."""

    bought_NU: Bools
    reward_N: Array
    cost_N: Array


class Expected(NamedTuple):
    """A mixture of policies on the rows of a table, in expectation over the mixing."""

    reward_N: Array
    cost_N: Array
    bought_NU: Array  # probability that each purchase is made


def play(router: Router, table: Table, rung: int, draw_N: Array) -> Played:
    """Let one policy buy on every row until it stops. Draws are per row, as `Router` says."""
    n, width = table.cost_NU.shape
    bought_NU = np.zeros((n, width), bool)
    alive_N = np.arange(n)
    for _ in range(width + 1):
        seen = table.at(alive_N).seen(bought_NU[alive_N])
        next_N = router.decide(seen, rung, draw_N[alive_N])
        goes_on = next_N != STOP
        alive_N, next_N = alive_N[goes_on], next_N[goes_on]
        if not len(alive_N):
            break
        assert not bought_NU[alive_N, next_N].any(), "a purchase was named twice"
        bought_NU[alive_N, next_N] = True
    reward_N = weigh(table.seen(bought_NU), router.weights(rung)).reward(table)
    return Played(bought_NU, reward_N, np.where(bought_NU, table.cost_NU, 0.0).sum(axis=1))


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


def expected(router: Router, table: Table, budget: float, draw_N: Array) -> Expected:
    """What the router does at a budget (in the table's unit). Raises BudgetError as `mix` does."""
    played = [(share, play(router, table, rung, draw_N)) for rung, share in mix(router.rungs, budget)]
    return Expected(
        sum_of(share * p.reward_N for share, p in played),
        sum_of(share * p.cost_N for share, p in played),
        sum_of(share * p.bought_NU for share, p in played),
    )


def sum_of(parts: Any) -> Array:
    return np.asarray(np.sum(list(parts), axis=0))


def _slope(low: Rung, high: Rung) -> float:
    gap = high.cost - low.cost
    return (high.reward - low.reward) / gap if gap > 0 else np.inf
