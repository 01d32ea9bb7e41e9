"""Single judgments out of the store, by key."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store import reading, rows
from adjudge.store.schema import judgments, pairs, records
from adjudge.store.statements import among_given, is_postgresql, listed
from adjudge.types import Judgment, Pair


class Found(NamedTuple):
    """A judgment with its pair. The judgment's `arm` is its arm_key: names belong to those who ask."""

    pair: Pair
    judgment: Judgment


def find(connection: Connection, evaluator: str, keys: Collection[str], *, calls: bool = False) -> dict[str, Found]:
    """The finished judgments of these keys, with what this evaluator's records say of their pairs."""
    given = {"evaluator": evaluator, "keys": listed(connection, keys)}
    found = connection.execute(_finding(is_postgresql(connection)), given).mappings().all()
    asked = reading.calls_of(connection, [row["judgment_id"] for row in found]) if calls else {}
    return {row["final_key"]: _found(row, asked.get(row["judgment_id"], ())) for row in found}


@lru_cache
def _finding(postgresql: bool) -> sa.Select[Any]:
    header = [records.c[name] for name in rows.HEADER]
    texts = [pairs.c[name] for name in rows.PAIR_COLUMNS if name != "key"]
    said = [judgments.c[name] for name in rows.JUDGMENT_COLUMNS]
    mine = sa.and_(records.c.pair_key == pairs.c.key, records.c.evaluator == sa.bindparam("evaluator"))
    return (
        sa.select(judgments.c.judgment_id, judgments.c.final_key, judgments.c.arm_key, *texts, *header, *said)
        .join(pairs, pairs.c.key == judgments.c.pair_key)
        .join(records, mine)
        .where(among_given(judgments.c.final_key, "keys", postgresql=postgresql))
    )


def _found(row: sa.RowMapping, calls: Sequence[rows.Columns]) -> Found:
    said = [row[name] for name in rows.JUDGMENT_COLUMNS]
    return Found(rows.read_pair(row), rows.read_judgment(row["arm_key"], said, calls))
