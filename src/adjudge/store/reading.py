"""Records out of the store, as a stream."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store import rows
from adjudge.store.schema import calls, entries, judgments, pairs, records
from adjudge.store.statements import BATCH, among
from adjudge.store.values import Wanted
from adjudge.types import Judgment, Record


def stream(connection: Connection, evaluator: str | None, *, texts: bool, with_calls: bool) -> Iterator[Record]:
    """Records in the order in which their pairs came in."""
    hidden = () if texts else rows.PAIR_TEXTS
    columns = [c for c in (*records.c, *pairs.c) if c.name not in (*hidden, "key")]
    query = sa.select(*columns).join(pairs).where(records.c.current_id.is_not(None))
    if evaluator is not None:
        query = query.where(records.c.evaluator == evaluator)
    query = query.order_by(records.c.came_ns, records.c.record_id).execution_options(yield_per=BATCH)
    for part in connection.execute(query).mappings().partitions():
        by_record = judged(connection, [row["record_id"] for row in part], texts=texts, with_calls=with_calls)
        for row in part:
            bought = by_record.get(row["record_id"], {})
            yield Record(pair=rows.read_pair(row), evaluator=row["evaluator"], judgments=bought)


def judged(
    connection: Connection, record_ids: list[int], *, texts: bool = True, with_calls: bool = False
) -> dict[int, dict[str, Judgment]]:
    """record_id -> arm -> the judgment that counts, the arms in their order."""
    hidden = () if texts else rows.JUDGMENT_TEXTS
    columns = [sa.null().label(n) if n in hidden else judgments.c[n] for n in rows.JUDGMENT_COLUMNS]
    query = sa.select(entries.c.record_id, entries.c.arm, judgments.c.judgment_id, *columns).join(judgments)
    query = query.where(among(connection, entries.c.record_id, record_ids))
    query = query.order_by(entries.c.record_id, entries.c.place, entries.c.judgment_id)
    found = connection.execute(query).all()
    asked = calls_of(connection, [row.judgment_id for row in found]) if with_calls else {}
    by_record: dict[int, dict[str, Judgment]] = defaultdict(dict)
    for record_id, arm, judgment_id, *row in found:
        by_record[record_id][arm] = rows.read_judgment(arm, row, asked.get(judgment_id, ()))
    return by_record


def finished(connection: Connection, wanted: Sequence[Wanted]) -> dict[str, Judgment]:
    """key -> the finished judgment, with its calls, of those that there are."""
    names = {w.key: w.arm for w in wanted}
    columns = [judgments.c[n] for n in rows.JUDGMENT_COLUMNS]
    query = sa.select(judgments.c.final_key, judgments.c.judgment_id, *columns)
    found = connection.execute(query.where(among(connection, judgments.c.final_key, names))).all()
    asked = calls_of(connection, [row.judgment_id for row in found])
    return {key: rows.read_judgment(names[key], row, asked.get(number, ())) for key, number, *row in found}


def calls_of(connection: Connection, judgment_ids: list[int]) -> dict[int, list[rows.Columns]]:
    """judgment_id -> its calls as `rows.read_judgment` takes them, in order."""
    by_judgment: dict[int, list[rows.Columns]] = defaultdict(list)
    query = (
        sa.select(calls)
        .where(among(connection, calls.c.judgment_id, judgment_ids))
        .order_by(calls.c.judgment_id, calls.c.place)
    )
    for row in connection.execute(query).mappings():
        by_judgment[row["judgment_id"]].append(row)
    return by_judgment
