"""A database by URL: connecting, transactions that wait and try again, and every failure as one StoreError.

SQLite runs in WAL; a write takes the write lock at its start (BEGIN IMMEDIATE), so two writers queue and neither fails
half-way. It syncs at checkpoints (synchronous = NORMAL): a killed process loses nothing that was committed, a power
cut may lose the last seconds, in whole transactions. On PostgreSQL two writers can pass each other: what they trip over
(a deadlock, the same row inserted twice) is undone and tried again.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine

from adjudge.errors import MissingExtra, StoreError

LOCK_WAIT_S = 300
CONNECT_TIMEOUT_S = 10
# A server that vanishes from the network is noticed after about half a minute; by default it may take a quarter of an
# hour. What takes the server long does not count: its machine goes on to answer.
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
TRIES = 8

T = TypeVar("T")
_WRITE = "adjudge_write"
_TRY_AGAIN = {"40001", "40P01", "23505"}  # PostgreSQL: serialization failure, deadlock, unique violation
_SQLITE_FAULTS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and run again, what was written is whole",
    sqlite3.SQLITE_READONLY: "is read-only; make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; the folder must be there and writable",
    sqlite3.SQLITE_BUSY: f"was locked by another process for over {LOCK_WAIT_S} s; end it, or use PostgreSQL",
    sqlite3.SQLITE_LOCKED: f"was locked by another process for over {LOCK_WAIT_S} s; end it, or use PostgreSQL",
    sqlite3.SQLITE_NOTADB: "is no SQLite database; give another path",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore a copy, or rescue what is left with `sqlite3 FILE .recover`",
    sqlite3.SQLITE_IOERR: "cannot be read or written; look at the disk",
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class StoreBusy(StoreError):
    """The store was locked by another process for longer than a write waits."""


class Database:
    """One database. `shown` names it in messages, without its password."""

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.path = Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
        self.shown = str(self.path) if self.path else without_password(url)
        self._passwords = [str(p) for p in (parsed.password, parsed.query.get("password")) if p]
        self.engine = _sqlite(parsed) if self.path else _postgresql(parsed)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the store, however long it reads."""
        with self._faults(), self.engine.connect() as connection:
            if self.path is None:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    def write(self, work: Callable[[Connection], T], *, once: bool = False) -> T:
        """Run `work` in one transaction, again from its start where another writer was in the way; not if `once`."""
        tries = 1 if once else TRIES
        for attempt in range(1, tries + 1):
            with self._faults():
                try:
                    with self.engine.connect().execution_options(**{_WRITE: True}) as connection, connection.begin():
                        return work(connection)
                except exc.DBAPIError as error:
                    if attempt == tries or getattr(error.orig, "sqlstate", None) not in _TRY_AGAIN:
                        raise
            time.sleep(0.01 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def pragma(self, text: str) -> Any:
        """The answer to an SQLite PRAGMA, run outside of a transaction."""
        with self._faults(), self.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            answer = driver.execute(f"PRAGMA {text}").fetchone()
            return answer and answer[0]

    def close(self) -> None:
        self.engine.dispose()

    def error(self, what: str) -> StoreError:
        return StoreError(f"store {self.shown}: {what}")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (exc.SQLAlchemyError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, exc.DBAPIError) else error
            kind = StoreBusy if _sqlite_code(cause) in _BUSY else StoreError
            raise kind(f"store {self.shown}: {self._explain(cause)}") from None
        except UnicodeEncodeError:
            raise self.error("a text holds half a surrogate pair, which is no Unicode; repair the text") from None
        except OverflowError:
            raise self.error("a count is beyond 64 bits; repair the number") from None

    def _explain(self, error: BaseException | None) -> str:
        known = _SQLITE_FAULTS.get(_sqlite_code(error))
        if known:
            return known
        if getattr(error, "sqlstate", None) in _TRY_AGAIN:
            return "another process wrote the same rows at the same moment; run the command again"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        text = reduce(lambda line, password: line.replace(password, "***"), self._passwords, lines[0])
        if self.path is None and getattr(error, "sqlstate", None) is None:
            return f"cannot be reached: {text}; see that the server runs and the URL is right"
        return text


def without_password(ref: str) -> str:
    """A store's URL as it may be shown; a path is shown as it is.

    >>> without_password("postgresql://ann:secret@db/judgments")
    'postgresql://ann:***@db/judgments'
    """
    if "://" not in ref:
        return ref
    try:
        url = sa.make_url(ref)
    except (exc.ArgumentError, ValueError):
        return ref.partition("://")[0] + "://..."
    if "password" in url.query:
        url = url.update_query_dict({"password": "***"})
    return url.render_as_string(hide_password=True)


def _sqlite_code(error: BaseException | None) -> int:
    """The primary result code of an SQLite error, -1 for what is none."""
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else int(code) & 0xFF


def _parse(url: str) -> URL:
    try:
        parsed = sa.make_url(url) if "://" in url else URL.create("sqlite", database=url)
    except (exc.ArgumentError, ValueError):
        raise StoreError(
            "the store's URL cannot be read; write FILE.db, sqlite:///FILE.db or postgresql://..."
        ) from None
    name = parsed.drivername
    if name.startswith("sqlite"):
        if not parsed.database or parsed.database == ":memory:":
            raise StoreError("a store in memory keeps nothing; give a file, such as judgments.db")
        return parsed.set(drivername="sqlite")
    if name in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreError(f"a store cannot be kept in {name!r}; give a file (SQLite) or a postgresql:// URL")


def _sqlite(url: URL) -> Engine:
    engine = sa.create_engine(url, connect_args={"timeout": LOCK_WAIT_S, "isolation_level": None})

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")  # KiB: the indexes of keys are hit at random
        connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages of 4 KiB

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITE) else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    try:
        import psycopg  # noqa: F401 -- an extra; without it create_engine fails with a bare ImportError
    except ImportError:
        raise MissingExtra("psycopg, the PostgreSQL driver,", "pip install 'adjudge[postgres]'") from None
    settings = f"-c lock_timeout={LOCK_WAIT_S}s"
    arguments: dict[str, Any] = {"application_name": "adjudge"}
    if "options" in url.query:
        arguments["options"] = f"{url.query['options']} {settings}"
    else:
        arguments["options"] = settings
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = CONNECT_TIMEOUT_S
    arguments |= {name: value for name, value in ALIVE.items() if name not in url.query}
    return sa.create_engine(url, connect_args=arguments, pool_pre_ping=True)
