"""Threshold on the observed margin: buy one arm; where its verdict leads by less than a threshold, buy another too.

The LLM cascade of FrugalGPT (arXiv 2305.05176, section 3) with two arms. Departures: the scorer is no learned one but
the judge's own margin (its stated sureness, or the distance of its two best ratings); and what the first arm said stays
in the verdict, weighted. Rungs differ in threshold and, unless the first arm is named, in the two arms, which are those
on the hull of the fitting rows. A row without a verdict has no lead: it is always escalated where any row is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, NamedTuple

import numpy as np

from adjudge.errors import ConfigError
from adjudge.routing.ambiguity import Array
from adjudge.routing.baselines.parts import (
    all_bought,
    card_of,
    folds_of,
    narrowed,
    nested,
    purchases_in,
    rising,
    rungs_in,
)
from adjudge.routing.evidence import LEVEL, fit_weights, weigh
from adjudge.routing.ladder import Rung, upper_hull
from adjudge.routing.router import State, still_missing
from adjudge.routing.table import Ints, Purchase, Seen, Table


@dataclass(frozen=True, slots=True)
class Settings:
    """`observe`: the arm that is bought first; chosen by the fit where it is empty. `levels`: thresholds tried for a
    pair of arms, at even steps of the share that is escalated."""

    observe: str = ""
    levels: int = 20
    folds: int = 5


class Plan(NamedTuple):
    """`first`, `then`: purchases. Leads below `least` are escalated; none where it is 0."""

    first: tuple[int, ...]
    then: tuple[int, ...]
    least: float


@dataclass(frozen=True, slots=True, eq=False)
class Threshold:
    """`plans` and the rows of weight_SU belong to the rungs, one each."""

    kind: ClassVar[str] = "threshold"
    purchases: tuple[Purchase, ...]
    rungs: tuple[Rung, ...]
    plans: tuple[Plan, ...]
    weight_SU: Array

    def decide(self, seen: Seen, rung: int, draw_N: Array) -> Ints:  # noqa: ARG002 - nothing is random
        plan = self.plans[rung]
        columns = list(plan.first)
        rating_NUR = None if seen.rating_NUR is None else seen.rating_NUR[:, columns]
        first = Seen(
            seen.x_ND, seen.bought_NU[:, columns], seen.said_NU[:, columns], rating_NUR, seen.cost_NU[:, columns]
        )
        lead_N = weigh(first, self.weight_SU[rung][columns]).lead_N
        waits_N = ~first.bought_NU.all(axis=1)
        choice_N = np.where(waits_N | ~(lead_N < plan.least), 0, 1)
        return still_missing((plan.first, _purchases(plan.first, plan.then)), choice_N, seen.bought_NU)

    def weights(self, rung: int) -> Array:
        return np.asarray(self.weight_SU[rung])

    def state(self) -> State:
        return State(card_of(self.purchases, self.rungs, plans=self.plans), {"weight_SU": self.weight_SU})


def restore(state: State) -> Threshold:
    """The router whose state this was."""
    card, arrays = state
    plans = tuple(Plan(*fields) for fields in nested(card["plans"]))
    return Threshold(purchases_in(card), rungs_in(card), plans, arrays["weight_SU"])


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> Threshold:
    """The plans on the hull of the fitting rows. Raises ConfigError for an arm that the table lacks."""
    if settings.observe and settings.observe not in table.arms:
        raise ConfigError(f"the table has no arm {settings.observe!r} to observe; there are: {', '.join(table.arms)}")
    everything = np.arange(len(table))
    plans: list[Plan] = []
    rungs: list[Rung] = []
    for a, b in permutations(range(len(table.arms)), 2):
        first, then = table.bundles[a], table.bundles[b]
        if settings.observe in ("", table.arms[a]) and not set(then) <= set(first):
            least_S = _thresholds(all_bought(narrowed(table, first), _weights(table, first, then)).lead_N, settings)
            plans += [Plan(first, then, least) for least in least_S]
            rungs += _swept(table, first, then, least_S, [(everything, everything)])
    hull = [plans[k] for k in upper_hull(tuple(rungs))]
    folds = folds_of(table, settings.folds, seed) or [(everything, everything)]
    kept = [_swept(table, plan.first, plan.then, [plan.least], folds)[0] for plan in hull]
    order = rising(kept)
    return Threshold(
        table.purchases,
        tuple(kept[k] for k in order),
        tuple(hull[k] for k in order),
        np.stack([fit_weights(table, _purchases(hull[k].first, hull[k].then)) for k in order]),
    )


def _swept(
    table: Table,
    first: tuple[int, ...],
    then: tuple[int, ...],
    least_S: Sequence[float],
    folds: list[tuple[Ints, Ints]],
) -> list[Rung]:
    """What two arms cost and earn at each threshold, on the rows held out of each fold."""
    part, of_first = narrowed(table, _purchases(first, then)), narrowed(table, first)
    lead_N, alone_N, joint_N = (np.empty(len(table)) for _ in range(3))
    for fitting, held in folds:
        weight_U = fit_weights(part.at(fitting), range(len(part.purchases)))
        here, first_here = part.at(held), of_first.at(held)
        alone = all_bought(first_here, weight_U[: len(first)])
        lead_N[held], alone_N[held] = alone.lead_N, alone.reward(first_here)
        joint_N[held] = all_bought(here, weight_U).reward(here)
    cost_N, more_N = (cost_NU.sum(axis=1) for cost_NU in np.split(part.cost_NU, [len(first)], axis=1))
    found = []
    for least in least_S:
        goes_on_N = lead_N < least
        cost, reward = (cost_N + goes_on_N * more_N).mean(), np.where(goes_on_N, joint_N, alone_N).mean()
        found.append(Rung(0.0, float(cost), float(reward)))
    return found


def _weights(table: Table, first: tuple[int, ...], then: tuple[int, ...]) -> Array:
    """Of the first arm's purchases, fitted with the other's."""
    return fit_weights(table, _purchases(first, then))[list(first)]


def _purchases(first: tuple[int, ...], then: tuple[int, ...]) -> tuple[int, ...]:
    return (*first, *(u for u in then if u not in first))


def _thresholds(lead_N: Array, settings: Settings) -> list[float]:
    """0 escalates none; then just above leads that were seen, at even shares of rows; the last escalates all."""
    shares = np.quantile(lead_N, np.linspace(0, 1, settings.levels), method="lower")
    return [0.0, *(np.unique(shares) + LEVEL).tolist(), float(np.finfo(float).max)]
