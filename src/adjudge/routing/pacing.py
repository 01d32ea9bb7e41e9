"""Pacing: while judgments come, the place on a router's ladder follows what was really spent.

A router's rungs say what they cost on the fitting data. Traffic that is dearer, or comes in a bad order, would pass the
budget (a mean cost per judgment). The pacer asks before each judgment how much it may cost (`target`), before each
purchase whether it can still be paid (`affords`), and is told what it did cost (`settle`). State in, state out; what
is random (the draw among rungs) and what has side effects (buying) is the caller's.

    aim      with a horizon T: what is left of T budgets, for each judgment that is left. Without one: the budget, and
             what was saved or overspent so far evened out over WINDOW judgments, towards a small reserve.
    place    the mixture of rungs that costs the aim, divided by how much dearer than expected the last MEMORY
             judgments were (a dual step: the multiplier follows the spend).
    limits   no purchase whose highest cost could carry the total past its limit, with the cheapest verdict kept back
             for every judgment that is left of the horizon. The limit is T budgets; without a horizon one per
             judgment, and 1 % more, counted as if at least PROMISED judgments came. The cheapest purchase may use the
             1 % in both cases. A hard cap on the total is never passed.

So, given true upper bounds of what purchases cost, the mean of any stream of PROMISED judgments or more is at most 1 %
over the budget, in whatever order it comes. On a shorter known horizon the cheapest purchase is weighed by its mean,
not its highest cost, and the last one may pass the limit by the difference. A judgment for which not even the cheapest
purchase can be paid is refused (BudgetError); it counts as a judgment that cost nothing.

Costs, budget and cap share one unit. Departure from plain dual descent: its multiplier has no guard, so that a stream
of cheap, then dear judgments passes the budget by any amount.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adjudge.errors import BudgetError
from adjudge.routing.ladder import Rung, mix

PROMISED = 1_000  # judgments from which on the mean holds on any stream
SLACK = 0.01  # by which it may pass the budget
WINDOW = 200  # judgments over which savings are evened out, without a horizon
MEMORY = 300  # judgments over which the ratio of real to expected cost is learned
PRIOR = 20  # judgments' worth of trust in the rungs' own costs
NOISE_RESERVE = 20  # budgets kept in reserve against chance, without a horizon
MOST_RESERVE = 50  # budgets
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Pacer:
    """`budget`: mean cost per judgment. `cheapest`, `cheapest_most`: mean and highest cost of the cheapest purchase
    that gives a verdict; `dearest_most`: highest cost of the dearest purchase. `horizon`: judgments to come, where
    known. `cap`: of the total. Raises BudgetError for a budget that no judgment can have."""

    rungs: tuple[Rung, ...]
    budget: float
    cheapest: float
    cheapest_most: float
    dearest_most: float
    horizon: int | None = None
    cap: float = np.inf

    def __post_init__(self) -> None:
        if not self.budget >= 0 or not self.cap >= 0:
            raise BudgetError(f"budget {self.budget:.6g} and cap {self.cap:.6g} must both be 0 or more")


class Pace(NamedTuple):
    """`judgments`: over, with the `refused` ones; `under_way`: begun. `held`: what purchases under way may cost at
    most. `real`, `expected`: costs of judgments, the older ones fading."""

    judgments: int = 0
    refused: int = 0
    under_way: int = 0
    spent: float = 0.0
    held: float = 0.0
    real: float = 0.0
    expected: float = 0.0


class Target(NamedTuple):
    """What the next judgment should do: draw one of `mixture` [(rung, probability)]; it then costs `expected`."""

    mixture: list[tuple[int, float]]
    expected: float


def init() -> Pace:
    return Pace()


def target(pacer: Pacer, pace: Pace) -> Target:
    """The place on the ladder for the next judgment. Raises BudgetError when not even the cheapest can be paid.

    >>> ladder = (Rung(1.0, 1.0, 0.6), Rung(0.1, 5.0, 0.8))
    >>> pacer = Pacer(ladder, budget=2.0, cheapest=1.0, cheapest_most=1.0, dearest_most=5.0, horizon=100)
    >>> target(pacer, init()).mixture
    [(0, 0.75), (1, 0.25)]
    >>> target(pacer, Pace(judgments=50, spent=150.0)).mixture  # 1 is left for each
    [(0, 1.0)]
    """
    if not affords_cheapest(pacer, start(pace)):
        limit = min(pacer.cap, (1 + SLACK) * pacer.budget * _end(pacer, start(pace)))
        raise BudgetError(
            f"{pace.spent:.6g} of {limit:.6g} is spent, what is left cannot pay for the cheapest verdict, "
            f"{pacer.cheapest:.6g} on average and {pacer.cheapest_most:.6g} at most; raise the budget"
        )
    lowest = min(rung.cost for rung in pacer.rungs)
    aim = max(_aim(pacer, pace) / _ratio(pacer, pace), lowest)
    mixture = mix(pacer.rungs, aim)
    return Target(mixture, sum(share * pacer.rungs[rung].cost for rung, share in mixture))


def start(pace: Pace) -> Pace:
    """A judgment begins."""
    return pace._replace(under_way=pace.under_way + 1)


def affords(pacer: Pacer, pace: Pace, most: float) -> bool:
    """Whether a purchase that costs `most` at the highest can be made now, in a judgment that was begun."""
    left = _end(pacer, pace) - pace.judgments - pace.under_way
    kept = left * pacer.cheapest * max(_ratio(pacer, pace), 1.0)
    kept += min(left, 1) * max(pacer.cheapest_most - pacer.cheapest, 0.0)  # the last of them may be a dear one
    total = pace.spent + pace.held + most
    horizon_known = pacer.horizon is not None and pace.judgments + pace.under_way <= pacer.horizon
    limit = pacer.budget * _end(pacer, pace) * (1.0 if horizon_known else 1 + SLACK)
    if total + kept > limit * (1 + ROUNDING):
        return False
    return total + (kept if horizon_known else 0.0) <= pacer.cap


def affords_cheapest(pacer: Pacer, pace: Pace) -> bool:
    """Whether the cheapest purchase can be made now, in a judgment that was begun. Nothing is kept back for others."""
    end = _end(pacer, pace)
    price = pacer.cheapest_most if end >= PROMISED else min(pacer.cheapest, pacer.cheapest_most)
    committed = pace.spent + pace.held
    within = committed + price <= pacer.budget * end * (1 + SLACK) * (1 + ROUNDING)
    return within and committed + pacer.cheapest_most <= pacer.cap


def hold(pace: Pace, most: float) -> Pace:
    """A purchase is under way that costs `most` at the highest."""
    return pace._replace(held=pace.held + most)


def pay(pace: Pace, most: float, cost: float) -> Pace:
    """A purchase held at `most` is made and did cost `cost`."""
    return pace._replace(held=max(pace.held - most, 0.0), spent=pace.spent + cost)


def settle(pace: Pace, aimed: Target, cost: float) -> Pace:
    """A judgment is over; its purchases, each paid, cost `cost` together."""
    keep = 1 - 1 / MEMORY
    return pace._replace(
        judgments=pace.judgments + 1,
        under_way=pace.under_way - 1,
        real=keep * pace.real + cost,
        expected=keep * pace.expected + aimed.expected,
    )


def refuse(pace: Pace) -> Pace:
    """A judgment that could not be paid is over."""
    return pace._replace(judgments=pace.judgments + 1, refused=pace.refused + 1)


def _end(pacer: Pacer, pace: Pace) -> int:
    """The number of judgments that limits are counted for, those under way included."""
    begun = pace.judgments + pace.under_way
    if pacer.horizon is not None and begun <= pacer.horizon:
        return pacer.horizon
    return max(PROMISED, begun)


def _aim(pacer: Pacer, pace: Pace) -> float:
    """What the next judgment may cost."""
    begun = pace.judgments + pace.under_way
    # those under way are taken to cost the budget: what is held for them is the highest cost, not the likely one
    spent = pace.spent + pacer.budget * pace.under_way
    if pacer.horizon is not None and begun < pacer.horizon:
        return (pacer.budget * pacer.horizon - spent) / (pacer.horizon - begun)
    free = SLACK * pacer.budget * begun
    reserve = min(max(pacer.dearest_most + NOISE_RESERVE * pacer.budget - free, 0.0), MOST_RESERVE * pacer.budget)
    saved = pacer.budget * begun - spent - reserve * min(begun / PROMISED, 1.0)
    return pacer.budget + saved / WINDOW


def _ratio(pacer: Pacer, pace: Pace) -> float:
    """How much dearer judgments are than their rungs say."""
    trust = PRIOR * max(pacer.budget, min(rung.cost for rung in pacer.rungs))
    return (pace.real + trust) / (pace.expected + trust) if trust > 0 else 1.0
