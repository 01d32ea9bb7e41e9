"""Routers that look at nothing: each rung buys one fixed bundle of purchases for every row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.baselines.parts import card_of, nested, purchases_in, rising, rungs_in
from adjudge.routing.ladder import Rung
from adjudge.routing.router import State, bundle_table, still_missing
from adjudge.routing.table import Ints, Purchase, Seen, Table


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """`bundles` and the rows of weight_SU belong to the rungs, one each."""

    kind: ClassVar[str] = "fixed"
    purchases: tuple[Purchase, ...]
    rungs: tuple[Rung, ...]
    bundles: tuple[tuple[int, ...], ...]
    weight_SU: Array

    def decide(self, seen: Seen, rung: int, draw_N: Array) -> Ints:
        return still_missing(self.bundles, np.full(len(draw_N), rung), seen.bought_NU)

    def weights(self, rung: int) -> Array:
        return np.asarray(self.weight_SU[rung])

    def state(self) -> State:
        return State(card_of(self.purchases, self.rungs, bundles=self.bundles), {"weight_SU": self.weight_SU})


def restore(state: State) -> Fixed:
    """The router whose state this was."""
    card, arrays = state
    return Fixed(purchases_in(card), rungs_in(card), nested(card["bundles"]), arrays["weight_SU"])


def of_arms(table: Table, places: Sequence[int]) -> Fixed:
    """One rung for each of these arms, with the mean cost and reward of one verdict of it on the table."""
    bundles = [table.bundles[k] for k in places]
    reward_NK, cost_NK = bundle_table(table, bundles, np.ones(len(table.purchases)))
    rungs = [Rung(0.0, float(c), float(r)) for c, r in zip(cost_NK.mean(axis=0), reward_NK.mean(axis=0), strict=True)]
    order = rising(rungs)
    return Fixed(
        table.purchases,
        tuple(rungs[k] for k in order),
        tuple(bundles[k] for k in order),
        np.ones((len(order), len(table.purchases))),
    )
