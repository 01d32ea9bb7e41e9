"""What a stage leaves in its folder once it is whole; read without torch."""

from pathlib import Path
from typing import Any

import msgspec

from adjudge.errors import DataError
from adjudge.files import replacing

DONE = "done.json"
Figures = dict[str, Any]


class Done(msgspec.Struct, frozen=True):
    """`key` changes with whatever made the stage; `figures` are what it says of itself."""

    key: str
    seconds: float
    figures: Figures


def read_done(folder: Path) -> Done | None:
    """What a stage left, None where it is not whole. Raises DataError."""
    path = folder / DONE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Done)
    except msgspec.DecodeError as error:
        raise DataError(
            f"is no end of a stage: {error}", path=path, remedy="delete it and run the stage again"
        ) from None


def write_done(done: Done, folder: Path) -> None:
    """Raises DataError where it cannot be written."""
    with replacing(folder / DONE) as file:
        file.write(msgspec.json.format(msgspec.json.encode(done)))
