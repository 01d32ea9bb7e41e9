"""A count on stderr for a stream whose length is not known before its end."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

T = TypeVar("T")


def counted(what: str, items: Iterable[T]) -> Iterator[T]:
    """The items; shown is how many have passed, once that takes over a second and stderr is a terminal."""
    start, bar = time.monotonic(), None
    try:
        for count, item in enumerate(items, start=1):
            if count % 500 == 0 and time.monotonic() - start > 1 and sys.stderr.isatty():
                if bar is None:
                    columns = (TextColumn("{task.description} {task.completed:,}"), TimeElapsedColumn())
                    bar = Progress(*columns, console=Console(stderr=True), transient=True)
                    task = bar.add_task(what, total=None)
                    bar.start()
                bar.update(task, completed=count)
            yield item
    finally:
        if bar is not None:
            bar.stop()
