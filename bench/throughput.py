"""How many judgments a second, against a bare HTTP loop on the same server; and how much memory a long run takes.

    python -m bench.throughput [--judgments 4000] [--rounds 5] [--latency 0.05] [--concurrency 256]
    python -m bench.throughput --memory 1000000 [--latency 0]

One JSON object on stdout. The scripted server runs in its own process on loopback. `run` is all of
`adjudge.judging.run`: prompts rendered from templates, claims and judgments in an SQLite store on disk, replies read
and priced; its arm asks in one order, so a judgment is a call. `bare` posts the same questions, rendered beforehand,
with as many workers on one aiohttp session, and decodes the JSON of each answer. The two take turns, and a ratio is of
neighbours, so that a slow moment of the machine hits both. The pairs are made and the store is opened before the clock
runs; connections are opened while it does, for both. Both run with the collector as `adjudge judge` sets it.

`--memory N` judges N pairs in one run, made as they are drawn, and reports this process's resident memory on the way
and at its peak.
"""

import argparse
import asyncio
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from adjudge.config import Settings, from_dict
from adjudge.judging.backends.base import open_backend
from adjudge.judging.backends.completion import request_body
from adjudge.judging.collector import rare_collections
from adjudge.judging.judge import judge
from adjudge.judging.progress import Progress
from adjudge.judging.run import run
from adjudge.store.store import Store
from adjudge.types import Pair
from tests import scripted

WORDS = (
    "the",
    "answer",
    "follows",
    "from",
    "what",
    "was",
    "said",
    "before",
    "and",
    "nothing",
    "else",
    "speaks",
    "for",
    "it",
)


def pairs(count: int, first: int = 0) -> Iterator[Pair]:
    """Pairs of 60, 150 and 150 words, each a little different."""
    for i in range(first, first + count):
        prompt, a, b = (
            " ".join(WORDS[(i * k + j) % len(WORDS)] for j in range(n)) for k, n in ((1, 60), (3, 150), (7, 150))
        )
        yield Pair(
            id=f"pair-{i}",
            prompt=f"Question {i}: {prompt}?",
            response_a=a,
            response_b=b,
            gold="A",
            domain="d",
            source="s",
        )


def settings(url: str, concurrency: int) -> Settings:
    arm = {"server": "s", "model": "m", "orders": "ab", "max_tokens": 64, "price": {"input": 1.0, "output": 4.0}}
    return from_dict({"servers": {"s": {"url": url, "concurrency": concurrency}}, "arms": {"plain": arm}})


class Timed(msgspec.Struct):
    """What one round measured: per second of wall time, and CPU microseconds of this process for each."""

    per_s: float
    cpu_us: float


async def whole_run(url: str, count: int, concurrency: int, first: int) -> Timed:
    told = settings(url, concurrency)
    given = list(pairs(count, first))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"{folder}/judgments.db")
        backend = open_backend("s", told)
        try:
            began, cpu = time.perf_counter(), time.process_time()
            with rare_collections():
                summary = await run(
                    given, list(told.arms.values()), told, store, backends={"s": backend}, concurrency=concurrency
                )
            timed = Timed(count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6)
        finally:
            await backend.close()
            store.close()
    assert summary.bought == count, summary
    assert not summary.failed, summary
    return timed


async def bare_loop(url: str, count: int, concurrency: int, first: int) -> Timed:
    told = settings(url, concurrency)
    bodies = iter([request_body(next(judge(pair, told.arms["plain"], told))[0]) for pair in pairs(count, first)])
    address, headers = f"{url}/chat/completions", {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def worker() -> None:
            for body in bodies:
                async with session.post(address, data=body, headers=headers) as answer:
                    assert msgspec.json.decode(await answer.read())["choices"]

        began, cpu = time.perf_counter(), time.process_time()
        with rare_collections():
            await asyncio.gather(*(worker() for _ in range(concurrency)))
        return Timed(count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6)


def speed(count: int, rounds: int, latency_s: float, concurrency: int) -> dict[str, object]:
    bare, whole = [], []
    with scripted.process(scripted.Script(latency_s=latency_s)) as server:
        uvloop.run(bare_loop(server.url, concurrency, concurrency, 0))  # what is built once is not measured
        uvloop.run(whole_run(server.url, concurrency, concurrency, 0))
        for i in range(rounds):
            bare.append(uvloop.run(bare_loop(server.url, count, concurrency, i * count)))
            whole.append(uvloop.run(whole_run(server.url, count, concurrency, i * count)))
    return {
        "judgments_per_s": spread([x.per_s for x in whole]),
        "bare_calls_per_s": spread([x.per_s for x in bare]),
        "ratio": spread([w.per_s / b.per_s for w, b in zip(whole, bare, strict=True)]),
        "cpu_us_per_judgment": spread([x.cpu_us for x in whole]),
        "bare_cpu_us_per_call": spread([x.cpu_us for x in bare]),
    }


async def long_run(url: str, count: int, concurrency: int) -> dict[str, object]:
    told = settings(url, concurrency)
    marks: dict[int, float] = {}

    def watch(progress: Progress) -> None:
        marks.setdefault(progress.done * 20 // count * 5, resident_mb())

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "judgments.db"
        store = Store.open(str(path))
        backend = open_backend("s", told)
        try:
            with rare_collections():
                summary = await run(
                    pairs(count),
                    list(told.arms.values()),
                    told,
                    store,
                    backends={"s": backend},
                    concurrency=concurrency,
                    progress=watch,
                )
        finally:
            await backend.close()
            store.close()
        return {
            "pairs": count,
            "failed": summary.failed,
            "judgments_per_s": round(count / summary.seconds, 1),
            "resident_mb_at_percent": marks,
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "store_mb": round(path.stat().st_size / 1e6, 1),
        }


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


def spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgments", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--memory", type=int, metavar="PAIRS", help="one run of so many pairs, for its memory")
    given = parser.parse_args()
    if given.memory:
        with scripted.process(scripted.Script(latency_s=given.latency)) as server:
            measured = uvloop.run(long_run(server.url, given.memory, given.concurrency))
    else:
        measured = speed(given.judgments, given.rounds, given.latency, given.concurrency)
    print(json.dumps({**measured, "given": vars(given)}, indent=1))


if __name__ == "__main__":
    main()
