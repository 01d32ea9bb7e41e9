"""A run in a process of its own, to be killed.

    python -m tests.killed STORE URL PAIRS CONCURRENCY

prints, as JSON, a line with its progress when it has begun, and its summary when it lives to its end.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from adjudge.judging.progress import Progress
from tests.runs import judged, pairs, settings


def say_once(progress: Progress) -> None:
    if not said:
        said.append(progress)
        print(msgspec.json.encode(progress).decode(), flush=True)


said: list[Progress] = []

if __name__ == "__main__":
    store, url, count, concurrency = sys.argv[1:]
    told = settings(url, server={"concurrency": int(concurrency)})
    options = {"concurrency": int(concurrency), "progress": say_once}
    summary = asyncio.run(judged(told, Path(store), list(pairs(int(count))), **options))
    print(msgspec.json.encode(summary).decode())
