"""The gate before one server: every attempt at a call enters here, waits its turn, and says how it went.

A call passes when a place in flight is free (`concurrency`, or what 429 answers have left of it), the minute's requests
and tokens allow it, nobody asked for time (Retry-After holds every call, not only the one that was told), and the
server is not down. Waiting calls stand in one line; only its head looks at the clock.

A server that is down does not burn pairs: calls wait while it is probed. The gate shuts for the rest of the run, and
the run says why, when the server stays down or answers nothing but 429 for PATIENCE_S (or three deadlines, if that is
longer), or refuses everything it is asked (a wrong key). A server that has never answered gets FIRST_PATIENCE_S: it is
more likely an address that is wrong, or a server that was not started.
"""

import asyncio
import contextlib
import math
import random

import msgspec

from adjudge.config import Server
from adjudge.errors import BackendError, RateLimited, Rejected, Unavailable
from adjudge.judging.pacing import BURST_S, Breaker, Bucket, Window
from adjudge.types import Ask, Reply

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
LOOK_AGAIN_S = 0.1
LEAST_WAIT_S = 0.001
PATIENCE_S = 300.0
FIRST_PATIENCE_S = 30.0
HURRIED_PATIENCE_S = 5.0
CALLS_TO_OPEN = 10
REFUSED_CALLS = 3
REJECTED_CALLS = 20
FIRST_OUTPUT_GUESS = 300.0


class Shut(Exception):
    """The gate lets nothing through any more in this run; the message says why."""


class Entry(msgspec.Struct, gc=False, frozen=True):
    """Leave to make one attempt. `call` is the same for all attempts at one question."""

    call: int
    tokens: float


class Gate:
    """See the module. For one event loop; its clock is the loop's."""

    def __init__(self, name: str, server: Server, *, draw: random.Random | None = None) -> None:
        self.name = name
        self.shut_why = ""
        self.under_way = 0  # questions begun and not answered, those that rest between attempts too
        self._slots = asyncio.Semaphore(server.concurrency)
        self._line = asyncio.Lock()
        self._requests = _per_minute(server.requests_per_minute)
        self._tokens = _per_minute(server.tokens_per_minute)
        self._buckets = [bucket for bucket in (self._requests, self._tokens) if bucket]
        self._window = Window(server.concurrency)
        self._in_flight = 0
        self._left = asyncio.Event()
        self._breaker = Breaker()
        self._hold_until = 0.0
        self._patience_s = max(PATIENCE_S, 3 * server.deadline_s)
        self._hurried = False
        self._draw = draw or random.Random()
        self._mean_output = FIRST_OUTPUT_GUESS
        self._limited_since: float | None = None
        self._limited_in_row = 0
        self._ever_good = self._ever_answered = False
        self._rejected: set[int] = set()
        self._last_error = ""
        self._clock = asyncio.get_running_loop().time

    @property
    def down(self) -> bool:
        """Whether the server is taken to be down; an attempt that found it so is not held against its question."""
        return self._breaker.down_s(self._clock()) > 0

    async def enter(self, call: int, ask: Ask) -> Entry:
        """Wait for leave to make one attempt. Raises Shut when none will be given."""
        entry = Entry(call, self._guessed(ask) if self._tokens else 0.0)
        await self._slots.acquire()
        try:
            if self._line.locked() or self._wait_s() > 0 or self.shut_why:
                async with self._line:
                    await self._turn()
                    self._take(entry)
            else:
                self._take(entry)
        except BaseException:
            self._slots.release()
            raise
        return entry

    def succeeded(self, entry: Entry, reply: Reply) -> None:
        self._leave()
        self._breaker.alive()
        self._window.ended(limited=False)
        self._limited_since, self._limited_in_row = None, 0
        self._ever_good = self._ever_answered = True
        self._rejected.clear()
        if reply.usage is not None:
            self._mean_output += 0.05 * (reply.usage.output_tokens - self._mean_output)
            if self._tokens:
                self._tokens.take(reply.usage.prompt_tokens + reply.usage.output_tokens - entry.tokens)

    def failed(self, entry: Entry, error: BackendError) -> None:
        now = self._leave()
        self._window.ended(limited=isinstance(error, RateLimited))
        self._last_error = str(error)
        if isinstance(error, Unavailable):
            # Where fewer are under way than would be asked for, all of them failing must do; one alone proves nothing.
            self._breaker.failed(entry.call, now, needed=max(2, min(CALLS_TO_OPEN, self.under_way)))
        else:
            self._breaker.alive()
            self._ever_answered = True
        if isinstance(error, RateLimited | Unavailable) and error.retry_after_s is not None:
            self._hold_until = max(self._hold_until, now + error.retry_after_s)
        if isinstance(error, RateLimited):
            self._limited_in_row += 1
            if self._window.size <= 1 and error.retry_after_s is None:
                self._hold_until = max(self._hold_until, now + self._jittered_s(self._limited_in_row))
            if self._tokens:
                self._tokens.take(-entry.tokens)
            self._limited_since = self._limited_since or now
            if now - self._limited_since > self._patience_s:
                self.shut(f"has given nothing but 429 for {now - self._limited_since:.0f} s: {error}")
        if isinstance(error, Rejected):
            if len(self._rejected) < REJECTED_CALLS:
                self._rejected.add(entry.call)
            if error.always and len(self._rejected) >= REFUSED_CALLS:
                self.shut(f"refuses every request: {error}")
            elif not self._hurried and not self._ever_good and len(self._rejected) >= REJECTED_CALLS:
                # A run asks all alike. A service, hurried from the start, passes on what anybody makes up.
                self.shut(f"has refused all of the first {len(self._rejected)} requests: {error}")

    def dropped(self, _entry: Entry) -> None:
        """The attempt was cancelled; nothing is learned from it."""
        self._leave()
        self._breaker.dropped()

    def backoff_s(self, failures: int, error: BackendError) -> float:
        """How long a question rests after its n-th failure: full jitter; 0 where the server named a time for all."""
        if isinstance(error, RateLimited | Unavailable) and error.retry_after_s is not None:
            return 0.0
        return self._jittered_s(failures)

    def shut(self, why: str) -> None:
        self.shut_why = self.shut_why or f"server {self.name} {why}"

    def hurry(self) -> None:
        """The run is being stopped: from now on nobody waits long, nor for a server that is down."""
        self._hurried = True

    def _guessed(self, ask: Ask) -> float:
        """Tokens that a call may come to, before it is known."""
        return sum(len(m.content) for m in ask.messages) / 4 + self._mean_output

    def _wait_s(self) -> float:
        if self._in_flight >= int(self._window.size):
            return math.inf
        now = self._clock()
        wait = max(self._hold_until - now, self._breaker.wait_s(now))
        for bucket in self._buckets:
            wait = max(wait, bucket.wait_s(now))
        return wait

    async def _turn(self) -> None:
        """The head of the line waits here."""
        while True:
            wait, down_s = self._wait_s(), self._breaker.down_s(self._clock())
            if down_s > (self._patience_s if self._ever_answered else min(FIRST_PATIENCE_S, self._patience_s)):
                self.shut(f"has been down for {down_s:.0f} s: {self._last_error}")
            if self.shut_why:
                raise Shut(self.shut_why)
            if wait <= 0:
                return
            if self._hurried and (down_s or HURRIED_PATIENCE_S < wait < math.inf):
                raise Shut(f"stopped while server {self.name} was {'down' if down_s else 'asking for time'}")
            self._left.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), min(max(wait, LEAST_WAIT_S), LOOK_AGAIN_S))

    def _take(self, entry: Entry) -> None:
        self._in_flight += 1
        self._breaker.take()
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(entry.tokens)

    def _jittered_s(self, failures: int) -> float:
        return self._draw.uniform(0, min(FIRST_BACKOFF_S * 2.0 ** (failures - 1), LONGEST_BACKOFF_S))

    def _leave(self) -> float:
        self._in_flight -= 1
        self._left.set()
        self._slots.release()
        return self._clock()


def _per_minute(limit: float) -> Bucket | None:
    return Bucket(limit / 60, max(limit / 60 * BURST_S, 1.0)) if limit else None
