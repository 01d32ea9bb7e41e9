"""How fast one server may be asked, and whether it is up: three small state machines over a clock that is handed in.

Own code, because each has to be corrected from outside: aiolimiter's rate is fixed and knows no tokens that turn out to
be more or fewer; pybreaker and purgatory fail a call while the breaker is open, where a run of ten thousand pairs wants
to wait until the server is back. Times are seconds of any monotonic clock.
"""

import math

BURST_S = 1.0  # a minute's allowance is spread: so many seconds of it may be used at once
CUT = 0.7
CUT_EVERY_S = 1.0
GROW_S = 30.0  # seconds in which the rate grows by the best rate seen
MEASURE_S = 0.25  # no rate is believed from less time than this
SLOWEST_PER_S = 1 / 60
FIRST_LOOK_S = 1.0
LONGEST_LOOK_S = 15.0


class Bucket:
    """A level that refills at `per_s` up to `burst`.

    Something may be taken while the level is above 0, however much it is: the level then goes below 0 and nothing more
    is let through until it is paid back, so a call larger than the burst passes too and the rate holds all the same.
    """

    def __init__(self, per_s: float, burst: float) -> None:
        self.per_s = per_s
        self._burst = self._level = burst
        self._at = -math.inf

    def wait_s(self, now: float) -> float:
        """Seconds until something may be taken."""
        self._level = min(self._burst, self._level + max(now - self._at, 0.0) * self.per_s)
        self._at = now
        return 0.0 if self._level > 0 else (1e-9 - self._level) / self.per_s

    def take(self, amount: float) -> None:
        """Take, or with a negative amount give back. Call `wait_s` first."""
        self._level = min(self._burst, self._level - amount)


class Pace:
    """Calls a second that the server has shown to bear: additive growth, multiplicative cut (AIMD, as TCP does it).

    There is no limit until the first 429. Then the rate is CUT times what was getting through, at most one cut in
    CUT_EVERY_S (all calls in flight hear the same news), and grows by the best rate seen every GROW_S seconds.
    """

    def __init__(self) -> None:
        self.per_s = math.inf
        self._best = self._seen = 0.0
        self._successes = 0
        self._since = self._grown_at = self._cut_at = -math.inf
        self._next = -math.inf

    def wait_s(self, now: float) -> float:
        return max(self._next - now, 0.0)

    def take(self, now: float) -> None:
        if self._since == -math.inf:
            self._since = now
        if self.per_s < math.inf:
            self.per_s += self._best / GROW_S * max(now - self._grown_at, 0.0)
            self._grown_at = now
            self._next = max(self._next, now - 1 / self.per_s) + 1 / self.per_s

    def succeeded(self, now: float) -> None:
        self._successes += 1
        if now - self._since >= 1.0:
            self._measure(now)

    def limited(self, now: float, hold_s: float) -> None:
        """A 429: slow down. The time that the server is left alone for does not count into what it bears."""
        if now - self._since >= MEASURE_S and not self._seen:
            self._measure(now)
        if now - self._cut_at >= CUT_EVERY_S and self._seen:
            self.per_s = max(CUT * min(self.per_s, self._seen), SLOWEST_PER_S)
            self._cut_at = self._grown_at = now + hold_s
        self._successes, self._since = (0, now + hold_s) if hold_s else (self._successes, self._since)

    def _measure(self, now: float) -> None:
        self._seen = self._successes / (now - self._since)
        self._best = max(self._best, self._seen)
        self._successes, self._since = 0, now


class Breaker:
    """Closed while the server answers; open after `needed` different calls in a row found it unavailable.

    While open, nothing is let through but one probe at a time, after FIRST_LOOK_S and then at growing intervals. Any
    sign of life closes it.
    """

    def __init__(self, needed: int) -> None:
        self._needed = needed
        self._failed_calls: set[int] = set()
        self._look_s = FIRST_LOOK_S
        self._look_at = 0.0
        self._probing = False
        self._down_since: float | None = None

    def down_s(self, now: float) -> float:
        """How long the server has been down, 0 when it is up."""
        return 0.0 if self._down_since is None else max(now - self._down_since, 1e-9)

    def wait_s(self, now: float) -> float:
        """Seconds until a call may pass: 0, or the time to the next probe, or infinity while one is under way."""
        if self._down_since is None:
            return 0.0
        return math.inf if self._probing else max(self._look_at - now, 0.0)

    def take(self) -> None:
        self._probing = self._down_since is not None

    def alive(self) -> None:
        self._failed_calls.clear()
        self._down_since = None
        self._look_s = FIRST_LOOK_S
        self._probing = False

    def failed(self, call: int, now: float) -> None:
        self._failed_calls.add(call)
        if self._down_since is not None:
            if self._probing:
                self._probing = False
                self._look_s = min(self._look_s * 1.5, LONGEST_LOOK_S)
                self._look_at = now + self._look_s
        elif len(self._failed_calls) >= self._needed:
            self._down_since = now
            self._look_at = now + self._look_s

    def dropped(self) -> None:
        """A call was cancelled; if it was the probe, another may go."""
        self._probing = False
