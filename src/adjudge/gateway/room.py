"""How much is under way at once: a bounded number of works running, a bounded number waiting, and no more.

Identical work that is asked for while it is under way is done once: whoever asks waits for the same task, which belongs
to none of them, so that it goes on when the one that came first goes away.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from adjudge.gateway.problems import Problem
from adjudge.judging.driver import cancelled

FULL_RETRY_S = 2.0
BOOKING_S = 5.0
"""What is being booked at the end gets so long: with a database that is away it would take for ever."""
T = TypeVar("T")


class Room:
    """`running` at once, and `waiting` for their turn. `flights`: what is being done, by key."""

    def __init__(self, running: int, waiting: int) -> None:
        self.most = running + waiting
        self.inside = 0  # running and waiting
        self.closing = False
        self._stopped_at: float | None = None
        self._hurried = asyncio.Event()
        self._places = asyncio.Semaphore(running)
        self._running = 0
        self._entered: set[asyncio.Task[Any]] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self.on_fault: Callable[[BaseException], None] = lambda fault: None  # noqa: ARG005
        self._flights: dict[str, asyncio.Task[Any]] = {}

    @property
    def running(self) -> int:
        return self._running

    def check(self, count: int = 1) -> None:
        """Raises Problem 503 where there is no room for so much more now, 413 where there never is."""
        if self.closing:
            raise Problem(503, "shutting_down", "this server is going down; ask again", retry_after_s=FULL_RETRY_S)
        if count > self.most:
            told = f"it asks for {count:,} judgments at once, and {self.most:,} is the most; send smaller batches"
            raise Problem(413, "request_too_large", told)
        if self.inside + count > self.most:
            raise Problem(
                503,
                "overloaded",
                f"{self.inside:,} judgments are under way or waiting, of {self.most:,} at most; ask again",
                retry_after_s=FULL_RETRY_S,
            )

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A place; whoever asked for it was counted by `entered`."""
        async with self._places:
            self._running += 1
            try:
                yield
            finally:
                self._running -= 1

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Count as inside; at the end of the room the task that entered is given up like any other. Raises Problem
        503."""
        self.check()
        self.inside += 1
        mine = asyncio.current_task()
        assert mine is not None
        self._entered.add(mine)
        try:
            yield
        finally:
            self._entered.discard(mine)
            self.inside -= 1

    def shared(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> tuple["asyncio.Task[T]", bool]:
        """The task that does the work of this key, and whether it was begun just now. Raises Problem 503."""
        flying = self._flights.get(key)
        if flying is not None:
            return flying, False
        self.check()
        self.inside += 1
        task = asyncio.ensure_future(work())
        self._flights[key] = task
        task.add_done_callback(lambda done: self._landed(key, done))
        return task, True

    def begun(self, work: Coroutine[Any, Any, None]) -> None:
        """Something to be booked beside: it is not counted as inside, and nobody gives it up."""
        task = asyncio.ensure_future(work)
        self._beside.add(task)
        task.add_done_callback(self._beside_over)

    def stop(self) -> None:
        """Let nothing more in. The second time: give up what is inside, too."""
        if self._stopped_at is not None:
            self._hurried.set()
        else:
            self._stopped_at = time.monotonic()
        self.closing = True

    async def close(self, seconds: float) -> None:
        """Let nothing more in, wait for what is inside until so long after `stop`, then give it up. What is being
        booked is waited for, BOOKING_S at most: what is not booked by then is presumed spent."""
        if self._stopped_at is None:
            self.stop()
        assert self._stopped_at is not None
        inside = [*self._flights.values(), *self._entered]
        if inside:
            left_s = max(self._stopped_at + seconds - time.monotonic(), 0.0)
            over = asyncio.ensure_future(asyncio.wait(inside, timeout=left_s))
            hurried = asyncio.ensure_future(self._hurried.wait())
            await asyncio.wait({over, hurried}, return_when=asyncio.FIRST_COMPLETED)
            await cancelled([over, hurried, *inside])
        until = time.monotonic() + BOOKING_S
        while self._beside and time.monotonic() < until:
            await asyncio.wait(set(self._beside), timeout=until - time.monotonic())

    def _landed(self, key: str, task: "asyncio.Task[Any]") -> None:
        self.inside -= 1
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # whoever waits for it hears of it; perhaps nobody does

    def _beside_over(self, task: "asyncio.Task[None]") -> None:
        self._beside.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.on_fault(fault)
