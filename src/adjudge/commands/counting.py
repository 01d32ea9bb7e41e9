"""A count on stderr for a stream whose length is not known before its end."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

T = TypeVar("T")

QUIET_S = 1.0
_LOOK_EVERY = 64


def counted(what: str, items: Iterable[T]) -> Iterator[T]:
    """The items; how many have passed is shown as `what` says, once that takes over a second and stderr is a terminal.

    what: the words around the number, with `{}` in its place, as "{} records read".
    """
    if not sys.stderr.isatty():
        return iter(items)
    return _shown(what.replace("{}", "{task.completed:,.0f}"), items)


def _shown(words: str, items: Iterable[T]) -> Iterator[T]:
    start, bar = time.monotonic(), None
    try:
        for count, item in enumerate(items, start=1):
            if count % _LOOK_EVERY == 0 and time.monotonic() - start > QUIET_S:
                if bar is None:
                    columns = (SpinnerColumn(), TextColumn(words), TimeElapsedColumn())
                    bar = Progress(*columns, console=Console(stderr=True), transient=True)
                    task = bar.add_task("", total=None)
                    bar.start()
                bar.update(task, completed=count)
            yield item
    finally:
        if bar is not None:
            bar.stop()
