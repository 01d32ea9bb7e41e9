"""Files of rows, whatever holds them: JSON Lines, a JSON array, CSV, Parquet, a dataset of the hub. Always a stream.

The container is known by its content, the suffix decides only where the content leaves it open. Everything but Parquet
goes through `files.lines` and its bounds: a line of 64 MB, gzip of 200 times its size, UTF-8, no NUL bytes.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from adjudge import files
from adjudge.errors import DataError, MissingExtra
from adjudge.pairs import json_array

HUB = "hub:"
# Written into the schema of our own Parquet files, whose column `other` holds what has no column, as JSON.
PARQUET_MARK = b"adjudge"
_BATCH_ROWS = 128
_HEADER_WORDS = frozenset({"prompt", "question", "instruction", "input", "response_a", "chosen", "accepted"})


class Row(NamedTuple):
    """`line` counts from 1: the line where the row starts, or its place where the container has no lines."""

    line: int
    value: Any
    where: str = ""


def stream(path: str | Path) -> Iterator[Row]:
    """The rows of a file or of a hub dataset ("hub:org/name" or "hub:org/name:split"), one at a time.

    Raises DataError (file, line, remedy) on what cannot be read, MissingExtra when the hub client is not installed.
    """
    if str(path).startswith(HUB):
        return _hub_rows(str(path))
    path = Path(path)
    if path.is_dir():
        raise DataError("is a folder", path=path, remedy=f"name a file in it, or read it as {HUB}{path}")
    if _magic(path) == b"PAR1":
        return _parquet_rows(path)
    if path.suffix == ".parquet":
        raise DataError("is named .parquet and is not Parquet", path=path, remedy="rename it or write it again")
    return _text_rows(path)


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from None


def _text_rows(path: Path) -> Iterator[Row]:
    suffixes = {s.lower() for s in path.suffixes[-2:]}
    first = next(line for _, line in files.lines(path))
    if suffixes & {".csv", ".tsv"}:
        return _csv_rows(path, "\t" if ".tsv" in suffixes else ",")
    if first.startswith(b"["):
        return _array_rows(path)
    if not first.startswith(b"{") and not suffixes & {".json", ".jsonl", ".ndjson"}:
        if not _header(first) & _HEADER_WORDS:
            raise DataError(
                "is neither JSON Lines, a JSON array, CSV nor Parquet", path=path, remedy="save it as one of them"
            )
        return _csv_rows(path, ",")
    return (Row(number, files.decode(line, path, number)) for number, line in files.lines(path))


def _header(line: bytes) -> set[str]:
    try:
        return set(next(csv.reader([line.decode()]), []))
    except csv.Error:
        return set()


def _array_rows(path: Path) -> Iterator[Row]:
    index = 0
    for index, (line, element) in enumerate(json_array.elements(files.lines(path), path), 1):
        yield Row(line, files.decode(element, path, line), f"element {index}")
    if not index:
        raise DataError("is empty", path=path, remedy="give a file with at least one row")


def _csv_rows(path: Path, delimiter: str) -> Iterator[Row]:
    """Rows of a CSV file with a header."""
    csv.field_size_limit(files.MAX_LINE_BYTES)  # the module's own limit, 128 kB, is below real responses
    reader = csv.reader((line.decode() for _, line in files.lines(path, whole=True)), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = next(reader)
        if len(set(header)) < len(header):
            raise DataError("the CSV header names a column twice", path=path, line=1, remedy="rename one")
        line, found = reader.line_num + 1, False
        for values in reader:
            if values:
                if len(values) != len(header):
                    raise DataError(
                        f"has {len(values)} fields, the header {len(header)}",
                        path=path,
                        line=line,
                        remedy="quote fields that hold commas, quotes or line breaks",
                    )
                found = True
                yield Row(line, _from_csv(dict(zip(header, values, strict=True)), path, line))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"is not valid CSV: {error}", path=path, line=line, remedy="mend the quotes") from None
    if not found:
        raise DataError("has a header and no rows", path=path, remedy="give a file with at least one row")


def _from_csv(row: dict[str, Any], path: Path, line: int) -> dict[str, Any]:
    """Cells are strings: an empty one is null but in a text, `gold_index` is a number and `responses` a JSON list."""
    for key in ("responses", "gold_index", "gold", "rubric"):
        if row.get(key) == "":
            del row[key]
    if "responses" in row:
        row["responses"] = files.decode(row["responses"].encode(), path, line)
        row.update({k: None for k in ("response_a", "response_b") if row.get(k) == ""})
    if row.get("gold_index", "").isdecimal():
        row["gold_index"] = int(row["gold_index"])
    return row


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # buffer_size: column chunks are read piece by piece, so that a huge row group does not stand in memory
        with pq.ParquetFile(path, buffer_size=1 << 20) as file:
            _refuse_parquet_bomb(path, file)
            ours = PARQUET_MARK in (file.schema_arrow.metadata or {})
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(number, _from_our_parquet(value) if ours else value)
    except UnicodeDecodeError:
        raise DataError("holds text that is not UTF-8", path=path, line=number + 1, remedy="write it again") from None
    except (pa.ArrowException, msgspec.DecodeError, OSError, ValueError) as error:
        raise DataError(f"cannot be read as Parquet: {error}", path=path, remedy="write it again") from None
    if not number:
        raise DataError("is empty", path=path, remedy="give a file with at least one row")


def _refuse_parquet_bomb(path: Path, file: Any) -> None:
    unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if unpacked > files.GZIP_GRACE_BYTES + files.MAX_GZIP_RATIO * path.stat().st_size:
        raise DataError(
            f"unpacks to over {files.MAX_GZIP_RATIO} times its size",
            path=path,
            remedy="write it without compression if you trust it",
        )


def _from_our_parquet(value: dict[str, Any]) -> dict[str, Any]:
    other = value.pop("other", None)
    row = {k: v for k, v in value.items() if v is not None or k not in ("rubric", "responses", "gold_index")}
    return row | (msgspec.json.decode(other, type=dict) if other else {})


def _hub_rows(address: str) -> Iterator[Row]:
    """Rows of `hub:NAME` or `hub:NAME:SPLIT`, streamed; NAME may be a local folder of data files."""
    try:
        import datasets
    except ImportError:
        raise MissingExtra("the hub client (datasets)", "pip install 'adjudge[hub]'") from None
    name, _, split = address.removeprefix(HUB).partition(":")
    try:
        found = datasets.load_dataset(name, streaming=True)
        known = ", ".join(found)
        if split not in found and (split or len(found) > 1):
            what = f"has no split {split!r}" if split else "has several splits"
            raise DataError(what, path=address, remedy=f"name one of {known} as in {HUB}{name}:{next(iter(found))}")
        number = 0
        for number, value in enumerate(found[split or known], 1):
            yield Row(number, dict(value))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"cannot be read from the hub: {error}", path=address, remedy="check name and network"
        ) from None
    if not number:
        raise DataError("is empty", path=address)
