"""Which HTTP client costs least per call? Each asks the same scripted server the same 4 kB question.

    python -m bench.http_clients [--calls 4000] [--rounds 5] [--concurrency 256]

One JSON object on stdout: per client, the median over rounds of CPU microseconds of this process per call and of calls
a second, with the smallest and largest. Clients that are not installed are named in `missing`. The rounds alternate, so
that a slow moment of the machine hits all of them. All run on uvloop, with connections kept, and read the body as JSON.
"""

import argparse
import asyncio
import importlib.util
import itertools
import json
import statistics
import time
from collections.abc import Awaitable, Callable

import msgspec
import uvloop

from tests import scripted

Ask = Callable[[], Awaitable[object]]
QUESTION = {
    "model": "scripted-1",
    "messages": [{"role": "user", "content": "Which response is better? " + "word " * 800}],
    "max_tokens": 64,
}


async def with_aiohttp(url: str, load: "Load") -> None:
    import aiohttp

    body = msgspec.json.encode(QUESTION)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=load.concurrency)) as session:

        async def ask() -> object:
            async with session.post(url + "/chat/completions", data=body, headers=headers) as answer:
                return msgspec.json.decode(await answer.read())

        await load.run(ask)


async def with_httpx2(url: str, load: "Load") -> None:
    import httpx2

    body = msgspec.json.encode(QUESTION)
    limits = httpx2.Limits(max_connections=load.concurrency, max_keepalive_connections=load.concurrency)
    async with httpx2.AsyncClient(limits=limits, trust_env=False) as client:

        async def ask() -> object:
            answer = await client.post(
                url + "/chat/completions", content=body, headers={"Content-Type": "application/json"}
            )
            return msgspec.json.decode(answer.content)

        await load.run(ask)


async def with_openai(url: str, load: "Load") -> None:
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def ask() -> object:
            return await client.chat.completions.create(**QUESTION)  # type: ignore[call-overload]

        await load.run(ask)


async def with_pyreqwest(url: str, load: "Load") -> None:
    from pyreqwest.client import ClientBuilder

    body = msgspec.json.encode(QUESTION)
    async with ClientBuilder().build() as client:

        async def ask() -> object:
            request = client.post(url + "/chat/completions").body_bytes(body).header("content-type", "application/json")
            answer = await request.build().send()
            return msgspec.json.decode(await answer.bytes())

        await load.run(ask)


CLIENTS = {"aiohttp": with_aiohttp, "httpx2": with_httpx2, "openai": with_openai, "pyreqwest": with_pyreqwest}


class Load:
    """So many calls by so many workers; `cpu_us` and `per_s` are set by `run`."""

    def __init__(self, calls: int, concurrency: int) -> None:
        self.calls = calls
        self.concurrency = concurrency
        self.cpu_us = self.per_s = 0.0

    async def run(self, ask: Ask) -> None:
        await asyncio.gather(*(ask() for _ in range(self.concurrency)))  # connections are opened before the clock runs
        numbers = iter(range(self.calls))

        async def worker() -> None:
            for _ in numbers:
                await ask()

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(self.concurrency)))
        self.cpu_us = (time.process_time() - cpu) / self.calls * 1e6
        self.per_s = self.calls / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.05)
    given = parser.parse_args()
    installed = {n: c for n, c in CLIENTS.items() if importlib.util.find_spec(n)}
    loads: dict[str, list[Load]] = {name: [] for name in installed}
    with scripted.process(scripted.Script(latency_s=given.latency)) as server:
        for _, name in itertools.product(range(given.rounds), installed):
            load = Load(given.calls, given.concurrency)
            uvloop.run(installed[name](server.url, load))
            loads[name].append(load)
    rows = {
        name: {
            "cpu_us_per_call": spread([x.cpu_us for x in runs]),
            "calls_per_s": spread([x.per_s for x in runs]),
        }
        for name, runs in loads.items()
    }
    print(json.dumps({"clients": rows, "missing": sorted(CLIENTS.keys() - installed), **vars(given)}, indent=1))


def spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 1), "min": round(min(values), 1), "max": round(max(values), 1)}


if __name__ == "__main__":
    main()
