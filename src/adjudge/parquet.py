"""The interchange rows of records as Parquet, without loss: a column per key of the schema, the arms as a map, and all
other keys as JSON in a column `other`, of a row and of an arm.

Integers up to 2^53 come back as integers. A file may unpack to at most 200 times its size (past the first 64 MB).
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate, chain, groupby, islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from adjudge import files, parquet_figures
from adjudge.errors import DataError
from adjudge.types import Record

Row = dict[str, Any]
BATCH_ROWS = 256
FIGURE_ROWS = 1024

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
_IN_ARM = "arms.key_value.value."  # how Parquet names what stands in the map's values
_SCHEMA = pa.schema([*_COLUMNS.items(), ("other", _TEXT)])


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """(row number from 1, row). Raises DataError when the file is missing, empty or is no Parquet file of records."""
    with _opened(path) as file:
        yield from _rows(file.iter_batches(BATCH_ROWS), path, 1)


def read_figures(path: Path) -> Iterator[tuple[int, Row | Record]]:
    """The same without texts: records, or whole rows where the file is not as adjudge writes it. Raises as read_rows.

    The texts are not even unpacked, but for completions of which some are there and some are not: they tell what was
    asked.
    """
    with _opened(path) as file:
        done = 0
        if file.schema_arrow.equals(_SCHEMA):
            with suppress(parquet_figures.Unusual):
                for groups, whole in _alike(file):
                    for batch in file.iter_batches(FIGURE_ROWS, groups, _columns_without(file, whole)):
                        yield from enumerate(parquet_figures.records_of(batch, whole), done + 1)
                        done += len(batch)
        left, first = _groups_after(file, done)
        if left:
            yield from islice(_rows(file.iter_batches(BATCH_ROWS, left), path, first + 1), done - first, None)


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
            if len(batch) == BATCH_ROWS:
                flush()
        if batch:
            flush()
    return count


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            _check_size(path, file)
            if not file.metadata.num_rows:
                raise DataError("is empty", path=path, remedy="give a file with at least one row")
            yield file
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot be read as Parquet: {reason}", path=path) from None


def _rows(batches: Iterable[pa.RecordBatch], path: Path, first: int) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), first):
        yield number, _unpacked(row, path, number)


def _alike(file: pq.ParquetFile) -> Iterator[tuple[list[int], frozenset[str]]]:
    """Runs of row groups with the completions that are whole in each: what is read in one go."""
    groups = range(file.num_row_groups)
    for whole, run in groupby(groups, lambda group: _whole_completions(file.metadata.row_group(group))):
        yield list(run), whole


def _whole_completions(group: pq.RowGroupMetaData) -> frozenset[str]:
    """The completions that every judgment of a row group has, as far as the file says."""
    chunks = (group.column(i) for i in range(group.num_columns))
    nulls = {c.path_in_schema: c.statistics.null_count for c in chunks if c.statistics and c.statistics.has_null_count}
    return frozenset(name for name in parquet_figures.COMPLETIONS if nulls.get(_IN_ARM + name) == 0)


def _groups_after(file: pq.ParquetFile, done: int) -> tuple[list[int], int]:
    """The row groups that hold rows after the first `done`, and how many rows stand before them."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    ends = list(accumulate(sizes))
    over = bisect_right(ends, done)
    return list(range(over, len(sizes))), ends[over - 1] if over else 0


def _columns_without(file: pq.ParquetFile, whole: Collection[str]) -> list[str]:
    """The columns but for texts; completions stay where they are not whole."""
    of_arms = {t for t in parquet_figures.ARM_TEXTS if t in whole or t not in parquet_figures.COMPLETIONS}
    hidden = {*parquet_figures.PAIR_TEXTS, *(_IN_ARM + name for name in of_arms)}
    return [column.path for column in file.schema if column.path not in hidden]


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
