"""Statements that the two databases spell differently, or that SQLAlchemy takes long to build for many rows."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Dialect

BATCH = 500  # rows that are looked up or streamed at once
T = TypeVar("T")


def is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def among(connection: Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """column IN values as one parameter: a statement that is built and prepared once, whatever the number of values.

    Values with U+0000, which SQLite's JSON cannot hold, go the common way.
    """
    if is_postgresql(connection):
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    text = msgspec.json.encode(list(values)).decode()
    if "\\u0000" in text:
        return column.in_(list(values))
    given = sa.func.json_each(text).table_valued("value")
    return column.in_(sa.select(given.c.value))


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], conflict: str = "") -> None:
    """Insert rows that all have the same columns. `conflict` is the text of an ON CONFLICT clause.

    The statement is built once; rows that go through SQLAlchemy's own executemany take four times as long.
    """
    if rows:
        sql, values = _prepared(connection.dialect, table, tuple(rows[0]), conflict)
        connection.exec_driver_sql(sql, [values(row) for row in rows])


@lru_cache(maxsize=64)
def _prepared(
    dialect: Dialect, table: sa.Table, columns: tuple[str, ...], conflict: str
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    """The statement, and what makes its parameters of a row."""
    quote = dialect.identifier_preparer.quote
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(quote(name) for name in columns)
    sql = f"INSERT INTO {quote(table.name)} ({names}) VALUES ({', '.join([mark] * len(columns))}) {conflict}"  # noqa: S608 -- names of our own tables
    types = [table.c[name].type.dialect_impl(dialect) for name in columns]
    processes = [kind.bind_processor(dialect) for kind in types]
    if not any(processes):
        return sql, itemgetter(*columns)
    plan = list(zip(columns, processes, strict=True))
    return sql, lambda row: tuple(row[name] if process is None else process(row[name]) for name, process in plan)


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
