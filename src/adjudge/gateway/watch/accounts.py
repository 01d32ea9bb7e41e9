"""What every account has spent against its caps, as the ledger has it: for the page's table of budgets."""

from collections.abc import Mapping

import msgspec

from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import WHOLE, WINDOWS, Caps, Totals, Window

ROUTE = "route:"
AUDIT = "audit"


class Spending(msgspec.Struct, frozen=True):
    """Dollars in a window: settled with what is presumed spent, reserved for calls being made, and the cap."""

    usd: float
    reserved_usd: float
    cap_usd: float | None


class Account(msgspec.Struct, frozen=True):
    """`kind`: all | key | audit. `name`: of the key."""

    id: str
    kind: str
    name: str
    judgments: int
    hour: Spending
    day: Spending
    all: Spending


async def accounts(ledger: Ledger, names: Mapping[str, str]) -> list[Account]:
    """Every account that has spent anything or has a cap, the whole first; those of routers are no budgets in dollars.

    `names`: of the keys, by id. Raises StoreError.
    """
    totals = {window: await ledger.all_totals(window) for window in WINDOWS}
    caps = await ledger.caps()
    found = {WHOLE, *caps, *totals["all"]}
    return [
        _account(one, names, totals, caps.get(one, Caps()))
        for one in sorted(found, key=lambda one: (one != WHOLE, names.get(one, one)))
        if not one.startswith(ROUTE)
    ]


def _account(one: str, names: Mapping[str, str], totals: Mapping[Window, Mapping[str, Totals]], caps: Caps) -> Account:
    def spending(window: Window, cap_usd: float | None) -> Spending:
        told = totals[window].get(one, Totals())
        return Spending(told.usd + told.presumed_usd, told.reserved_usd, cap_usd)

    kind = {WHOLE: "all", AUDIT: "audit"}.get(one, "key")
    return Account(
        id=one,
        kind=kind,
        name=names.get(one, ""),
        judgments=totals["all"].get(one, Totals()).judgments,
        hour=spending("hour", caps.hour_usd),
        day=spending("day", caps.day_usd),
        all=spending("all", caps.total_usd),
    )
