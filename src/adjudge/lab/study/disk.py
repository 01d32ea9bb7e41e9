"""A folder that cannot be written, in one line: torch, safetensors and TensorBoard each say it in their own way."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from adjudge.errors import DataError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR})
PROBE_BYTES = 1 << 20


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises DataError in the place of what a full disk, or a folder that is not ours, raises in the block."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number not in FULL | CLOSED:
            number = _refusal(folder)
        if number is None:
            raise
        where = error.filename if isinstance(error, OSError) and error.filename else folder
        remedy = "give another --out, or mend its permissions"
        if number in FULL:
            remedy = "make room and run the same command again: it goes on from what is whole"
        raise DataError(f"cannot be written: {os.strerror(number)}", path=where, remedy=remedy) from error


def _refusal(folder: Path) -> int | None:
    """Why nothing more can be written there, None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno
    return None
