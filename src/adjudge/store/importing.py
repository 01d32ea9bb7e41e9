"""Whole records in: all of a stream or none of it."""

from collections.abc import Iterable, Iterator

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.errors import StoreError
from adjudge.store import rows
from adjudge.store.claims import begin, end
from adjudge.store.keep import Arrival, keep_pairs, keep_records, reserve
from adjudge.store.reading import judged
from adjudge.store.schema import entries, judgments, pairs, records
from adjudge.store.statements import BATCH, among, insert_rows, is_postgresql
from adjudge.types import Judgment, Pair, Record

_LOCK = 0x61646A7564676501  # among PostgreSQL's advisory locks
_ELSEWHERE = "import into another store, or mend the file"


def add(connection: Connection, found: Iterable[Record], origin: str, came_ns: int) -> tuple[int, int]:
    """(records added, records already there). Raises StoreError on the first record that contradicts the store."""
    if is_postgresql(connection):  # one import at a time; a live run may write beside it
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    added = there = 0
    run_id: int | None = None
    for batch in _batches(found):
        keys = [record.pair.content_key() for record in batch]
        _check_texts(connection, dict(zip(keys, (r.pair for r in batch), strict=True)))
        missing = _missing(connection, batch, keys)
        if missing and run_id is None:
            run_id = begin(connection, "import", origin=origin)
        if run_id is not None:
            _add(connection, run_id, missing, came_ns)
        came_ns += len(missing)
        added += len(missing)
        there += len(batch) - len(missing)
    if run_id is not None:
        end(connection, run_id, void=False)
    return added, there


class _Missing(msgspec.Struct):
    """The judgments of a record that the store has not, and the place of the first of them."""

    record: Record
    key: str
    judgments: dict[str, Judgment]
    first_place: int


def _batches(found: Iterable[Record]) -> Iterator[list[Record]]:
    """Batches in which no (id, evaluator) stands twice: the second is held against the first in the store."""
    batch: list[Record] = []
    seen: set[tuple[str, str]] = set()
    for record in found:
        identity = (record.pair.id, record.evaluator)
        if len(batch) == BATCH or identity in seen:
            yield batch
            batch, seen = [], set()
        batch.append(record)
        seen.add(identity)
    if batch:
        yield batch


def _check_texts(connection: Connection, new: dict[str, Pair]) -> None:
    """Refuse an id that comes with other texts than before. Texts that a source left out contradict nothing."""
    by_id: dict[str, Pair] = {}
    for pair in new.values():
        _compare_texts(by_id.setdefault(pair.id, pair), pair)
    identity = sa.select(pairs.c.key, pairs.c.id).where(among(connection, pairs.c.id, by_id))
    other = [key for key, _ in connection.execute(identity) if key not in new]
    if other:
        for row in connection.execute(sa.select(pairs).where(among(connection, pairs.c.key, other))).mappings():
            blank = {"gold": None, "domain": "", "source": "", "gold_index": None, "meta": None}
            _compare_texts(rows.read_pair({**row, **blank}), by_id[row["id"]])


def _compare_texts(old: Pair, new: Pair) -> None:
    for name in rows.PAIR_TEXTS:
        before, now = getattr(old, name), getattr(new, name)
        if before is not None and now is not None and before != now:
            raise StoreError(f"id {new.id!r} comes with another {name} than before; {_ELSEWHERE}")


def _missing(connection: Connection, batch: list[Record], keys: list[str]) -> list[_Missing]:
    """What of the batch is not in the store. Raises StoreError where the two contradict each other."""
    columns = [records.c[name] for name in ("record_id", "evaluator", "pair_key", "current_id", *rows.HEADER)]
    standing = sa.select(*columns).where(
        among(connection, records.c.evaluator, {r.evaluator for r in batch}),
        among(connection, records.c.current_id, {r.pair.id for r in batch}),
    )
    known = {(row.current_id, row.evaluator): row for row in connection.execute(standing).all()}
    bought = judged(connection, [row.record_id for row in known.values()]) if known else {}
    places = _last_places(connection, list(bought))
    missing = []
    for record, key in zip(batch, keys, strict=True):
        row = known.get((record.pair.id, record.evaluator))
        if row is None:
            missing.append(_Missing(record, key, record.judgments, 0))
            continue
        _check_pair(record, key, row)
        before = bought.get(row.record_id, {})
        for arm, judgment in record.judgments.items():
            if arm in before and not _same(before[arm], judgment):
                raise StoreError(
                    f"id {record.pair.id!r}, evaluator {record.evaluator!r}: arm {arm!r} is there with another "
                    f"judgment; {_ELSEWHERE}"
                )
        new = {arm: judgment for arm, judgment in record.judgments.items() if arm not in before}
        if new:
            missing.append(_Missing(record, key, new, places.get(row.record_id, -1) + 1))
    return missing


def _check_pair(record: Record, key: str, row: sa.Row[tuple[object, ...]]) -> None:
    where = f"id {record.pair.id!r}, evaluator {record.evaluator!r}:"
    if row.pair_key != key:
        raise StoreError(f"{where} is there with other texts or another rubric; {_ELSEWHERE}")
    for name, value in zip(rows.HEADER, rows.header(record.pair), strict=True):
        before = getattr(row, name)
        if before != value and not (name == "meta" and before and value and rows.load(before) == record.pair.meta):
            raise StoreError(f"{where} is there with {name} {before!r}, not {value!r}; {_ELSEWHERE}")


def _same(before: Judgment, now: Judgment) -> bool:
    return msgspec.structs.replace(before, calls=()) == msgspec.structs.replace(now, calls=())


def _last_places(connection: Connection, record_ids: list[int]) -> dict[int, int]:
    last = sa.select(entries.c.record_id, sa.func.max(entries.c.place)).where(
        among(connection, entries.c.record_id, record_ids)
    )
    return dict(connection.execute(last.group_by(entries.c.record_id)).all())


def _add(connection: Connection, run_id: int, missing: list[_Missing], came_ns: int) -> None:
    if not missing:
        return
    keep_pairs(connection, {m.key: m.record.pair for m in missing})
    ids: dict[tuple[str, str], int] = {}
    for evaluator in sorted({m.record.evaluator for m in missing}):
        arrivals = [
            Arrival(m.key, m.record.pair, came_ns + i) for i, m in enumerate(missing) if m.record.evaluator == evaluator
        ]
        ids |= {(evaluator, key): number for key, number in keep_records(connection, evaluator, arrivals).items()}
    numbers = iter(reserve(connection, judgments.c.judgment_id, sum(len(m.judgments) for m in missing)))
    new, new_entries = [], []
    for m in missing:
        record_id = ids[m.record.evaluator, m.key]
        for place, (arm, judgment) in enumerate(m.judgments.items(), m.first_place):
            judgment_id = next(numbers)
            new.append((judgment_id, run_id, m.key, *rows.judgment_row(judgment)))
            new_entries.append((record_id, arm, place, judgment_id))
    insert_rows(connection, judgments, ("judgment_id", "run_id", "pair_key", *rows.JUDGMENT_COLUMNS), new)
    insert_rows(connection, entries, ("record_id", "arm", "place", "judgment_id"), new_entries)
