"""Which rung of a router each judgment gets while judgments are bought, and what may still be paid.

`Drawn` draws the rung by a hash of the pair's id from the mixture that costs the budget; `Paced` follows what was
really spent (see pacing.py). Both are for one event loop: many judgments are under way at once, none in another thread.
Costs are in the router's unit; a cost that nobody knows is taken to be the highest seen.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from adjudge.errors import BudgetError
from adjudge.routing import pacing
from adjudge.routing.deciding import uniform
from adjudge.routing.ladder import Rung, mix
from adjudge.routing.pacing import Pace, Target
from adjudge.routing.router import Router
from adjudge.routing.saved import Card
from adjudge.routing.stream import Prices, pacer_for


class Turn(NamedTuple):
    """One judgment's place on the ladder; `aimed`: what the pacer meant it to cost."""

    rung: int
    aimed: Target | None = None


class Steering(Protocol):
    """Every judgment has a `begin` and an `end`, every purchase a `hold` and then a `pay` of what was held."""

    def begin(self, pair_id: str) -> Turn:
        """Raises BudgetError when not even the cheapest purchase can be paid; such a judgment has no `end`."""
        ...

    def affords(self, u: int) -> bool: ...
    def hold(self, u: int) -> float:
        """The highest cost that is held for purchase u."""
        ...

    def pay(self, u: int, held: float, cost: float) -> float:
        """What the purchase is counted at; `cost` NaN where it is not known."""
        ...

    def end(self, turn: Turn, cost: float | None) -> None:
        """`cost` None: no model was asked at all."""
        ...


class Drawn:
    """No feedback: the same pair gets the same rung, in whatever file it stands. Raises BudgetError as `mix` does."""

    def __init__(self, rungs: Sequence[Rung], budget: float, most_U: Sequence[float]) -> None:
        self._mixture = mix(tuple(rungs), budget)
        self._most_U = tuple(most_U)

    def begin(self, pair_id: str) -> Turn:
        return Turn(_drawn(self._mixture, pair_id))

    def affords(self, u: int) -> bool:  # noqa: ARG002 -- nothing is refused
        return True

    def hold(self, u: int) -> float:
        return self._most_U[u]

    def pay(self, u: int, held: float, cost: float) -> float:  # noqa: ARG002
        return held if math.isnan(cost) else cost

    def end(self, turn: Turn, cost: float | None) -> None:
        pass


class Paced:
    """The mean cost of all judgments holds. `pace`: what was bought before, where a run goes on."""

    def __init__(
        self, router: Router, card: Card, budget: float, horizon: int | None = None, pace: Pace | None = None
    ) -> None:
        known = Prices(np.array(card.highest_costs), np.array(card.mean_costs))
        self._pacer, _ = pacer_for(router, known, budget, horizon)
        self._most_U = list(card.highest_costs)
        self.pace = pace or pacing.init()

    def begin(self, pair_id: str) -> Turn:
        try:
            aimed = pacing.target(self._pacer, self.pace)
        except BudgetError:
            self.pace = pacing.refuse(self.pace)
            raise
        self.pace = pacing.start(self.pace)
        return Turn(_drawn(aimed.mixture, pair_id), aimed)

    def affords(self, u: int) -> bool:
        return pacing.affords(self._pacer, self.pace, self._most_U[u])

    def hold(self, u: int) -> float:
        self.pace = pacing.hold(self.pace, self._most_U[u])
        return self._most_U[u]

    def pay(self, u: int, held: float, cost: float) -> float:
        counted = held if math.isnan(cost) else cost
        self._most_U[u] = max(self._most_U[u], counted)  # what has once been seen can come again
        self.pace = pacing.pay(self.pace, held, counted)
        return counted

    def end(self, turn: Turn, cost: float | None) -> None:
        assert turn.aimed is not None
        self.pace = pacing.settle(self.pace, turn.aimed, cost or 0.0)


def _drawn(mixture: Sequence[tuple[int, float]], pair_id: str) -> int:
    return mixture[0][0] if uniform("rung", pair_id) < mixture[0][1] else mixture[-1][0]
