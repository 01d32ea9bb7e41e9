"""What tests of the gateway's ledger share: running one, and looking at its tables from outside."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from adjudge.errors import CapReached
from adjudge.gateway.ledger.account import starts_s
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import WINDOWS, Reservation, Totals
from adjudge.store import migrate
from adjudge.store.engine import Database
from adjudge.store.schema import gateway_keys, ledger_accounts, ledger_batches, ledger_holds, ledger_hours, runs

T = TypeVar("T")
_numbers = itertools.count()
_TABLES = (ledger_accounts, ledger_hours, ledger_holds, ledger_batches, gateway_keys, runs)


@pytest.fixture(
    name="made_once", scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def fixture_made_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store of each kind for all tests of a module: making one takes longer than most of them."""
    if request.param == "sqlite":
        url = str(tmp_path_factory.mktemp("ledger") / "store.db")
    else:
        import psycopg

        server = str(request.getfixturevalue("postgres_server"))
        name = f"m{next(_numbers)}"
        with psycopg.connect(server) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        url = f"{server}&options=-csearch_path%3D{name}"
    database = Database(url)
    migrate.ready(database, create=True)
    database.close()
    yield url


@pytest.fixture(name="ledger_url")
def fixture_ledger_url(made_once: str) -> str:
    """A store of each kind in which the gateway never did anything."""

    def empty(connection: sa.Connection) -> None:
        for table in _TABLES:
            connection.execute(sa.delete(table))

    database = Database(made_once)
    database.write(empty)
    database.close()
    return made_once


def with_ledger(url: str, use: Callable[[Ledger], Awaitable[T]]) -> T:
    """What `use` gives, between the opening and the closing of a ledger."""

    async def main() -> T:
        async with Ledger(url) as ledger:
            return await use(ledger)

    return asyncio.run(main())


async def reserved_until_full(ledger: Ledger, account: str, worst_usd: float) -> tuple[list[Reservation], CapReached]:
    held: list[Reservation] = []
    while len(held) < 1000:
        try:
            held.append(await ledger.reserve([account], worst_usd))
        except CapReached as reached:
            return held, reached
    raise AssertionError("the cap is never reached")


def counting(totals: Totals) -> float:
    """What counts against a cap."""
    return totals.usd + totals.reserved_usd + totals.presumed_usd


async def refused(asking: Coroutine[Any, Any, Reservation]) -> CapReached:
    try:
        await asking
    except CapReached as reached:
        return reached
    raise AssertionError("it was let in")


def assert_books_agree(url: str) -> None:
    """Every account's row says what the sums over the hours and the holds say, and no cap is passed.

    Not to be used where a call overran or a cap was lowered.
    """
    database = Database(url)
    try:
        with database.read() as connection:
            assert_books_agree_by(connection)
    finally:
        database.close()


def assert_books_agree_by(connection: sa.Connection) -> None:
    rows = connection.execute(sa.select(ledger_accounts)).mappings().all()
    hours = connection.execute(sa.select(ledger_hours)).mappings().all()
    holds = connection.execute(sa.select(ledger_holds)).mappings().all()
    assert all(hold["held"] >= 0 for hold in holds)
    for row in rows:
        for window in WINDOWS:
            inside = [
                [x for x in found if x["account"] == row["account"] and _same(window, x["hour_s"], row["hour_s"])]
                for found in (hours, holds)
            ]
            spent, held = sum(x["spent"] for x in inside[0]), sum(x["held"] for x in inside[1])
            assert (row[f"{window}_spent"], row[f"{window}_held"]) == (spent, held), (row["account"], window)
            cap = row[f"{window}_cap"]
            assert cap is None or spent + held <= cap


def _same(window: Any, hour_s: int, other_s: int) -> bool:
    return starts_s(window, hour_s) == starts_s(window, other_s)
