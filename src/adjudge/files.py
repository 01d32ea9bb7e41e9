"""Text files of lines, plain or gzip, read as streams within bounds; each problem named by file and line.

Bounds: a line of at most 64 MB, JSON nested at most 100 deep, gzip that unpacks to at most 200 times its size
(past the first 64 MB). Writing goes to a temporary file beside the target, moved into place when it is whole.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from adjudge.errors import DataError

_Gunzip: type[gzip.GzipFile] = gzip.GzipFile
_DAMAGED: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
try:
    from isal import igzip, isal_zlib
except ImportError:  # there is none for every machine
    pass
else:  # it takes a third of the time
    _Gunzip, _DAMAGED = igzip.IGzipFile, (*_DAMAGED, isal_zlib.error)  # type: ignore[arg-type]  # typed as an instance

MAX_LINE_BYTES = 64 << 20
MAX_DEPTH = 100
MAX_GZIP_RATIO = 200
GZIP_GRACE_BYTES = 64 << 20


def lines(path: str | Path, *, whole: bool = False) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line without its end) of every line that is not blank; `whole`: every line, with its end.

    Raises DataError when the file is missing, empty, damaged, not UTF-8, holds NUL bytes or passes the bounds.
    """
    path = Path(path)
    found = False
    try:
        with open(path, "rb") as raw, _unpacked(raw, path) as file:
            packed = path.stat().st_size
            number, unpacked = 0, 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                unpacked += len(line)
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(
                        f"line is over {MAX_LINE_BYTES >> 20} MB", path=path, line=number, remedy="split it"
                    )
                if isinstance(file, gzip.GzipFile) and unpacked > GZIP_GRACE_BYTES + MAX_GZIP_RATIO * packed:
                    raise DataError(
                        f"gzip unpacks to over {MAX_GZIP_RATIO} times its size",
                        path=path,
                        line=number,
                        remedy="unpack it yourself if you trust it",
                    )
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                bare = line.strip()
                found = found or bool(bare)
                if bare or whole:
                    yield number, _checked(line if whole else bare, path, number)
    except _DAMAGED as error:
        if isinstance(error, FileNotFoundError):
            raise DataError("no such file", path=path) from None
        raise DataError(f"cannot be read: {error or type(error).__name__}", path=path) from None
    if not found:
        raise DataError("is empty", path=path, remedy="give a file with at least one line")


def decode(line: bytes, path: object, number: int) -> Any:
    """The JSON value of one line. Raises DataError on bad or too deeply nested JSON."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else f"is not valid JSON: {error}"
        raise DataError(reason, path=path, line=number, remedy="mend or delete the line") from None
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise DataError(f"is nested over {MAX_DEPTH} deep", path=path, line=number, remedy="mend or delete the line")
    return value


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes `path`'s place when the block ends well and vanishes otherwise; gzip by suffix."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed:
                    yield packed  # type: ignore[misc]  # GzipFile is a binary file in all but name
            else:
                yield raw
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path=path) from None
    finally:
        with suppress(OSError):  # not there, or nothing can be there: a file stands where a folder would
            temporary.unlink()


def _unpacked(raw: IO[bytes], path: Path) -> IO[bytes]:
    magic = raw.read(2)
    raw.seek(0)
    if magic == b"\x1f\x8b":
        return _Gunzip(fileobj=raw)  # type: ignore[return-value]  # a binary file in all but name
    if path.suffix == ".gz" and magic:
        raise DataError("is named .gz and is not gzip", path=path, remedy="rename it")
    return raw


def _checked(line: bytes, path: Path, number: int) -> bytes:
    if b"\0" in line:
        raise DataError("holds NUL bytes", path=path, line=number, remedy="save the file as UTF-8 without them")
    try:
        if not line.isascii():  # much cheaper than decoding, and true of most lines
            line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8 at byte {error.start}", path=path, line=number, remedy="save it as UTF-8"
        ) from None
    return line


def _depth(value: Any) -> int:
    deepest, stack = 0, [(value, 1)]
    while stack:
        node, depth = stack.pop()
        deepest = max(deepest, depth)
        if isinstance(node, dict):
            stack.extend((v, depth + 1) for v in node.values())
        elif isinstance(node, list):
            stack.extend((v, depth + 1) for v in node)
    return deepest
