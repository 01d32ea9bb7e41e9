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
    """`learn` and `new` are pairs, `judged` and `judged_new` the stores of their judgments; `arms` names `prompt`,
    which lies beside it. The stores, the router and the report are written by the steps of the demo."""

    learn: Path
    new: Path
    arms: Path
    prompt: Path
    judged: Path
    router: Path
    judged_new: Path
    report: Path


NAMES = Folder(
    *map(Path, ("learn.jsonl", "new.jsonl", "arms.toml", "judge.jinja", "learn.db", "router", "new.db", "report.html"))
)


def prepare(out: Path, learn: Sequence[Pair], new: Sequence[Pair]) -> Folder:
    """Write the pairs, the arms and their prompt into `out`.

    What lies there from an earlier demo is used again. Raises DataError where a file of these names is another one: the
    demo never writes over what is not its own.
    """
    folder = Folder(*(out / name for name in NAMES))
    shipped = resources.files("adjudge.demo.world")
    texts = {path: shipped.joinpath(path.name).read_bytes() for path in (folder.arms, folder.prompt)}
    for path in (folder.learn, folder.new):
        _check(path, b'{"id":"demo-', whole=False)
    for path, content in texts.items():
        _check(path, content, whole=True)
    for path, content in texts.items():
        with files.replacing(path) as file:
            file.write(content)
    own.write(folder.learn, learn)
    own.write(folder.new, new)
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
