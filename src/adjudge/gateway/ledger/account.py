"""One account's budget as a value: what a call may still reserve, and what booking changes. Pure, in nano-dollars.

Problem: in every window w of the account, spent_w + held_w <= cap_w at every moment, where `held` is what processes
have taken for calls that are not settled. A reservation counts in the hour and day in which it was made, whenever it is
settled, so settling moves an amount from `held` to `spent` of the same windows and can pass no cap.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from adjudge.errors import CapReached
from adjudge.gateway.ledger.values import DAY_S, HOUR_S, WINDOWS, Window

SOON_S = 1.0
"""When to try again where only calls in flight are in the way."""


class Amount(NamedTuple):
    spent: int = 0
    held: int = 0


class Account(NamedTuple):
    """`hour_s` is the hour, and says the day, that `hour` and `day` count; the caps are None where there is none."""

    name: str
    hour_cap: int | None
    day_cap: int | None
    all_cap: int | None
    hour_s: int
    hour: Amount = Amount()
    day: Amount = Amount()
    all: Amount = Amount()

    def of(self, window: Window) -> tuple[Amount, int | None]:
        """What is counted in a window, and its cap."""
        match window:
            case "hour":
                return self.hour, self.hour_cap
            case "day":
                return self.day, self.day_cap
            case "all":
                return self.all, self.all_cap


def day_of(hour_s: int) -> int:
    return hour_s - hour_s % DAY_S


def starts_s(window: Window, hour_s: int) -> int:
    """When the window began that this hour lies in."""
    return {"hour": hour_s, "day": day_of(hour_s), "all": 0}[window]


def rolled(account: Account, hour_s: int) -> Account:
    """The account in this hour; an hour that is over by the account's count is never gone back to."""
    if hour_s <= account.hour_s:
        return account
    day = account.day if day_of(hour_s) == day_of(account.hour_s) else Amount()
    return account._replace(hour_s=hour_s, hour=Amount(), day=day)


def booked(account: Account, hour_s: int, *, spent: int = 0, held: int = 0) -> Account:
    """The account after what was reserved in `hour_s` has changed by these amounts."""

    def changed(amount: Amount) -> Amount:
        return Amount(amount.spent + spent, amount.held + held)

    return account._replace(
        hour=changed(account.hour) if hour_s == account.hour_s else account.hour,
        day=changed(account.day) if day_of(hour_s) == day_of(account.hour_s) else account.day,
        all=changed(account.all),
    )


def room(account: Account) -> int | None:
    """What may still be reserved now, None where no cap is set. Below 0 when a call overran or a cap was lowered."""
    rooms = [cap - sum(amount) for amount, cap in map(account.of, WINDOWS) if cap is not None]
    return min(rooms, default=None)


def fits(account: Account, worst: int) -> bool:
    left = room(account)
    return left is None or worst <= left


def refusal(
    accounts: Iterable[Account], worst: int, now_s: float, presumed: Mapping[tuple[str, Window], int]
) -> CapReached:
    """Why a call of this worst case does not fit: of the windows in the way the one that is so for longest.

    `presumed`: how much of what is held, by account and window, processes held that died; it is never given back.
    """
    found: list[tuple[float, str, Window]] = []
    for account in accounts:
        for window in WINDOWS:
            amount, cap = account.of(window)
            if cap is not None and sum(amount) + worst > cap:
                lost = amount.spent + presumed.get((account.name, window), 0)
                found.append((_wait_s(window, account, lost + worst <= cap, worst <= cap, now_s), account.name, window))
    wait_s, name, window = max(found, key=lambda one: (one[0], WINDOWS.index(one[2])))
    return CapReached(name, window, None if wait_s == float("inf") else wait_s)


def _wait_s(window: Window, account: Account, fits_soon: bool, fits_ever: bool, now_s: float) -> float:
    if fits_soon:
        return SOON_S
    if window == "all" or not fits_ever:
        return float("inf")
    length = HOUR_S if window == "hour" else DAY_S
    return max(starts_s(window, account.hour_s) + length - now_s, SOON_S)
