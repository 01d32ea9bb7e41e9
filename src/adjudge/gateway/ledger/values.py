"""What goes into the ledger and comes out of it.

Amounts of money are whole nano-dollars inside (`*_nano`): integers add up the same in any order and on any database,
and what was reserved and given back a million times is zero again. A worst case is rounded up, a cap down.
"""

import math
from typing import Literal, NamedTuple

import msgspec

from adjudge.errors import ConfigError

NANO = 10**9
HOUR_S, DAY_S = 3600, 86400
WHOLE = ""
"""The account of the service as a whole."""

Window = Literal["hour", "day", "all"]
WINDOWS: tuple[Window, ...] = ("hour", "day", "all")


class Spent(NamedTuple):
    """What one call, or one judgment of several calls, cost. `units`: in the router's unit of cost, for pacing."""

    usd: float
    units: float = 0.0
    judgments: int = 1
    prompt_tokens: int = 0
    output_tokens: int = 0


class Caps(msgspec.Struct, frozen=True):
    """Hard caps of one account in dollars, None for none. Hours and days are calendar ones in UTC.

    Raises ConfigError where a cap is negative or no number.
    """

    hour_usd: float | None = None
    day_usd: float | None = None
    total_usd: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            cap = getattr(self, name)
            if cap is not None and not 0 <= cap < 2**63 / NANO:
                raise ConfigError(f"{name} is {cap:g}; a cap is a number of dollars, 0 or more")

    def nano(self) -> tuple[int | None, int | None, int | None]:
        """Of the hour, the day and all, in the order of WINDOWS."""
        hour, day, total = (
            None if usd is None else nano_down(usd) for usd in (self.hour_usd, self.day_usd, self.total_usd)
        )
        return hour, day, total


class Totals(NamedTuple):
    """An account in a window. What counts against its cap is usd + presumed_usd + reserved_usd."""

    usd: float = 0.0  # settled
    reserved_usd: float = 0.0  # worst cases of calls that are being made, and what processes keep at hand for the next
    presumed_usd: float = 0.0  # what processes that died had reserved: counted as spent, since it may have been billed
    overrun_usd: float = 0.0  # by how much settled calls passed their worst cases; part of `usd`
    overruns: int = 0  # how many did
    units: float = 0.0
    judgments: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


class Reservation(NamedTuple):
    """The right to spend `worst_nano` for `accounts`. It counts in the hour and the day in which it was made, whenever
    it is settled. `held` are the accounts that have a cap."""

    number: int
    run_id: int
    accounts: tuple[str, ...]
    held: tuple[str, ...]
    worst_nano: int
    hour_s: int

    @property
    def worst_usd(self) -> float:
        return self.worst_nano / NANO


def nano_up(usd: float) -> int:
    """Dollars as nano-dollars, rounded up, but for the noise of the last binary digit.

    >>> nano_up(0.0007), nano_up(1e-10)
    (700000, 1)
    """
    return math.ceil(round(usd * NANO, 3))


def nano_down(usd: float) -> int:
    return math.floor(round(usd * NANO, 3))
