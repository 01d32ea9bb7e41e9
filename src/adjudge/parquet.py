"""The interchange rows of records as Parquet, without loss: a column per key of the schema, the arms as a map, and all
other keys as JSON in a column `other`, of a row and of an arm.

Integers up to 2^53 come back as integers. A file may unpack to at most 200 times its size (past the first 64 MB).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from adjudge import files
from adjudge.errors import DataError

Row = dict[str, Any]

_TEXT, _REAL = pa.string(), pa.float64()
_ARM = {
    **dict.fromkeys(("verdict_ab", "verdict_ba"), _TEXT),
    **dict.fromkeys(("p_a", "prompt_tokens", "output_tokens"), _REAL),
    **dict.fromkeys(("completion_ab", "completion_ba", "outcome_ab", "outcome_ba"), _TEXT),
    "scores": pa.list_(pa.list_(_REAL)),
    **dict.fromkeys(("reasoning_ab", "reasoning_ba"), _TEXT),
    **dict.fromkeys(("cached_tokens", "reasoning_tokens", "cost_usd"), _REAL),
    "error": _TEXT,
}
_ARM_ALWAYS = frozenset(list(_ARM)[:7])
_COLUMNS = {
    **dict.fromkeys(("id", "source", "domain", "prompt", "response_a", "response_b", "gold"), _TEXT),
    "gold_index": pa.int64(),
    "rubric": _TEXT,
    "responses": pa.list_(_TEXT),
    "evaluator": _TEXT,
    "arms": pa.map_(_TEXT, pa.struct([*_ARM.items(), ("other", _TEXT)])),
}
_OPTIONAL = frozenset(("gold_index", "rubric", "responses"))
_SCHEMA = pa.schema([*_COLUMNS.items(), ("other", _TEXT)])


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """(row number from 1, row). Raises DataError when the file is missing, empty or is no Parquet file of records."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            _check_size(path, file)
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _unpacked(row, path, number)
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot be read as Parquet: {reason}", path=path) from None
    if not number:
        raise DataError("is empty", path=path, remedy="give a file with at least one row")


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows, all or none; returns how many. Raises DataError when they cannot be written."""
    count = 0
    with files.replacing(path) as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        batch: list[Row] = []

        def flush() -> None:
            try:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=_SCHEMA))
            except (pa.ArrowException, UnicodeEncodeError) as error:
                raise DataError(
                    f"cannot hold one of records {count - len(batch) + 1} to {count}: {error}", path=path
                ) from None
            batch.clear()

        for row in rows:
            batch.append(_packed(row))
            count += 1
            if len(batch) == 256:
                flush()
        if batch:
            flush()
    return count


def _check_size(path: Path, file: Any) -> None:
    unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if unpacked > files.GZIP_GRACE_BYTES + files.MAX_GZIP_RATIO * path.stat().st_size:
        raise DataError(
            f"unpacks to over {files.MAX_GZIP_RATIO} times its size", path=path, remedy="unpack it if you trust it"
        )


def _unpacked(row: Row, path: Path, number: int) -> Row:
    other = row.pop("other", None)
    row = {k: v for k, v in row.items() if v is not None or k not in _OPTIONAL}
    try:
        arms = dict(row["arms"])
        row["arms"] = {name: _unpacked_arm(arm, path, number) for name, arm in arms.items() if arm is not None}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(
            "has no column `arms` that maps a name to a judgment", path=path, remedy="see docs/formats.md"
        ) from None
    return row | _decoded(other, path, number)


def _unpacked_arm(arm: Row, path: Path, number: int) -> Row:
    other = _decoded(arm.pop("other", None), path, number)
    found = {k: v for k, v in arm.items() if v is not None or k in _ARM_ALWAYS}
    for key, value in found.items():
        if key.endswith("_tokens") and isinstance(value, float) and value.is_integer():
            found[key] = int(value)
    return found | other


def _decoded(text: Any, path: Path, number: int) -> Row:
    if text is None:
        return {}
    value = files.decode(str(text).encode(), path, number)
    if not isinstance(value, dict):
        raise DataError("has a column `other` that holds no JSON object", path=path, line=number)
    return value


def _packed(row: Row) -> Row:
    # A null `gold_index` is something else than none: it goes where nulls are kept.
    other = {k: v for k, v in row.items() if k not in _COLUMNS or (k in _OPTIONAL and v is None)}
    flat = {k: v for k, v in row.items() if k not in other}
    flat["arms"] = [(name, _packed_arm(arm)) for name, arm in row["arms"].items()]
    flat["other"] = msgspec.json.encode(other).decode() if other else None
    return flat


def _packed_arm(arm: Row) -> Row:
    other = {k: v for k, v in arm.items() if k not in _ARM}
    known = {k: v for k, v in arm.items() if k not in other}
    return known | {"other": msgspec.json.encode(other).decode() if other else None}
