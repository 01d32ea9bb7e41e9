"""Rows that many writers share: pairs, records and their entries are added where they are missing."""

import time
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store import rows
from adjudge.store.schema import entries, judgments, pairs, records
from adjudge.store.statements import among, insert_rows, is_postgresql
from adjudge.types import Pair


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
    insert_rows(connection, pairs, new, "ON CONFLICT DO NOTHING")


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
    known = {row.pair_key: row for row in _select(connection, evaluator, list(first))}
    new, changed = [], []
    for key, pair in sorted(last.items()):
        said = rows.header(pair)
        current = pair.id if texts[pair.id] == key else None
        row = known.get(key)
        if row is None:
            new.append({"evaluator": evaluator, "pair_key": key, "came_ns": first[key], "current_id": current, **said})
        elif (row.source, row.domain, row.gold, row.gold_index, row.meta) != tuple(said.values()) or (
            row.current_id is None and current is not None
        ):
            changed.append({"the_id": row.record_id, "current_id": current, **said})
    if not new and not changed:
        return {key: row.record_id for key, row in known.items()}
    _retire(connection, evaluator, [r["current_id"] for r in (*new, *changed) if r["current_id"] is not None])
    if changed:
        connection.execute(sa.update(records).where(records.c.record_id == sa.bindparam("the_id")), changed)
    insert_rows(connection, records, new, "ON CONFLICT (evaluator, pair_key) DO NOTHING")
    return {row.pair_key: row.record_id for row in _select(connection, evaluator, list(first))}


def keep_entries(connection: Connection, new: Sequence[Mapping[str, Any]]) -> None:
    """Let these judgments count for their (record, arm) from now on."""
    new = sorted(new, key=lambda entry: (entry["record_id"], entry["arm"]))
    insert_rows(
        connection, entries, new, "ON CONFLICT (record_id, arm) DO UPDATE SET judgment_id = excluded.judgment_id"
    )


def reserve_judgments(connection: Connection, count: int) -> range | list[int]:
    """Numbers for judgments to be inserted in this transaction, rising."""
    if is_postgresql(connection):
        sequence = sa.func.pg_get_serial_sequence("judgments", "judgment_id")
        drawn = sa.select(sa.func.nextval(sequence)).select_from(sa.func.generate_series(1, count).alias("s"))
        return sorted(connection.execute(drawn).scalars())
    last = connection.execute(sa.select(sa.func.max(judgments.c.judgment_id))).scalar() or 0
    return range(last + 1, last + 1 + count)


def _select(connection: Connection, evaluator: str, keys: list[str]) -> Sequence[sa.Row[Any]]:
    columns = [records.c[name] for name in ("record_id", "pair_key", "current_id", *rows.HEADER)]
    return connection.execute(
        sa.select(*columns).where(records.c.evaluator == evaluator, among(connection, records.c.pair_key, keys))
    ).all()


def _retire(connection: Connection, evaluator: str, ids: list[str]) -> None:
    """Other texts that stood under these ids make room."""
    connection.execute(
        sa.update(records)
        .where(records.c.evaluator == evaluator, among(connection, records.c.current_id, ids))
        .values(current_id=None)
    )
