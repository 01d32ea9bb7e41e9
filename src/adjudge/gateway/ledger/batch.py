"""What is asked of the ledger at the same time, decided in one go: pure, in nano-dollars.

A batch first books what was settled and takes back what is no longer held, then lets in those who ask, in the order in
which they came, each whole (all its accounts) or not at all. Last, the process takes something to keep at hand, from
which it can let the next calls in by itself: at most 1/SHARE of what is left, so that near a cap nobody is refused for
what another process merely keeps.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from adjudge.errors import CapReached
from adjudge.gateway.ledger.account import Account, booked, fits, refusal, rolled, room
from adjudge.gateway.ledger.values import HOUR_S, Window

SHARE = 64

At = tuple[str, int]
"""An account, and the hour (seconds since 1970) in which something of it was reserved."""


class Booking(NamedTuple):
    """What was settled."""

    spent: int = 0
    overrun: int = 0
    overruns: int = 0
    units: float = 0.0
    judgments: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    def plus(self, other: "Booking") -> "Booking":
        spent, overrun, overruns, units, judgments, prompt_tokens, output_tokens = other
        return Booking(
            self.spent + spent,
            self.overrun + overrun,
            self.overruns + overruns,
            self.units + units,
            self.judgments + judgments,
            self.prompt_tokens + prompt_tokens,
            self.output_tokens + output_tokens,
        )


class Ask(NamedTuple):
    accounts: tuple[str, ...]
    worst: int


class Batch(NamedTuple):
    """`freed`: by how much less is held. `wanted`: what this process would like to keep at hand besides, by account."""

    bookings: Mapping[At, Booking] = {}
    freed: Mapping[At, int] = {}
    asks: Sequence[Ask] = ()
    wanted: Mapping[str, int] = {}

    def names(self) -> set[str]:
        asked = (name for ask in self.asks for name in ask.accounts)
        return {*(name for name, _ in self.bookings), *(name for name, _ in self.freed), *asked, *self.wanted}


class Granted(NamedTuple):
    """`held`: the accounts of the call that have a cap."""

    hour_s: int
    held: tuple[str, ...]


class Answer(NamedTuple):
    """`told`: one for each ask. `kept`: what was taken to keep at hand. `changes`: how what is held has changed.
    `left`: of each account with a cap, what may still be reserved."""

    told: list[Granted | CapReached]
    hour_s: int
    kept: dict[str, int]
    changes: dict[At, int]
    left: dict[str, int]


def decide(
    batch: Batch, accounts: dict[str, Account], now_s: float, presumed: Mapping[tuple[str, Window], int]
) -> tuple[dict[str, Account], Answer]:
    """The accounts after the batch, and what is answered. An account that is not among `accounts` has no caps."""
    hour_s = max([int(now_s) // HOUR_S * HOUR_S, *(account.hour_s for account in accounts.values())])
    state = {name: rolled(account, hour_s) for name, account in accounts.items()}
    changes: dict[At, int] = {}

    def change(at: At, *, spent: int = 0, held: int = 0) -> None:
        name, of_hour = at
        if name in state:
            state[name] = booked(state[name], of_hour, spent=spent, held=held)
        if held:
            changes[at] = changes.get(at, 0) + held

    for at, amount in batch.freed.items():
        change(at, held=-amount)
    for at, booking in batch.bookings.items():
        change(at, spent=booking.spent)
    told: list[Granted | CapReached] = []
    for ask in batch.asks:
        capped = tuple(name for name in ask.accounts if name in state and room(state[name]) is not None)
        if all(fits(state[name], ask.worst) for name in capped):
            for name in capped:
                change((name, hour_s), held=ask.worst)
            told.append(Granted(hour_s, capped))
        else:
            told.append(refusal((state[name] for name in capped), ask.worst, now_s, presumed))
    kept, refused = {}, _refused(batch.asks, told)
    for name, wanted in batch.wanted.items():
        if name in refused:
            continue
        left = room(state[name]) if name in state else None
        take = min(wanted, left // SHARE) if left is not None else 0
        if take > 0:
            change((name, hour_s), held=take)
            kept[name] = take
    rooms = {name: left for name, account in state.items() if (left := room(account)) is not None}
    return state, Answer(told, hour_s, kept, changes, rooms)


def _refused(asks: Sequence[Ask], told: Sequence[Granted | CapReached]) -> set[str]:
    """Accounts for which some asked and nobody was let in: there is no use in keeping anything of them at hand."""
    let_in = {name for one in told if isinstance(one, Granted) for name in one.held}
    return {name for ask in asks for name in ask.accounts} - let_in
