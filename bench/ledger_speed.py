"""How long does a call wait for the gateway's ledger?

    python -m bench.ledger_speed [--url URL] [--callers 1 32 256] [--call-ms 0 50] [--seconds 3]

Callers reserve for two accounts that both have caps (a key of their own eight, and the service), wait as long as the
call would take, and settle; then again. Without --url in an SQLite file in a temporary folder, deleted afterwards; a
database that is named should be an empty one. One JSON object: per setting, calls a second; milliseconds that `reserve`
(on the path of every call) and `settle` (beside it) took, median and 99th percentile; processor time of the process per
call; the share of calls that were let in without asking the database; transactions a second; and whether what was
booked is what was spent.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.queues import Queues
from adjudge.gateway.ledger.values import WHOLE, Caps, Spent

KEYS = 8
WORST_USD, COST_USD = 0.002, 0.0007
CAP_USD = 1e6


class Counted(Queues):
    """Counts what goes to the database."""

    asks = batches = 0

    def ask(self, *args: Any) -> None:
        self.asks += 1
        super().ask(*args)

    def take(self, *args: Any) -> Any:
        self.batches += 1
        return super().take(*args)


async def call_on(
    ledger: Ledger, key: str, call_s: float, until: float, reserves: list[float], settles: list[float]
) -> None:
    while time.perf_counter() < until:
        began = time.perf_counter()
        reservation = await ledger.reserve((key, WHOLE), WORST_USD)
        reserves.append(time.perf_counter() - began)
        await asyncio.sleep(call_s)
        began = time.perf_counter()
        await ledger.settle(reservation, Spent(COST_USD, 1.0, 1, 700, 90))
        settles.append(time.perf_counter() - began)


def milliseconds(name: str, times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {f"{name}_ms": round(1000 * cuts[49], 3), f"{name}_ms_p99": round(1000 * cuts[98], 3)}


async def measured(ledger: Ledger, callers: int, call_s: float, seconds: float) -> dict[str, Any]:
    counted = ledger._queues = Counted()
    ledger._tasks[0].cancel()
    ledger._tasks[0] = asyncio.create_task(ledger._pump())
    before = await ledger.totals(WHOLE)
    reserves: list[float] = []
    settles: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    work = [call_on(ledger, f"key {i % KEYS}", call_s, began + seconds, reserves, settles) for i in range(callers)]
    await asyncio.gather(*work)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    booked = (await ledger.totals(WHOLE)).usd - before.usd
    count = len(settles)
    return {
        "callers": callers,
        "call_ms": round(1000 * call_s),
        "calls_per_s": round(count / took),
        **milliseconds("reserve", reserves),
        **milliseconds("settle", settles),
        "cpu_ms_per_call": round(1000 * cpu / count, 3),
        "let_in_at_once": round(1 - counted.asks / count, 4),
        "transactions_per_s": round(counted.batches / took),
        "booked_exactly": abs(booked - count * COST_USD) < 1e-9 * count,
    }


async def run(url: str, callers: list[int], call_ms: list[float], seconds: float) -> list[dict[str, Any]]:
    async with Ledger(url) as ledger:
        for name in (WHOLE, *(f"key {i}" for i in range(KEYS))):
            await ledger.set_caps(name, Caps(CAP_USD, CAP_USD, CAP_USD))
        return [await measured(ledger, n, ms / 1000, seconds) for ms in call_ms for n in callers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--call-ms", type=float, nargs="+", default=[0, 50])
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = args.url or str(Path(folder, "ledger.db"))
        rows = uvloop.run(run(url, args.callers, args.call_ms, args.seconds))
    print(json.dumps({"database": url.partition("://")[0] if args.url else "sqlite", "rows": rows}))


if __name__ == "__main__":
    main()
