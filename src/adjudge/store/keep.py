"""Rows that many writers share: pairs, records and their entries are added where they are missing."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store import rows
from adjudge.store.schema import entries, pairs, records
from adjudge.store.statements import among, among_given, insert_rows, is_postgresql, listed
from adjudge.types import Pair

_SAID = ("current_id", *rows.HEADER)
_NEW = ("record_id", "evaluator", "pair_key", "came_ns", *_SAID)


class Arrival(NamedTuple):
    """A pair, its key, and its place in the order in which pairs came in."""

    key: str
    pair: Pair
    came_ns: int


def now_ns(connection: Connection) -> int:
    """The clock of the database's host, in nanoseconds since 1970: one clock for all processes of a store."""
    if is_postgresql(connection):
        seconds = connection.execute(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp()))).scalar_one()
        return int(seconds * 10**9)
    return time.time_ns()


def keep_pairs(connection: Connection, pairs_by_key: Mapping[str, Pair]) -> None:
    """Add what is missing, in the order of the keys: two writers that lock rows in one order cannot deadlock."""
    new = [rows.pair_row(key, pair) for key, pair in sorted(pairs_by_key.items())]
    insert_rows(connection, pairs, rows.PAIR_COLUMNS, new, "ON CONFLICT DO NOTHING")


def keep_records(connection: Connection, evaluator: str, arrivals: Sequence[Arrival]) -> dict[str, int]:
    """The evaluator's records of these pairs, by pair key; added or brought up to date where need be.

    A pair stands where it came first. What was said of it last counts, and so do the texts that came last under an id.
    """
    first: dict[str, int] = {}
    last: dict[str, Pair] = {}
    texts: dict[str, str] = {}
    for key, pair, came_ns in sorted(arrivals, key=attrgetter("came_ns")):
        first.setdefault(key, came_ns)
        last[key] = pair
        texts[pair.id] = key
    standing = _standing(connection, evaluator, list(first), list(texts))
    known = {row.pair_key: row for row in standing if row.pair_key in last}
    retired: list[dict[str, Any]] = [
        {"the_id": row.record_id, "current_id": None}
        for row in standing
        if row.current_id is not None and texts.get(row.current_id, row.pair_key) != row.pair_key
    ]
    new: list[rows.Row] = []
    changed: list[dict[str, Any]] = []
    for key, pair in sorted(last.items()):
        said = (pair.id if texts[pair.id] == key else None, *rows.header(pair))
        if key not in known:
            new.append((evaluator, key, first[key], *said))
        elif tuple(known[key])[2:] != said:
            changed.append({"the_id": known[key].record_id, **dict(zip(_SAID, said, strict=True))})
    for updates in (retired, changed):  # in this order: two records are never current under one id
        if updates:
            connection.execute(sa.update(records).where(records.c.record_id == sa.bindparam("the_id")), updates)
    return {key: row.record_id for key, row in known.items()} | _add_records(connection, evaluator, new)


def keep_entries(connection: Connection, new: Sequence[tuple[int, str, int, int]]) -> None:
    """Let judgments count for their (record, arm) from now on: (record_id, arm, place, judgment_id)."""
    columns = ("record_id", "arm", "place", "judgment_id")
    again = "ON CONFLICT (record_id, arm) DO UPDATE SET judgment_id = excluded.judgment_id"
    insert_rows(connection, entries, columns, sorted(new), again)


def reserve(connection: Connection, column: sa.Column[int], count: int) -> Iterable[int]:
    """Numbers, rising, for rows to be inserted in this transaction into a table from which nothing is ever deleted."""
    drawing = _drawn(column, is_postgresql(connection))
    if is_postgresql(connection):
        return sorted(connection.execute(drawing, {"count": count}).scalars())
    last = connection.execute(drawing).scalar() or 0
    return range(last + 1, last + 1 + count)


@lru_cache
def _drawn(column: sa.Column[int], postgresql: bool) -> sa.Select[Any]:
    if not postgresql:
        return sa.select(sa.func.max(column))
    sequence = sa.func.pg_get_serial_sequence(column.table.name, column.name)
    series = sa.func.generate_series(1, sa.bindparam("count", type_=sa.Integer)).alias("s")
    return sa.select(sa.func.nextval(sequence)).select_from(series)


def _standing(connection: Connection, evaluator: str, keys: list[str], ids: list[str]) -> Sequence[sa.Row[Any]]:
    """The evaluator's records of these pairs, and those that are current under these ids."""
    given = {"evaluator": evaluator, "keys": listed(connection, keys), "ids": listed(connection, ids)}
    if any("\0" in one for one in ids):
        by_id = _mine().where(among(connection, records.c.current_id, ids))
        return connection.execute(sa.union(_by_key(is_postgresql(connection)), by_id), given).all()
    return connection.execute(_by_key_or_id(is_postgresql(connection)), given).all()


@lru_cache
def _by_key_or_id(postgresql: bool) -> sa.CompoundSelect[Any]:
    by_id = _mine().where(among_given(records.c.current_id, "ids", postgresql=postgresql))
    return sa.union(_by_key(postgresql), by_id)


def _by_key(postgresql: bool) -> sa.Select[Any]:
    return _mine().where(among_given(records.c.pair_key, "keys", postgresql=postgresql))


def _mine() -> sa.Select[Any]:
    columns = [records.c[name] for name in ("record_id", "pair_key", *_SAID)]
    return sa.select(*columns).where(records.c.evaluator == sa.bindparam("evaluator"))


def _add_records(connection: Connection, evaluator: str, new: Sequence[rows.Row]) -> dict[str, int]:
    """Add records, rows of the columns _NEW without their numbers; pair key -> number."""
    if not new:
        return {}
    numbers = reserve(connection, records.c.record_id, len(new))
    numbered = [(number, *row) for number, row in zip(numbers, new, strict=True)]
    added = insert_rows(connection, records, _NEW, numbered, "ON CONFLICT (pair_key, evaluator) DO NOTHING")
    if added == len(new):
        return {row[2]: row[0] for row in numbered}
    # Another writer was first with some.
    keys = [row[2] for row in numbered]
    found = sa.select(records.c.pair_key, records.c.record_id).where(records.c.evaluator == evaluator)
    return dict(connection.execute(found.where(among(connection, records.c.pair_key, keys))).all())
