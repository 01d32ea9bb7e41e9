"""Records by reference: a file of them, or a store."""

from collections.abc import Iterator

import msgspec

from adjudge import records as files
from adjudge.errors import DataError
from adjudge.store.engine import without_password
from adjudge.store.rows import JUDGMENT_TEXTS, PAIR_TEXTS
from adjudge.store.store import Store
from adjudge.types import Record

_STORE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_NO_PAIR_TEXTS = dict.fromkeys(PAIR_TEXTS)
_NO_JUDGMENT_TEXTS = dict.fromkeys(JUDGMENT_TEXTS)


def is_store(ref: str) -> bool:
    """Whether `ref` names a store: a database URL, or a path that ends or begins as an SQLite file does.

    >>> is_store("postgresql://host/judgments"), is_store("judgments.db"), is_store("records.jsonl.gz")
    (True, True, False)
    """
    if "://" in ref or ref.endswith(_STORE_SUFFIXES):
        return True
    try:
        with open(ref, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def open_records(ref: str, *, evaluator: str | None = None, texts: bool = True) -> Iterator[Record]:
    """The records of a file or a store, as a stream; of one evaluator where one is named.

    `texts=False` leaves prompts, responses, completions and reasoning out (None).
    Raises DataError or StoreError: what, where, the remedy; also when there is no record to give.
    """
    known: set[str] = set()
    given = False
    if is_store(ref):
        with Store.open(ref, create=False) as store:
            for record in store.records(evaluator, texts=texts):
                given = True
                yield record
            if not given:
                known.update(store.evaluators())
    else:
        for record in files.read(ref, texts=texts):
            if evaluator is None or record.evaluator == evaluator:
                given = True
                yield record if texts else without_texts(record)
            else:
                known.add(record.evaluator)
    if not given:
        raise _nothing(ref, evaluator, known)


def without_texts(record: Record) -> Record:
    """The record as a store gives it with `texts=False`."""
    judgments = {
        arm: msgspec.structs.replace(judgment, **_NO_JUDGMENT_TEXTS) for arm, judgment in record.judgments.items()
    }
    return msgspec.structs.replace(
        record, pair=msgspec.structs.replace(record.pair, **_NO_PAIR_TEXTS), judgments=judgments
    )


def _nothing(ref: str, evaluator: str | None, known: set[str]) -> DataError:
    if evaluator is None or not known:
        return DataError("holds no records", path=without_password(ref), remedy="fill it: `adjudge judge` or `import`")
    shown = ", ".join(sorted(known))
    return DataError(f"has no records of evaluator {evaluator!r}", path=without_password(ref), remedy=f"known: {shown}")
