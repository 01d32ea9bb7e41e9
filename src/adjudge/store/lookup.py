"""Single judgments out of the store, by key."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store import reading, rows
from adjudge.store.schema import judgments, pairs, records
from adjudge.store.statements import among
from adjudge.types import Judgment, Pair


class Found(NamedTuple):
    """A judgment with its pair. The judgment's `arm` is its arm_key: names belong to those who ask."""

    pair: Pair
    judgment: Judgment


def find(connection: Connection, evaluator: str, keys: Collection[str], *, calls: bool = False) -> dict[str, Found]:
    """The finished judgments of these keys, with what this evaluator's records say of their pairs."""
    header = [records.c[name] for name in rows.HEADER]
    texts = [pairs.c[name] for name in rows.PAIR_COLUMNS if name != "key"]
    said = [judgments.c[name] for name in rows.JUDGMENT_COLUMNS]
    query = (
        sa.select(judgments.c.judgment_id, judgments.c.final_key, judgments.c.arm_key, *texts, *header, *said)
        .join(pairs, pairs.c.key == judgments.c.pair_key)
        .join(records, sa.and_(records.c.pair_key == pairs.c.key, records.c.evaluator == evaluator))
        .where(among(connection, judgments.c.final_key, keys))
    )
    found = connection.execute(query).mappings().all()
    asked = reading.calls_of(connection, [row["judgment_id"] for row in found]) if calls else {}
    return {row["final_key"]: _found(row, asked.get(row["judgment_id"], ())) for row in found}


def _found(row: sa.RowMapping, calls: Sequence[rows.Columns]) -> Found:
    said = [row[name] for name in rows.JUDGMENT_COLUMNS]
    return Found(rows.read_pair(row), rows.read_judgment(row["arm_key"], said, calls))
