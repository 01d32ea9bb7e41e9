"""How fast one server may be asked, and whether it is up: three small state machines over a clock that is handed in.

Own code, because each has to be corrected from outside: aiolimiter's rate is fixed and knows no tokens that turn out to
be more or fewer; pybreaker and purgatory fail a call while the breaker is open, where a run of ten thousand pairs wants
to wait until the server is back. Times are seconds of any monotonic clock.
"""

import math

BURST_S = 1.0  # a minute's allowance is spread: so many seconds of it may be used at once
STEPS = 32  # windows' worth of good answers in which a window grows from nothing to its ceiling
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


class Window:
    """Calls in flight that the server bears, learned from its 429 answers; `size` never passes the configured ceiling.

    After each window's worth of answers it is cut by half the share of 429s among them (DCTCP, RFC 8257, section 3.3)
    and grows by a step for the rest: one stray 429 hardly counts, a real limit is met within a few rounds. Calls in
    flight and not calls a second are counted, since a rate cannot be measured before long calls have come back.
    """

    def __init__(self, ceiling: int) -> None:
        self.size = float(ceiling)
        self._ceiling = ceiling
        self._step = max(1.0, ceiling / STEPS)
        self._ended = self._limited = 0

    def ended(self, *, limited: bool) -> None:
        """One answer has come; `limited`: it was a 429."""
        self._ended += 1
        self._limited += limited
        if self._ended >= int(self.size):
            share = self._limited / self._ended
            self.size = max(1.0, min(self.size * (1 - share / 2) + self._step * (1 - share), self._ceiling))
            self._ended = self._limited = 0


class Breaker:
    """Closed while the server answers; open when so many different calls in a row found it unavailable.

    While open, nothing is let through but one probe at a time, after FIRST_LOOK_S and then at growing intervals. Any
    sign of life closes it.
    """

    def __init__(self) -> None:
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

    def failed(self, call: int, now: float, *, needed: int) -> None:
        """A call found the server unavailable; `needed` different ones open the breaker."""
        self._failed_calls.add(call)
        if self._down_since is not None:
            if self._probing:
                self._probing = False
                self._look_s = min(self._look_s * 1.5, LONGEST_LOOK_S)
                self._look_at = now + self._look_s
        elif len(self._failed_calls) >= needed:
            self._down_since = now
            self._look_at = now + self._look_s

    def dropped(self) -> None:
        """A call was cancelled; if it was the probe, another may go."""
        self._probing = False
