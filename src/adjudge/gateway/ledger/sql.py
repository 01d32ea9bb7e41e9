"""The ledger's statements: each runs in the transaction of `connection`."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.gateway.ledger.account import Account, Amount, day_of, starts_s
from adjudge.gateway.ledger.batch import At, Booking
from adjudge.gateway.ledger.values import DAY_S, HOUR_S, NANO, WINDOWS, Caps, Totals, Window
from adjudge.store import claims
from adjudge.store.keep import now_ns
from adjudge.store.schema import ledger_accounts, ledger_batches, ledger_holds, ledger_hours, runs
from adjudge.store.statements import among, insert_rows, is_postgresql

_ACCOUNT = tuple(c.name for c in ledger_accounts.c)
_HOUR = tuple(c.name for c in ledger_hours.c)
_HOLD = tuple(c.name for c in ledger_holds.c)
_CAPS, _AMOUNTS = _ACCOUNT[1:4], _ACCOUNT[5:]
_SUMS = _HOUR[2:]
_LONGEST = 1 << 62

_SET_ACCOUNT = "ON CONFLICT (account) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in ("hour_s", *_AMOUNTS)
)
_ADD_HOUR = "ON CONFLICT (account, hour_s) DO UPDATE SET " + ", ".join(
    f"{name} = ledger_hours.{name} + excluded.{name}" for name in _SUMS
)
_ADD_HOLD = (
    "ON CONFLICT (run_id, account, hour_s) DO UPDATE SET "
    "held = ledger_holds.held + excluded.held, presumed = excluded.presumed"
)
_SET_BATCH = "ON CONFLICT (run_id) DO UPDATE SET batch = excluded.batch"
_LOCKED = "SELECT {} FROM ledger_accounts WHERE account {}"
_LOCKED_SQLITE = _LOCKED.format(", ".join(_ACCOUNT), "IN (SELECT value FROM json_each(?))")
_LOCKED_POSTGRESQL = _LOCKED.format(", ".join(_ACCOUNT), "= ANY(%s) ORDER BY account FOR UPDATE")  # no deadlock


def locked(connection: Connection, names: Collection[str]) -> dict[str, Account]:
    """The accounts with caps among these, which no other transaction changes before this one ends."""
    if is_postgresql(connection):
        found = connection.exec_driver_sql(_LOCKED_POSTGRESQL, (list(names),))
    else:
        found = connection.exec_driver_sql(_LOCKED_SQLITE, (msgspec.json.encode(list(names)).decode(),))
    return {row[0]: _account(row) for row in found}


def put_accounts(connection: Connection, accounts: Collection[Account]) -> None:
    """Write the amounts of accounts that are locked; caps stay as they are."""
    new = [(*account[:5], *account.hour, *account.day, *account.all) for account in accounts]
    insert_rows(connection, ledger_accounts, _ACCOUNT, new, _SET_ACCOUNT)


def add_bookings(connection: Connection, bookings: Mapping[At, Booking]) -> None:
    new = [(*at, *booking) for at, booking in sorted(bookings.items())]
    insert_rows(connection, ledger_hours, _HOUR, new, _ADD_HOUR)


def add_spent_to_new(connection: Connection, bookings: Mapping[At, Booking]) -> None:
    """Count what was booked for accounts that had no row when they were looked for, but have got one since.

    `set_caps` counts what was booked before it; it and `add_bookings` wait for each other.
    """
    for (name, hour_s), booking in bookings.items():
        c, spent = ledger_accounts.c, booking.spent
        same_day = sa.and_(c.hour_s >= day_of(hour_s), c.hour_s < day_of(hour_s) + DAY_S)
        adding = sa.update(ledger_accounts).where(c.account == name)
        connection.execute(
            adding.values(
                hour_spent=c.hour_spent + sa.case((c.hour_s == hour_s, spent), else_=0),
                day_spent=c.day_spent + sa.case((same_day, spent), else_=0),
                all_spent=c.all_spent + spent,
            )
        )


def add_holds(connection: Connection, run_id: int, changes: Mapping[At, int]) -> None:
    new = [(run_id, *at, held, False) for at, held in sorted(changes.items()) if held]
    insert_rows(connection, ledger_holds, _HOLD, new, _ADD_HOLD)


def set_batch(connection: Connection, run_id: int, number: int) -> None:
    insert_rows(connection, ledger_batches, ("run_id", "batch"), [(run_id, number)], _SET_BATCH)


def last_batch(connection: Connection, run_id: int) -> int:
    last = sa.select(ledger_batches.c.batch).where(ledger_batches.c.run_id == run_id)
    return int(connection.execute(last).scalar_one())


def begin(connection: Connection) -> tuple[int, int]:
    """A new run of this process, and the time."""
    run_id = claims.begin(connection, "serve")
    insert_rows(connection, ledger_batches, ("run_id", "batch"), [(run_id, 0)])
    presume(connection)
    return run_id, now_ns(connection)


def beat(connection: Connection, run_id: int) -> tuple[int, set[str]]:
    """A sign of life; what dead processes held is marked as spent. The time, and which accounts have caps."""
    now = now_ns(connection)
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(heartbeat_ns=now))
    connection.execute(sa.delete(ledger_holds).where(ledger_holds.c.run_id == run_id, ledger_holds.c.held == 0))
    presume(connection)
    with_caps = sa.or_(*(ledger_accounts.c[name].is_not(None) for name in _CAPS))
    return now, set(connection.execute(sa.select(ledger_accounts.c.account).where(with_caps)).scalars())


def presume(connection: Connection) -> None:
    """Mark what processes held that died. It goes on counting; should one of them be alive after all, cut off for a
    while, it settles its calls as any other."""
    holding = sa.select(ledger_holds.c.run_id).where(~ledger_holds.c.presumed, ledger_holds.c.held != 0).distinct()
    dead = claims.dead_among(connection, set(connection.execute(holding).scalars()))
    if dead:
        lost = sa.update(ledger_holds).where(ledger_holds.c.run_id.in_(sorted(dead)))
        connection.execute(lost.values(presumed=True))


def presumed(connection: Connection, names: Collection[str], hour_s: int) -> dict[tuple[str, Window], int]:
    """What is presumed spent in the windows of this hour."""
    held = sa.select(ledger_holds.c.account, ledger_holds.c.hour_s, ledger_holds.c.held)
    held = held.where(ledger_holds.c.presumed, among(connection, ledger_holds.c.account, names))
    found: dict[tuple[str, Window], int] = {}
    for name, of_hour, amount in connection.execute(held):
        for window in WINDOWS:
            if starts_s(window, of_hour) == starts_s(window, hour_s):
                found[name, window] = found.get((name, window), 0) + amount
    return found


def set_caps(connection: Connection, account: str, caps: Caps) -> None:
    """Set an account's caps; with its first ones, what it has spent before them starts to count."""
    values = dict(zip(_CAPS, caps.nano(), strict=True))
    changing = sa.update(ledger_accounts).where(ledger_accounts.c.account == account).values(values)
    if connection.execute(changing).rowcount:
        return
    if is_postgresql(connection):
        connection.execute(sa.text("LOCK TABLE ledger_hours IN SHARE MODE"))
    hour_s = now_ns(connection) // 10**9 // HOUR_S * HOUR_S
    spent = {w: totals(connection, w, hour_s, account).get(account, Totals()).usd for w in WINDOWS}
    hour, day, everything = (Amount(round(spent[window] * NANO)) for window in WINDOWS)
    new = (account, *caps.nano(), hour_s, *hour, *day, *everything)
    insert_rows(connection, ledger_accounts, _ACCOUNT, [new])


def change_caps(connection: Connection, account: str, changes: Mapping[str, float | None]) -> Caps:
    """Set those of an account's caps that are named, as Caps names them; the others stay. What they are now."""
    locked(connection, [account])  # who changes another one at the same time waits
    after = msgspec.structs.replace(caps(connection).get(account, Caps()), **changes)
    set_caps(connection, account, after)
    return after


def caps(connection: Connection) -> dict[str, Caps]:
    """The caps of every account that has any."""
    found = connection.execute(sa.select(ledger_accounts.c.account, *(ledger_accounts.c[name] for name in _CAPS)))
    return {name: Caps(*(None if cap is None else cap / NANO for cap in given)) for name, *given in found}


def totals(connection: Connection, window: Window, hour_s: int, account: str | None = None) -> dict[str, Totals]:
    """Every account, or one, in the window that this hour lies in."""
    start = starts_s(window, hour_s)
    end = start + {"hour": HOUR_S, "day": DAY_S, "all": _LONGEST}[window]
    sums = (sa.func.sum(ledger_hours.c[name]) for name in _SUMS)
    settled = sa.select(ledger_hours.c.account, *sums).group_by(ledger_hours.c.account)
    settled = settled.where(ledger_hours.c.hour_s >= start, ledger_hours.c.hour_s < end)
    h = ledger_holds.c
    held = sa.select(h.account, h.presumed, sa.func.sum(h.held)).group_by(h.account, h.presumed)
    held = held.where(h.hour_s >= start, h.hour_s < end)
    if account is not None:
        settled, held = settled.where(ledger_hours.c.account == account), held.where(h.account == account)
    found = {name: _totals(Booking(*sums)) for name, *sums in connection.execute(settled)}
    for name, is_presumed, amount in connection.execute(held):
        usd, known = int(amount) / NANO, found.get(name, Totals())
        found[name] = known._replace(presumed_usd=usd) if is_presumed else known._replace(reserved_usd=usd)
    return found


def history(connection: Connection, account: str, since_s: int) -> list[tuple[int, Totals]]:
    """What an account settled in every hour since then in which it did, oldest first."""
    c = ledger_hours.c
    rows = sa.select(c.hour_s, *(c[name] for name in _SUMS)).where(c.account == account, c.hour_s >= since_s)
    return [(hour_s, _totals(Booking(*sums))) for hour_s, *sums in connection.execute(rows.order_by(c.hour_s))]


def _totals(booking: Booking) -> Totals:
    b = booking
    return Totals(
        usd=int(b.spent) / NANO,  # PostgreSQL sums whole numbers into a Decimal
        overrun_usd=int(b.overrun) / NANO,
        overruns=int(b.overruns),
        units=float(b.units),
        judgments=int(b.judgments),
        prompt_tokens=int(b.prompt_tokens),
        output_tokens=int(b.output_tokens),
    )


def _account(row: Sequence[Any]) -> Account:
    name, hour_cap, day_cap, all_cap, hour_s, *amounts = row
    hour, day, everything = Amount(*amounts[:2]), Amount(*amounts[2:4]), Amount(*amounts[4:])
    return Account(name, hour_cap, day_cap, all_cap, hour_s, hour, day, everything)
