"""Whether traffic has left what the router was fitted for: the running shift of its features against a radius.

The features are those that the router read anyway, handed over by the threads that made them. Chat completions are no
pairs, and are not compared. `routing.drift` says what the shift is; here it is followed, and an alarm raised when even
its least passes the radius. It is cleared below CLEAR of the radius, so that a shift about as large as the radius does
not ring every minute.

A router that was fitted for radii says how far it holds: the smaller one of those over 0. For one that was fitted for
none the radius is DEFAULT_NATS, a convention: it lets one instance in ten count two and a half times as much.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from adjudge.routing import drift
from adjudge.routing.ambiguity import Array
from adjudge.routing.drift import Reference, Shift
from adjudge.routing.saved import Card

DEFAULT_NATS = 0.1
CLEAR = 0.8
LEAST_PAIRS = 30
MEMORY = 1000
WAITING = 20_000


class Radius(NamedTuple):
    """`fitted`: whether the router was fitted for it, or it is the default."""

    nats: float
    fitted: bool


class State(NamedTuple):
    """`since_s`: when the alarm was raised, None while there is none."""

    shift: Shift
    since_s: float | None = None


class DriftWatch:
    """`changed` is told when the alarm is raised or cleared. `saw` may be called from any thread, `look` from one at a
    time."""

    def __init__(
        self,
        fitted: Reference,
        radius: Radius,
        changed: Callable[[State], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.radius = radius
        self.state = State(Shift(0.0, 0.0, 0.0))
        self._fitted, self._changed, self._clock = fitted, changed, clock
        self._traffic = drift.nothing(fitted)
        self._waiting: deque[Array] = deque(maxlen=WAITING)  # under more than the looks can take the oldest go

    def saw(self, x_ND: Array) -> None:
        """Features of pairs, shape (n, D)."""
        self._waiting.append(x_ND)

    def look(self) -> None:
        """Take in what came since, and say how far it is."""
        if not self._waiting:
            return
        while self._waiting:
            for z_C in self._fitted.components(self._waiting.popleft()):
                self._traffic = self._traffic.seen(z_C, MEMORY)
        shift = drift.shift(self._fitted, self._traffic.mean, self._traffic.pairs)
        before = self.state.since_s
        alarm = alarmed(before is not None, shift, self.radius.nats)
        self.state = State(shift, (before if before is not None else self._clock()) if alarm else None)
        if alarm != (before is not None):
            self._changed(self.state)


def alarmed(before: bool, shift: Shift, radius_nats: float) -> bool:
    """Whether there is an alarm now, where there was or was not one before.

    >>> alarmed(False, Shift(0.3, 0.12, 500.0), 0.1), alarmed(True, Shift(0.2, 0.09, 500.0), 0.1)
    (True, True)
    >>> alarmed(True, Shift(0.2, 0.07, 500.0), 0.1), alarmed(False, Shift(0.2, 0.09, 500.0), 0.1)
    (False, False)
    """
    if before:
        return shift.least > CLEAR * radius_nats
    return shift.pairs >= LEAST_PAIRS and shift.least > radius_nats


def radius_of(card: Card) -> Radius:
    """How far the router was fitted to hold."""
    given = [radius for radius in card.radii.values() if radius]
    return Radius(min(given), True) if given else Radius(DEFAULT_NATS, False)
