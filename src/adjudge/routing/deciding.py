"""What a saved router would buy first for pairs that nothing was bought for yet, and what it expects of it.

Which of two rungs a pair gets, where the budget lies between them, is drawn by a hash of its id: the same pair is
always decided alike, in whatever file it stands.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.ladder import best_choice, mix
from adjudge.routing.router import STOP, Router
from adjudge.routing.table import Ints, Seen


@runtime_checkable
class Foretelling(Protocol):
    """A router that predicts, before anything is bought, what each of its bundles earns and costs."""

    @property
    def bundles(self) -> tuple[tuple[int, ...], ...]: ...
    def predict(self, x_ND: Array) -> tuple[Array, Array]:
        """(reward_NK, cost_NK), costs in the table's unit."""
        ...


class Decided(NamedTuple):
    """Per pair: the rung, the first purchase, and predicted reward and cost of the whole judgment, with the reward of
    the cheapest policy. `by_pair`: predictions are of the pair itself, not the means of its rung."""

    rung_N: Ints
    first_N: Ints
    reward_N: Array
    cost_N: Array
    cheapest_N: Array
    by_pair: bool


def decide_first(router: Router, x_ND: Array, ids: Sequence[str], budget: float, responses: int = 0) -> Decided:
    """The first decision for each row of features. `budget`: in the table's unit; `responses`: of instances that arms
    rate, 0 for verdicts. Raises BudgetError as `mix` does."""
    seen = unbought(x_ND, len(router.purchases), responses)
    mixture = mix(router.rungs, budget)
    coin_N, draw_N = (np.array([uniform(salt, one) for one in ids]) for salt in ("rung", "draw"))
    rung_N = np.where(coin_N < mixture[0][1], mixture[0][0], mixture[-1][0])
    first_N = np.full(len(ids), STOP)
    reward_N, cost_N, cheapest_N = (np.empty(len(ids)) for _ in range(3))
    by_pair = isinstance(router, Foretelling)
    for rung in dict.fromkeys(k for k, _ in mixture):
        rows = np.flatnonzero(rung_N == rung)
        if len(rows):
            first_N[rows] = router.decide(seen.at(rows), rung, draw_N[rows])
            reward_N[rows], cost_N[rows], cheapest_N[rows] = foretell(router, x_ND[rows], rung)
    return Decided(rung_N, first_N, reward_N, cost_N, cheapest_N, by_pair)


def unbought(x_ND: Array, width: int, responses: int = 0) -> Seen:
    """Rows of which nothing is known but their features."""
    n = len(x_ND)
    rating_NUR = np.full((n, width, responses), np.nan) if responses else None
    return Seen(x_ND, np.zeros((n, width), bool), np.full((n, width), np.nan), rating_NUR, np.zeros((n, width)))


def foretell(router: Router, x_ND: Array, rung: int) -> tuple[Any, Any, Any]:
    """(reward, cost, reward of the cheapest policy) of rows under one rung: predicted for each row where the router
    does so, else the means of the rung. Costs in the table's unit."""
    cheapest = min(router.rungs, key=lambda r: (r.cost, -r.reward))
    if not isinstance(router, Foretelling):
        return router.rungs[rung].reward, router.rungs[rung].cost, cheapest.reward
    reward_NK, cost_NK = router.predict(x_ND)
    rows = np.arange(len(x_ND))
    chosen_N = best_choice(reward_NK, cost_NK, router.rungs[rung].multiplier)
    least_N = best_choice(reward_NK, cost_NK, cheapest.multiplier)
    return reward_NK[rows, chosen_N], cost_NK[rows, chosen_N], reward_NK[rows, least_N]


def uniform(salt: str, one: str) -> float:
    """A number in [0, 1) that follows from the id alone."""
    return int.from_bytes(hashlib.blake2b(f"{salt}:{one}".encode(), digest_size=6).digest(), "big") / 2**48
