"""Who waits for the ledger: calls that ask for room, and calls that are over; taken together, a batch at a time."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from adjudge.errors import StoreError
from adjudge.gateway.ledger.batch import Ask, At, Batch, Booking
from adjudge.gateway.ledger.hand import Hand
from adjudge.gateway.ledger.values import NANO, Reservation, Spent


class Asked(NamedTuple):
    """`again`: it was refused, though something was at hand; that is now given back first."""

    ask: Ask
    future: asyncio.Future[Reservation]
    again: bool = False


class Settling(NamedTuple):
    reservation: Reservation
    spent: Spent
    future: asyncio.Future[None]


class Taken(NamedTuple):
    asked: list[Asked]
    settling: list[Settling]
    freed: dict[At, int]  # besides what is settled
    batch: Batch

    def refuse(self, error: StoreError) -> None:
        """Tell those who asked that the database failed."""
        for _, future, _ in self.asked:
            if not future.done():
                future.set_exception(error)


class Queues:
    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._settling: list[Settling] = []
        self._freed: dict[At, int] = {}
        self._some = asyncio.Event()
        self._urgent = asyncio.Event()
        self._rest_until = 0.0

    def ask(self, asked: Asked) -> None:
        self._asked.append(asked)
        self._some.set()
        self._urgent.set()

    def settle(self, settling: Settling) -> None:
        self._settling.append(settling)
        self._some.set()

    def free(self, at: At, amount: int) -> None:
        self._freed[at] = self._freed.get(at, 0) + amount
        self._some.set()

    def wake(self) -> None:
        self._some.set()
        self._urgent.set()

    def rest(self, seconds: float) -> None:
        """Let what nobody waits for to make a call come together for so long."""
        self._rest_until = time.monotonic() + seconds

    async def some(self, closing: Callable[[], bool]) -> bool:
        """Wait until there is something; False when there is nothing and nothing more will come."""
        if not closing():
            await self._some.wait()
        early_s = self._rest_until - time.monotonic()
        if early_s > 0 and not self._asked and not closing():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), early_s)
        return bool(self._asked or self._settling or self._freed) or not closing()

    def take(self, hand: Hand, hour_s: int) -> Taken:
        """All that waits, as one batch. What it gives back is at hand no longer."""
        asked, self._asked = self._asked, []
        settling, self._settling = self._settling, []
        freed, self._freed = self._freed, {}
        self._some.clear()
        self._urgent.clear()
        bookings, settled = _sums(settling)
        wanted = {name: hand.open((name, hour_s)) for ask, _, _ in asked for name in ask.accounts}
        for ask, _, again in asked:
            for name in ask.accounts:
                wanted[name] += ask.worst
                if again:
                    _add(freed, (name, hour_s), hand.give((name, hour_s)))
        for name, of_hour in settled:
            if name in wanted:
                continue
            if of_hour != hour_s:
                _add(freed, (name, of_hour), hand.give((name, of_hour)))
                continue
            wish = hand.wish(name, hour_s)
            if wish < 0:
                _add(freed, (name, hour_s), hand.give((name, hour_s), -wish))
            elif wish > 0:
                wanted[name] = wish
        both = dict(freed)
        for at, worst in settled.items():
            _add(both, at, worst)
        return Taken(asked, settling, freed, Batch(bookings, both, [ask for ask, _, _ in asked], wanted))

    def put_back(self, taken: Taken) -> None:
        """A batch that was not booked: settle it with the next one."""
        self._settling[:0] = taken.settling
        for at, amount in taken.freed.items():
            _add(self._freed, at, amount)
        self._some.set()

    def refuse(self, error: StoreError) -> None:
        """The database does not answer: tell those who ask."""
        asked, self._asked = self._asked, []
        for _, future, _ in asked:
            if not future.done():
                future.set_exception(error)

    def fail(self, error: StoreError) -> None:
        """Nothing is booked any more."""
        self.refuse(error)
        for _, _, settled in self._settling:
            if not settled.done():
                settled.set_exception(error)
                settled.exception()  # seen, also where nobody waits for it
        self._settling = []


def _sums(settling: list[Settling]) -> tuple[dict[At, Booking], dict[At, int]]:
    """What is to be booked and what is no longer reserved, by account and hour."""
    bookings: dict[At, Booking] = {}
    settled: dict[At, int] = {}
    for reservation, spent, _ in settling:
        usd, units, judgments, prompt_tokens, output_tokens = spent
        nano = round(usd * NANO)
        assert nano >= 0, spent
        over = max(nano - reservation.worst_nano, 0)
        booking = Booking(nano, over, int(over > 0), units, judgments, prompt_tokens, output_tokens)
        for name in reservation.accounts:
            at = (name, reservation.hour_s)
            bookings[at] = bookings[at].plus(booking) if at in bookings else booking
        for name in reservation.held:
            _add(settled, (name, reservation.hour_s), reservation.worst_nano)
    return bookings, settled


def _add(amounts: dict[At, int], at: At, amount: int) -> None:
    if amount:
        amounts[at] = amounts.get(at, 0) + amount
