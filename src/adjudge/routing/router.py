"""What every router is: a ladder of policies, each of which says what to buy next.

Each policy is a rung (see ladder.py). It looks at what is known of a row (`Seen`) and names the next purchase, or
stops; the same `decide` serves fitting, evaluation and the gateway. A router that decides once, before anything is
bought, goes on naming the purchases of its choice until they are made.

Costs of rungs are in the table's unit.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.evidence import weigh
from adjudge.routing.ladder import Rung, mix
from adjudge.routing.table import Bools, Ints, Purchase, Seen, Table

STOP = -1


class State(NamedTuple):
    """What a router is saved as: plain JSON values, and arrays. `restore` of its module makes the same router of it."""

    card: dict[str, Any]
    arrays: dict[str, Array]


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

    def state(self) -> State: ...


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


def still_missing(bundles: Sequence[Sequence[int]], choice_N: Ints, bought_NU: Bools) -> Ints:
    """The next purchase of each row's chosen bundle that was not made yet, or STOP; shape (N,)."""
    next_N = np.full(len(choice_N), STOP)
    for k in np.unique(choice_N):
        rows = np.flatnonzero(choice_N == k)
        for u in reversed(bundles[k]):
            next_N[rows[~bought_NU[rows, u]]] = u
    return next_N


def bundle_table(table: Table, bundles: Sequence[Sequence[int]], weight_U: Array) -> tuple[Array, Array]:
    """(reward_NK, cost_NK) of buying each bundle whole, on the rows of a table."""
    rewards, costs = [], []
    for bundle in bundles:
        bought_NU = np.zeros(table.cost_NU.shape, bool)
        bought_NU[:, list(bundle)] = True
        rewards.append(weigh(table.seen(bought_NU), weight_U).reward(table))
        costs.append(table.cost_NU[:, list(bundle)].sum(axis=1))
    return np.stack(rewards, axis=1), np.stack(costs, axis=1)


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
