"""The store as a service sees it: judgments looked up and kept at any moment, many of them in one go.

Whatever is asked for or handed over while the database works is taken together at the next turn: one query, or one
transaction, however many wait. Looking up and writing have a connection each. A judgment is on disk when `keep`
returns.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

import msgspec

from adjudge.errors import StoreError
from adjudge.judging.driver import cancelled
from adjudge.judging.ledger import Ledger as Books
from adjudge.store.lookup import Found
from adjudge.store.store import Bought, Store
from adjudge.types import Pair

HEARTBEAT_S = 10.0
AT_ONCE = 256

In = TypeVar("In")
Out = TypeVar("Out")


class _Item(NamedTuple, Generic[In, Out]):
    given: In
    answer: "asyncio.Future[Out]"


class _Together(Generic[In, Out]):
    """Calls of `work` that are made together: it takes many and gives one answer for each.

    After each turn it rests as long as the turn took: what comes meanwhile is taken together, and half of the time at
    most goes into turns, most of whose cost is the same for one as for many. Who comes later waits for nobody.
    """

    def __init__(self, work: Callable[[Sequence[In]], Awaitable[Sequence[Out]]]) -> None:
        self._work = work
        self._waiting: list[_Item[In, Out]] = []
        self._turning: asyncio.Task[None] | None = None
        self._rest_until = 0.0

    async def __call__(self, given: In) -> Out:
        item: _Item[In, Out] = _Item(given, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        if self._turning is None or self._turning.done():
            self._turning = asyncio.ensure_future(self._turn())
        return await item.answer

    async def over(self) -> None:
        """Wait until nothing is left."""
        if self._turning is not None:
            await asyncio.wait([self._turning])

    async def _turn(self) -> None:
        while self._waiting:
            began = time.monotonic()
            if self._rest_until > began:
                await asyncio.sleep(self._rest_until - began)
                began = time.monotonic()
            taken, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                answers = await self._work([item.given for item in taken])
            except Exception as error:  # noqa: BLE001 -- whoever waits hears of it, whatever it is
                for item in taken:
                    if not item.answer.done():
                        item.answer.set_exception(error)
                continue
            finally:
                self._rest_until = 2 * time.monotonic() - began
            for item, answer in zip(taken, answers, strict=True):
                if not item.answer.done():
                    item.answer.set_result(answer)


class Shelf:
    """`arms`: arm_key -> (name, definition), of all that will be kept. Every method raises StoreError."""

    def __init__(self, url: str, evaluator: str, arms: dict[str, tuple[str, str]]) -> None:
        self._evaluator = evaluator
        self.arm_names = {key: name for key, (name, _) in arms.items()}
        self._writing, self._reading = Store.open(url), Store.open(url)
        self.books = Books(self._writing, evaluator, arms)
        self._thread = ThreadPoolExecutor(1, "lookup")
        self._find: _Together[str, Found | None] = _Together(self._found)
        self._keep: _Together[Bought, None] = _Together(self._kept)
        self._beating: asyncio.Task[None] | None = None
        self.fault = ""

    async def open(self) -> None:
        """Register as a living run of the store."""
        await self.books.begin()
        self._beating = asyncio.create_task(self._beat())

    async def find(self, key: str) -> Found | None:
        """The finished judgment of this key, its arm by name."""
        return await self._find(key)

    async def whole(self, key: str) -> Found | None:
        """The same with its calls."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._thread, lambda: self._reading.find(self._evaluator, [key], calls=True))
        return self._named(found.get(key))

    async def keep(self, bought: Bought) -> None:
        await self._keep(bought)

    async def relabel(self, pair: Pair) -> None:
        """What is said about a pair beside its texts, from now on."""
        await self.books.relabel([pair])

    async def close(self) -> None:
        """Write what is left and end the run."""
        try:
            if self._beating is not None:
                await self._keep.over()
                await cancelled([self._beating])
                await self.books.end()
        finally:
            self.books.close()
            self._thread.shutdown()
            self._writing.close()
            self._reading.close()

    async def _found(self, keys: Sequence[str]) -> list[Found | None]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._thread, lambda: self._reading.find(self._evaluator, keys))
        return [self._named(found.get(key)) for key in keys]

    async def _kept(self, bought: Sequence[Bought]) -> list[None]:
        try:
            await self.books.put(bought)
        except StoreError as error:
            self.fault = str(error)
            raise
        self.fault = ""
        return [None] * len(bought)

    def _named(self, found: Found | None) -> Found | None:
        if found is None:
            return None
        arm = self.arm_names.get(found.judgment.arm, found.judgment.arm)
        return Found(found.pair, msgspec.structs.replace(found.judgment, arm=arm))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                await self.books.heartbeat()
                self.fault = ""
            except StoreError as error:
                self.fault = str(error)
