"""Our own rows of pairs: id, prompt, response_a, response_b, gold, domain, source, rubric; `responses` and `gold_index`
for best of n; any other column is kept in `meta`. Written as JSON Lines, gzip or Parquet, and read back without loss.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from adjudge import files
from adjudge.errors import DataError
from adjudge.pairs import fields
from adjudge.pairs.fields import TEXT_KEYS, Reading, Row
from adjudge.pairs.rows import PARQUET_MARK
from adjudge.types import Pair, Side, drawn_side

NO_RIGHT_ONE = "best of n whose right response is not known"
_GOLD: dict[Any, Side | None] = {"A": "A", "B": "B", None: None}


def own(row: Row, reading: Reading) -> Iterator[Pair]:
    """The pair of one of our rows. Raises DataError naming the field that does not fit."""
    pair_id = fields.name(row, "id")
    fields.require(row, ("prompt",))
    gold = row.get("gold")
    if not isinstance(gold, str | None) or gold not in _GOLD:
        raise DataError(f"'gold' must be 'A', 'B' or null, not {gold!r:.40}", remedy="name the better response's side")
    responses = fields.texts(row, "responses") if row.get("responses") is not None else None
    a, b, index = fields.maybe_text(row, "response_a"), fields.maybe_text(row, "response_b"), row.get("gold_index")
    if responses is None:
        fields.require(row, () if "gold_index" in row else ("response_a", "response_b"))
        if (a is None) != (b is None):
            null, other = ("response_a", "response_b") if a is None else ("response_b", "response_a")
            raise DataError(f"{null!r} is null and {other!r} is not", remedy="fill it in or delete the row")
        if a is not None and index is not None:
            raise DataError("has 'gold_index' and no 'responses'", remedy="name the better side in 'gold'")
    elif len(responses) < 2:
        raise DataError("'responses' must hold two strings or more", remedy="delete the row")
    elif a is not None or b is not None:
        raise DataError("has both 'responses' and 'response_a' or 'response_b'", remedy="keep one of the two forms")
    _check_index(index, responses)
    if reading.as_pairs and responses is not None:
        yield from _one_by_one(pair_id, responses, index, row, reading)
        return
    best_of_n = responses is not None or (a is None and "gold_index" in row)
    yield Pair(
        id=pair_id,
        prompt=fields.maybe_text(row, "prompt"),
        response_a=a,
        response_b=b,
        gold=drawn_side(pair_id, reading.seed) if gold is None and responses and index is not None else _GOLD[gold],
        domain=fields.label(row, "domain"),
        source=fields.label(row, "source"),
        rubric=fields.maybe_text(row, "rubric"),
        responses=responses,
        gold_index=index if best_of_n else msgspec.UNSET,
        meta=fields.rest(row, *TEXT_KEYS, "responses", "gold_index"),
    )


def _one_by_one(
    pair_id: str, responses: tuple[str, ...], index: int | None, row: Row, reading: Reading
) -> Iterator[Pair]:
    if index is None:
        reading.left_out[NO_RIGHT_ONE] += 1
        return
    for j, wrong in enumerate(responses):
        if j != index:
            yield fields.drawn(
                f"{pair_id}/{index}-{j}",
                responses[index],
                wrong,
                reading.seed,
                prompt=fields.maybe_text(row, "prompt"),
                domain=fields.label(row, "domain"),
                source=fields.label(row, "source"),
                rubric=fields.maybe_text(row, "rubric"),
                meta=fields.rest(row, *TEXT_KEYS, "responses", "gold_index"),
            )


def to_row(pair: Pair) -> Row:
    """The row of a pair, in the order in which it is written."""
    row: Row = {key: getattr(pair, key) for key in TEXT_KEYS if key != "rubric" or pair.rubric is not None}
    if pair.responses is not None:
        row["responses"] = list(pair.responses)
    if pair.gold_index is not msgspec.UNSET:
        row["gold_index"] = pair.gold_index
    return row | pair.meta


def write(path: str | Path, pairs: Iterable[Pair]) -> int:
    """Write pairs to a .jsonl, .jsonl.gz or .parquet file, whole or not at all; returns how many.

    Raises DataError when the suffix is another one or the file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        return _write_parquet(path, pairs)
    if path.suffix not in (".jsonl", ".gz"):
        raise DataError("pairs are written as .jsonl, .jsonl.gz or .parquet", path=path, remedy="choose one of these")
    count = 0
    with files.replacing(path) as file:
        for pair in pairs:
            file.write(msgspec.json.encode(to_row(pair)) + b"\n")
            count += 1
    return count


def _check_index(index: Any, responses: tuple[str, ...] | None) -> None:
    if index is None:
        return
    if isinstance(index, bool) or not isinstance(index, int):
        raise DataError(f"'gold_index' must be a whole number or null, not {fields.kind(index)}", remedy="mend the row")
    if not 0 <= index < (len(responses) if responses is not None else 1 << 31):
        raise DataError(f"'gold_index' {index} names no response", remedy="count the responses from 0")


def _write_parquet(path: Path, pairs: Iterable[Pair]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    columns = dict.fromkeys(TEXT_KEYS, text) | {"responses": pa.list_(text), "gold_index": pa.int64()}
    schema = pa.schema([*columns.items(), ("other", text)], metadata={PARQUET_MARK: b"pairs"})
    count, stream = 0, iter(pairs)
    with files.replacing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := [_flat(to_row(pair), columns) for pair in islice(stream, 512)]:
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


def _flat(row: Row, columns: dict[str, Any]) -> Row:
    """Columns of their own for what the schema names, JSON in `other` for the rest and for a null that is said."""
    other = {k: v for k, v in row.items() if k not in columns or (k == "gold_index" and v is None)}
    flat = {k: v for k, v in row.items() if k not in other}
    return flat | {"other": msgspec.json.encode(other).decode() if other else None}
