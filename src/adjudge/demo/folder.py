"""What the demo writes into its folder, all of it files that the other commands take too."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from adjudge import files
from adjudge.errors import DataError
from adjudge.pairs import own
from adjudge.types import Pair


class Folder(NamedTuple):
    """`arms` names `prompt`, which lies beside it; `store` and `report` are written by judging and by the report."""

    pairs: Path
    arms: Path
    prompt: Path
    store: Path
    report: Path


def prepare(out: Path, pairs: Sequence[Pair]) -> Folder:
    """Write the pairs, the arms and their prompt into `out`.

    What lies there from an earlier demo is used again. Raises DataError where a file of these names is another one: the
    demo never writes over what is not its own.
    """
    folder = Folder(
        *(out / name for name in ("pairs.jsonl", "arms.toml", "judge.jinja", "judgments.db", "report.html"))
    )
    _check(folder.pairs, b'{"id":"demo-', whole=False)
    for path in (folder.arms, folder.prompt):
        content = resources.files("adjudge.demo").joinpath(path.name).read_bytes()
        _check(path, content, whole=True)
        with files.replacing(path) as file:
            file.write(content)
    own.write(folder.pairs, pairs)
    return folder


def _check(path: Path, content: bytes, *, whole: bool) -> None:
    """Raises DataError unless `path` is missing, or holds (or begins with) `content`."""
    try:
        there = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path, remedy="choose another --out") from None
    if there != content if whole else not there.startswith(content):
        raise DataError(
            "is not what the demo would write there", path=path, remedy="choose another --out, or delete it"
        )
