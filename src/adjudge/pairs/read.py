"""Files of pairs, read as a stream: a million pairs never stand in memory at once.

Which response is A is drawn by a seeded hash of the id wherever the source tells only which one is right, so that
shuffling a file changes nothing. An id that stands twice is refused; 8 bytes per id are kept to see it.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from adjudge import records
from adjudge.errors import DataError
from adjudge.pairs import formats, rows
from adjudge.pairs.fields import Reading, kind
from adjudge.pairs.formats import Format
from adjudge.pairs.rows import Row
from adjudge.types import Pair

REPEATED = "repeated rows"


class Pairs(Iterator[Pair]):
    """The pairs of a source, once. `format` is the one that was recognised; `left_out` counts, by reason, the rows that
    made no pair, and is complete when the pairs are exhausted.
    """

    def __init__(self, form: str, pairs: Iterator[Pair], left_out: Counter[str]) -> None:
        self.format, self.left_out, self._pairs = form, left_out, pairs

    def __next__(self) -> Pair:
        return next(self._pairs)


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass over a source found. `without_texts` counts pairs that no judge could read."""

    format: str
    count: int
    domains: dict[str, int]
    gold_a: int
    gold_b: int
    without_gold: int
    without_texts: int
    best_of_n: int
    left_out: dict[str, int]


def read(source: str | Path, *, format: str | None = None, seed: int = 0, as_pairs: bool = False) -> Pairs:  # noqa: A002
    """The pairs of a file or of a hub dataset ("hub:org/name:split"), one at a time.

    format: one of `formats.FORMATS`; None: recognised by the first row. seed: of the hash that draws sides and orders.
    as_pairs: read a best-of-n item as one pair per right and wrong response. Raises DataError (file, line, remedy) on
    whatever is no pair, ConfigError on an unknown format, MissingExtra when the hub client is needed and not installed.
    """
    form = formats.by_name(format) if format else None
    stream = rows.stream(source)
    first = next(stream)
    with placed(source, first):
        form = form or formats.recognise(as_object(first))
    left_out: Counter[str] = Counter()
    if form.name == formats.RECORDS and not first.where:
        return Pairs(form.name, _from_records(source), left_out)
    reading = Reading(seed, str(source), left_out, as_pairs)
    return Pairs(form.name, _unique(source, chain([first], stream), form, reading), left_out)


def check(source: str | Path, *, format: str | None = None, as_pairs: bool = False) -> Checked:  # noqa: A002
    """Read a whole source and say what it holds, so that bad input is refused before anything is bought.

    Raises as `read` does.
    """
    return tally(read(source, format=format, as_pairs=as_pairs))


def tally(pairs: Pairs) -> Checked:
    """Exhaust the pairs and count them."""
    domains: Counter[str] = Counter()
    gold: Counter[str | None] = Counter()
    without_texts = best_of_n = 0
    for pair in pairs:
        domains[pair.domain] += 1
        gold[pair.gold] += 1
        without_texts += pair.prompt is None or not pair.texts
        best_of_n += pair.gold_index is not msgspec.UNSET
    return Checked(
        format=pairs.format,
        count=domains.total(),
        domains=dict(sorted(domains.items())),
        gold_a=gold["A"],
        gold_b=gold["B"],
        without_gold=gold[None],
        without_texts=without_texts,
        best_of_n=best_of_n,
        left_out=dict(sorted(pairs.left_out.items())),
    )


def _unique(source: str | Path, stream: Iterator[Row], form: Format, reading: Reading) -> Iterator[Pair]:
    seen: set[int] = set()
    for index, row in enumerate(stream):
        try:
            value = as_object(row)
            for pair in form.pairs(value, reading):
                if (key := hash(pair.id)) in seen:
                    if form.unnamed(value):
                        reading.left_out[REPEATED] += 1
                        continue
                    _refuse_repeated(source, form, reading, index, pair.id)
                seen.add(key)
                yield pair
        except DataError as error:
            raise _at(error, source, row) from None
    if not seen:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in reading.left_out.items())
        raise DataError(f"gives no pair; rows left out: {reasons}", path=source)


def _refuse_repeated(source: str | Path, form: Format, reading: Reading, index: int, pair_id: str) -> None:
    """Raise DataError naming the first place of an id that stands twice; two ids with one hash are no repetition."""
    again = reading._replace(left_out=Counter())
    for row in islice(rows.stream(source), index):
        if any(pair.id == pair_id for pair in form.pairs(row.value, again)):
            place = f"{row.where or 'line'} {'' if row.where else row.line}".strip()
            raise DataError(f"the id {pair_id!r:.200} stands twice (first at {place})", remedy="keep one of the two")


def _from_records(source: str | Path) -> Iterator[Pair]:
    """Each pair once, though a file of records has it once per evaluator."""
    seen: set[int] = set()
    for record in records.read(source):
        if (key := hash(record.pair.id)) not in seen:
            seen.add(key)
            yield record.pair


def as_object(row: Row) -> dict[str, Any]:
    if not isinstance(row.value, dict):
        raise DataError(f"is {kind(row.value)}, not an object", remedy="give one JSON object a row")
    return row.value


@contextmanager
def placed(source: str | Path, row: Row) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise _at(error, source, row) from None


def _at(error: DataError, source: str | Path, row: Row) -> DataError:
    """The same error with its place, unless it has one."""
    if error.path is not None:
        return error
    return DataError(f"{row.where} {error}".strip(), path=source, line=row.line)
