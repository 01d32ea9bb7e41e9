"""The store as one run sees it from an event loop: each call on the store's own thread, judgments written in groups."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adjudge.store.store import Bought, Claim, Spend, Store, Wanted
from adjudge.types import Judgment, Pair

WRITE_EVERY_S = 0.2
WRITE_AT_ONCE = 256

T = TypeVar("T")


class Ledger:
    """Claims, judgments and rubrics of one run. Every method raises StoreError."""

    def __init__(self, store: Store, evaluator: str, arms: dict[str, tuple[str, str]]) -> None:
        self._store = store
        self._evaluator = evaluator
        self._arms = arms
        self._thread = ThreadPoolExecutor(1, "store")
        self.run_id = 0

    async def begin(self) -> int:
        """Register the run; how many judgments were in flight when earlier runs died."""
        info = await self._off(lambda: self._store.begin_run(self._evaluator, self._arms))
        self.run_id = info.id
        return info.interrupted

    async def heartbeat(self) -> None:
        await self._off(lambda: self._store.heartbeat(self.run_id))

    async def claim(self, wanted: Sequence[Wanted]) -> list[Claim]:
        return await self._off(lambda: self._store.claim(self.run_id, wanted))

    async def finished(self, wanted: Sequence[Wanted]) -> dict[str, Judgment]:
        return await self._off(lambda: self._store.finished(wanted))

    async def relabel(self, pairs: Sequence[Pair]) -> None:
        await self._off(lambda: self._store.relabel(self.run_id, pairs))

    async def put(self, bought: Sequence[Bought]) -> None:
        await self._off(lambda: self._store.put(self.run_id, bought))

    async def release(self, keys: Sequence[str]) -> None:
        await self._off(lambda: self._store.release(self.run_id, keys))

    async def rubric(self, key: str) -> str | None:
        return await self._off(lambda: self._store.rubric(key))

    async def keep_rubric(self, key: str, text: str) -> str:
        return await self._off(lambda: self._store.keep_rubric(self.run_id, key, text))

    async def end(self) -> None:
        await self._off(lambda: self._store.end_run(self.run_id))

    async def spend(self) -> Spend:
        return await self._off(lambda: self._store.spend(self.run_id))

    def close(self) -> None:
        self._thread.shutdown()

    async def _off(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class Writer:
    """Finished judgments, put into the store together: one transaction for all that came in WRITE_EVERY_S, or sooner
    for WRITE_AT_ONCE of them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pending: list[Bought] = []
        self._closing = False
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether the store is so far behind that memory would not stay flat."""
        return len(self._pending) >= 4 * WRITE_AT_ONCE

    async def room(self) -> None:
        """Wait while it is full."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    def add(self, bought: Bought) -> None:
        """Hand over a judgment."""
        self._pending.append(bought)
        self._some.set()
        if len(self._pending) >= WRITE_AT_ONCE:
            self._enough.set()

    async def run(self) -> None:
        """Write until `close` is called and all is written. Raises StoreError."""
        while self._pending or not self._closing:
            await self._some.wait()
            if not self._closing:
                await wait_at_most(self._enough, WRITE_EVERY_S)
            batch, self._pending = self._pending[: 2 * WRITE_AT_ONCE], self._pending[2 * WRITE_AT_ONCE :]
            if not self._pending and not self._closing:
                self._some.clear()
            if len(self._pending) < WRITE_AT_ONCE and not self._closing:
                self._enough.clear()
            if batch:
                await self._ledger.put(batch)
            self._room.set()

    def close(self) -> None:
        """Let `run` return once everything is written."""
        self._closing = True
        self._some.set()
        self._enough.set()


async def wait_at_most(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came in time."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
