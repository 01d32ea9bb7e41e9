"""Budgets that hold: what a call may cost at worst is reserved before it is made, what it cost is settled after.

For every account and every window (hour, day, all), spent + reserved never passes the cap, whatever the number of
processes on the database: SQLite for one (more work, and wait for each other), PostgreSQL for any number. What is asked
at the same time is decided in one transaction (`batch`), on a thread of its own; what this process keeps at hand
(`hand`) lets most calls in without one.

What is settled is durable. What a process had reserved when it died counts as spent at its worst case, since a server
may have billed it: `presumed`. It frees no cap until its hour and day are over, and never that of all.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Self, TypeVar

import msgspec
import sqlalchemy as sa

from adjudge.errors import CapReached, StoreError
from adjudge.gateway.ledger import sql
from adjudge.gateway.ledger.batch import Answer, Ask, Granted
from adjudge.gateway.ledger.booking import book
from adjudge.gateway.ledger.hand import Hand
from adjudge.gateway.ledger.queues import Asked, Queues, Settling, Taken
from adjudge.gateway.ledger.refusals import Refusals
from adjudge.gateway.ledger.values import HOUR_S, Caps, Reservation, Spent, Totals, Window, nano_up
from adjudge.store import claims, migrate
from adjudge.store.engine import Database

BEAT_S = 5.0
KNOWN_S = 15.0
"""How long an account is taken to have no caps, once it was seen to have none; each beat looks again."""
REST, LONGEST_REST_S = 3.0, 0.1
"""How many times as long as the last batch took what is settled may gather: fewer, larger batches. Nobody who asks to
make a call waits for that."""
LAST_TRIES_S = 10.0
_RETRY_S = (0.05, 2.0)

T = TypeVar("T")


class Ledger:
    """The ledger as one process sees it. Use it from one event loop, between `open` and `close`.

    `reserve`, `settle` and the figures raise StoreError where the database cannot be reached, read or written.
    """

    def __init__(self, url: str) -> None:
        """`url`: of the store whose database the ledger is kept in. Raises StoreError for what is no URL of one."""
        self._database = Database(url)
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._queues = Queues()
        self._hand = Hand()
        self._refusals = Refusals()
        self._open: dict[int, asyncio.Future[None] | None] = {}
        self._numbers = itertools.count(1)
        self._capped: set[str] = set()
        self._uncapped_until: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closing_at: float | None = None
        self._away = ""
        self._run_id = self._batch = self._failures = 0
        self._ahead_ns = 0  # the database's clock, less this process's monotonic one

    async def open(self) -> None:
        """Make the tables if need be and begin. What dead processes had reserved is marked as presumed spent."""

        def begin() -> tuple[int, int]:
            migrate.ready(self._database, create=True)
            return self._database.write(sql.begin)

        try:
            self._run_id, now_ns = await self._off(begin)
        except BaseException:
            await self.close()
            raise
        self._ahead_ns = now_ns - time.monotonic_ns()
        self._tasks = [asyncio.create_task(self._pump()), asyncio.create_task(self._beat())]

    @property
    def fault(self) -> str:
        """Why nothing can be booked now, "" where it can; looked at with every beat."""
        if not self._tasks or self._tasks[0].done():
            return "the ledger is closed"
        return self._away

    async def close(self) -> None:
        """Book what is being settled and give back what is at hand. Calls still open are presumed spent: settle first.

        With a database that cannot be reached it gives up after 10 seconds; `settle` then raises StoreError.
        """
        if not self._tasks:  # it was never open, or is closed
            self._thread.shutdown(wait=False)
            self._database.close()
            return
        pump, beat = self._tasks
        beat.cancel()
        self._give_back_idle()
        self._give_back_idle()  # the first call marks what has been used
        self._closing_at = time.monotonic()
        self._queues.wake()
        with suppress(asyncio.CancelledError):
            await beat
        with suppress(StoreError):
            await pump
        with suppress(StoreError):
            await self._off(lambda: self._database.write(lambda c: claims.end(c, self._run_id, void=False)))
        self._tasks = []
        self._thread.shutdown()
        self._database.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def reserve(self, accounts: Sequence[str], worst_usd: float) -> Reservation:
        """The right to spend `worst_usd` for all of these accounts (the key's, and WHOLE), or for none.

        Raises CapReached. It waits for the database only where what is at hand does not do; where no account has a
        cap, nothing is written. A call that costs nothing is always let in. Settle or release it, whatever becomes of
        the call.
        """
        self._running()
        names, worst = tuple(dict.fromkeys(accounts)), nano_up(worst_usd)
        assert worst >= 0, worst_usd
        hour_s = int(self._now_s()) // HOUR_S * HOUR_S
        if worst == 0:
            return self._reservation(names, (), 0, hour_s)
        if self._all_known(names):
            capped = tuple(name for name in names if name in self._capped)
            if self._hand.let_in(capped, hour_s, worst):
                return self._reservation(names, capped, worst, hour_s)
        reached = self._refusals.of(names, worst)
        if reached is not None:
            raise reached
        future: asyncio.Future[Reservation] = asyncio.get_running_loop().create_future()
        self._queues.ask(Asked(Ask(names, worst), future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._take_back(future.result())
            raise

    async def settle(self, reservation: Reservation, spent: Spent) -> None:
        """Book what the call cost, which is durable when this returns. The second time it does nothing.

        More than was reserved is booked in full, and counted as an overrun. Once called it is done, even where the
        caller is cancelled.
        """
        self.settle_soon(reservation, spent)
        future = self._open.get(reservation.number)
        if future is not None:
            await asyncio.shield(future)

    def settle_soon(self, reservation: Reservation, spent: Spent) -> None:
        """As `settle`, without waiting, so that a client gets its answer first: should the process be killed before it
        is booked, the call is presumed spent at its worst case. `close` waits for it."""
        self._running()
        if self._open.get(reservation.number, reservation) is None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._open[reservation.number] = future
            self._queues.settle(Settling(reservation, spent, future))

    async def release(self, reservation: Reservation) -> None:
        """Nothing was bought. After `settle` it does nothing."""
        self._take_back(reservation)

    async def totals(self, account: str, window: Window = "all") -> Totals:
        """An account in the current hour, day or in all, as all processes have booked it."""
        return (await self.all_totals(window, account)).get(account, Totals())

    async def all_totals(self, window: Window = "all", account: str | None = None) -> dict[str, Totals]:
        """Every account that has any."""
        hour_s = int(self._now_s()) // HOUR_S * HOUR_S
        return await self._read(lambda c: sql.totals(c, window, hour_s, account))

    async def history(self, account: str, hours: int) -> list[tuple[int, Totals]]:
        """(seconds since 1970 at which the hour began, what was settled) of the last hours with any, oldest first."""
        since_s = int(self._now_s()) // HOUR_S * HOUR_S - (hours - 1) * HOUR_S
        return await self._read(lambda c: sql.history(c, account, since_s))

    async def set_caps(self, account: str, caps: Caps) -> None:
        """Set all three caps. A call that was let in before counts, and is not stopped; here they hold from the next
        call on, in other processes within 5 seconds."""
        await self.change_caps(account, msgspec.structs.asdict(caps))

    async def change_caps(self, account: str, changes: Mapping[str, float | None]) -> None:
        """Set those that are named, as Caps names them; the others stay."""
        await self._off(lambda: self._database.write(lambda c: sql.change_caps(c, account, changes)))
        self._uncapped_until.pop(account, None)
        self._capped.discard(account)
        self._refusals.forget([account])

    async def caps(self) -> dict[str, Caps]:
        """Of every account that has any."""
        return await self._read(sql.caps)

    # -- one batch after the other

    async def _pump(self) -> None:
        try:
            while await self._queues.some(closing=lambda: self._closing_at is not None):
                taken = self._queues.take(self._hand, int(self._now_s()) // HOUR_S * HOUR_S)
                answer = None
                try:
                    answer = await self._book(taken)
                finally:
                    if answer is None:
                        self._queues.put_back(taken)
                if answer is not None:
                    self._deliver(taken, answer)
        finally:
            self._queues.fail(StoreError("the ledger is closed; what was not booked is presumed spent"))

    async def _book(self, taken: Taken) -> Answer | None:
        """None: it was not booked, and those who asked were told."""
        self._batch += 1
        number, now_s = self._batch, self._now_s()
        answers: list[Answer] = []
        began = time.monotonic()

        def work(connection: sa.Connection) -> Answer:
            answers[:] = [book(connection, self._run_id, number, taken.batch, now_s)]
            return answers[0]

        try:
            answer = await self._off(lambda: self._database.write(work))
        except StoreError as error:
            taken.refuse(error)
            booked = await self._was_booked(number, error)
            return answers[0] if booked else None
        self._failures = 0
        if len(taken.settling) > 1:  # with one at a time there is nothing to gain
            self._queues.rest(min(REST * (time.monotonic() - began), LONGEST_REST_S))
        return answer

    async def _was_booked(self, number: int, error: StoreError) -> bool:
        """After a failure: whether it came only after the commit. Asks until the database answers."""
        while True:
            self._failures += 1
            if self._closing_at is not None and time.monotonic() - self._closing_at > LAST_TRIES_S:
                raise error
            await asyncio.sleep(min(_RETRY_S[0] * 2 ** min(self._failures, 10), _RETRY_S[1]))
            try:
                return await self._read(lambda c: sql.last_batch(c, self._run_id)) == number
            except StoreError as still:
                self._queues.refuse(still)

    def _deliver(self, taken: Taken, answer: Answer) -> None:
        for reservation, _, future in taken.settling:
            self._refusals.forget(reservation.held)
            self._hand.settled(reservation.held, reservation.hour_s, reservation.worst_nano)
            del self._open[reservation.number]
            if not future.done():
                future.set_result(None)
        for asked, told in zip(taken.asked, answer.told, strict=True):
            self._tell(asked, told, answer.hour_s)
        self._hand.keep(answer.kept, answer.hour_s)
        self._hand.saw_left(answer.left)
        until = time.monotonic() + KNOWN_S
        for name in taken.batch.names():
            if name in answer.left:
                self._capped.add(name)
                self._uncapped_until.pop(name, None)
            else:
                self._capped.discard(name)
                self._uncapped_until[name] = until

    def _tell(self, asked: Asked, told: Granted | CapReached, hour_s: int) -> None:
        ask, future, again = asked
        if isinstance(told, CapReached):
            at_hand = self._hand.has(ask.accounts, hour_s)
            if at_hand and not again and not future.done():
                self._queues.ask(Asked(ask, future, again=True))
                return
            if not at_hand:
                self._refusals.saw(told, ask.worst)
            if not future.done():
                future.set_exception(told)
            return
        self._hand.promise(told.held, told.hour_s, ask.worst)
        reservation = self._reservation(ask.accounts, told.held, ask.worst, told.hour_s)
        if future.done():
            self._take_back(reservation)
        else:
            future.set_result(reservation)

    # -- the rest

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._give_back_idle()
            try:
                now_ns, capped = await self._off(lambda: self._database.write(lambda c: sql.beat(c, self._run_id)))
            except StoreError as error:
                self._away = str(error)
                continue
            self._away = ""
            self._ahead_ns = now_ns - time.monotonic_ns()
            until = time.monotonic() + KNOWN_S
            self._uncapped_until = {name: until for name in self._uncapped_until if name not in capped}

    def _give_back_idle(self) -> None:
        for at in self._hand.idle():
            self._queues.free(at, self._hand.give(at))

    def _reservation(self, names: tuple[str, ...], held: tuple[str, ...], worst: int, hour_s: int) -> Reservation:
        number = next(self._numbers)
        self._open[number] = None
        return Reservation(number, self._run_id, names, held, worst, hour_s)

    def _take_back(self, reservation: Reservation) -> None:
        if self._open.get(reservation.number, reservation) is None:
            del self._open[reservation.number]
            self._refusals.forget(reservation.held)
            self._hand.took_back(reservation.held, reservation.hour_s, reservation.worst_nano)

    def _all_known(self, names: Sequence[str]) -> bool:
        now = time.monotonic()
        return all(name in self._capped or self._uncapped_until.get(name, 0.0) > now for name in names)

    def _now_s(self) -> float:
        return (time.monotonic_ns() + self._ahead_ns) / 10**9

    def _running(self) -> None:
        if not self._tasks or self._closing_at is not None or self._tasks[0].done():
            raise StoreError(f"store {self._database.shown}: the ledger is closed; open it first")

    async def _read(self, work: Callable[[sa.Connection], T]) -> T:
        def reading() -> T:
            with self._database.read() as connection:
                return work(connection)

        return await asyncio.to_thread(reading)

    async def _off(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
