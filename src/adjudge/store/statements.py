"""Statements that the two databases spell differently, or that SQLAlchemy takes long to build for many rows."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, Dialect

BATCH = 500  # rows that are looked up or streamed at once
ROWS_AT_ONCE = 64
T = TypeVar("T")


def is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def among(connection: Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """column IN values as one parameter: a statement that is built and prepared once, whatever the number of values.

    Values with U+0000, which SQLite's JSON cannot hold, go the common way.
    """
    if is_postgresql(connection):
        return column == sa.any_(sa.literal(list(values), ARRAY(column.type)))
    text = msgspec.json.encode(list(values)).decode()
    if "\\u0000" in text:
        return column.in_(list(values))
    given = sa.func.json_each(text).table_valued("value")
    return column.in_(sa.select(given.c.value))


def among_given(column: sa.ColumnElement[Any], name: str, *, postgresql: bool) -> sa.ColumnElement[bool]:
    """`among` for a statement that is built once: the values are its parameter `name`, as `listed` gives them."""
    if postgresql:
        return column == sa.any_(sa.bindparam(name, type_=ARRAY(column.type)))
    return column.in_(sa.select(sa.func.json_each(sa.bindparam(name)).table_valued("value").c.value))


def listed(connection: Connection, values: Collection[str]) -> Any:
    """The parameter of `among_given`. The values are keys: on SQLite they must not hold U+0000."""
    return list(values) if is_postgresql(connection) else msgspec.json.encode(list(values)).decode()


def insert_rows(
    connection: Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[Any]], conflict: str = ""
) -> int:
    """Insert rows of these columns; how many were. `conflict` is the text of an ON CONFLICT clause.

    The statement is built once; rows that go through SQLAlchemy's own executemany take four times as long. SQLite takes
    ROWS_AT_ONCE in one statement, since its driver gives the interpreter's lock away for each: a thread that has to
    fetch it back from a busy event loop for every row spends longer on that than on writing.
    """
    if not rows:
        return 0
    by_column = zip(columns, zip(*rows, strict=True), strict=True)
    # What is null in all rows is left out: the driver takes longer over a null than over any value.
    nulls = (None,) * len(rows)
    told = {name: column for name, column in by_column if column != nulls}
    processes = _processes(connection.dialect, table, tuple(told))
    values = [map(f, column) if f else column for f, column in zip(processes, told.values(), strict=True)]
    filled = list(zip(*values, strict=True))
    count = done = 0
    while not is_postgresql(connection) and len(rows) - done >= ROWS_AT_ONCE:
        many = _insert(connection.dialect, table, tuple(told), conflict, ROWS_AT_ONCE)
        flat = tuple(chain.from_iterable(filled[done : done + ROWS_AT_ONCE]))
        count += connection.exec_driver_sql(many, flat).rowcount
        done += ROWS_AT_ONCE
    if done < len(rows):
        one = _insert(connection.dialect, table, tuple(told), conflict, 1)
        count += connection.exec_driver_sql(one, filled[done:]).rowcount
    return count


@lru_cache(maxsize=64)
def _insert(dialect: Dialect, table: sa.Table, columns: tuple[str, ...], conflict: str, rows: int) -> str:
    quote = dialect.identifier_preparer.quote
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(quote(name) for name in columns)
    row = f"({', '.join([mark] * len(columns))})"
    return f"INSERT INTO {quote(table.name)} ({names}) VALUES {', '.join([row] * rows)} {conflict}"  # noqa: S608 -- names of our own tables


@lru_cache(maxsize=64)
def _processes(dialect: Dialect, table: sa.Table, columns: tuple[str, ...]) -> tuple[Callable[[Any], Any] | None, ...]:
    """What has to be done to the values of each column before the database takes them."""
    types = [table.c[name].type.dialect_impl(dialect) for name in columns]
    return tuple(kind.bind_processor(dialect) for kind in types)


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
