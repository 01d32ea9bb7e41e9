"""An hour of simulated traffic, compressed: does the gateway's budget hold through faults, restarts and a kill?

    python -m bench.gateway_hour [--judgments 100000] [--budget 5] [--out DIR]

SIMULATED: model servers that follow a script (tests/scripted.py), pairs that are made up. Real: everything between,
`adjudge serve` in its own process with a router, a store and a ledger on SQLite, asked over HTTP by 64 callers.

- The mix shifts: from one hard pair in five to four in five and back, so that what the router buys grows dearer.
- One call in ten to a model server fails: 429, 500, cut in the middle, half a JSON object.
- At a quarter and at three quarters the gateway is stopped (SIGTERM) and started, at half it is killed (SIGKILL).
  Callers ask again for what they got no answer to.
- A hard cap that is used up shortly before the end; what comes after is refused.

Checked at the end, each a line of the JSON on stdout: mean cost per routed judgment against the budget; the cap against
what the ledger holds and against what the servers themselves say that they billed; that every judgment a caller was
given stands in the store once; memory of the gateway's process over time (memory.svg in --out).
"""

import argparse
import asyncio
import contextlib
import json
import math
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from adjudge.gateway.ledger.ledger import Ledger
from bench.gateway_speed import router
from tests import scripted
from tests.scripted import Script

CALLERS = 64
PORT = 8905
EVENTS = ((0.25, signal.SIGTERM), (0.5, signal.SIGKILL), (0.75, signal.SIGTERM))
FAULTS = {"429": 0.03, "500": 0.03, "cut": 0.02, "broken": 0.02}
PRICE = 1.0  # dollars per million tokens of output; input is free, so that tokens are the bill
URL = f"http://127.0.0.1:{PORT}"

ARMS = """
evaluator = "simulated"
[servers.cheap]
url = "{cheap}"
concurrency = 256
retries = 6
[servers.dear]
url = "{dear}"
concurrency = 256
retries = 6
[arms.plain]
server = "cheap"
model = "cheap"
orders = "ab"
max_tokens = 16
price = {{ input = 0, output = {price} }}
[arms.reason]
server = "dear"
model = "dear"
mode = "reasoning"
orders = "ab"
max_tokens = 400
price = {{ input = 0, output = {price} }}
"""


class Gateway:
    """The process, started again as often as asked; `memory`: (seconds since the first start, MB) of it."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.folder, self.options = folder, options
        self.memory: list[tuple[float, float]] = []
        self.began = time.monotonic()
        self.process: subprocess.Popen[bytes] | None = None

    def _launch(self) -> None:
        command = [sys.executable, "-m", "adjudge", "serve", *self.options, "--port", str(PORT)]
        with open(self.folder / "gateway.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    async def start(self) -> None:
        await asyncio.to_thread(self._launch)
        async with aiohttp.ClientSession() as session:
            for _ in range(600):
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{URL}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise SystemExit("the gateway does not start; see gateway.log")

    async def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        await asyncio.to_thread(self.process.wait)

    def _note_memory(self) -> None:
        assert self.process is not None
        with contextlib.suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
            if found:
                self.memory.append((time.monotonic() - self.began, int(found[1]) / 1024))

    async def watch(self) -> None:
        while True:
            self._note_memory()
            await asyncio.sleep(1)


def item(k: int, count: int) -> dict[str, str]:
    """The k-th pair; `hard` ones come more and more often, and less again."""
    rng = random.Random(k)
    hard = rng.random() < 0.2 + 0.6 * (1 - abs(2 * k / count - 1))
    words = [rng.choice(["sum", "proof", "12", "x = 3"] if hard else ["poem", "tea", "kind"]) for _ in range(20)]
    text = " ".join(words)
    return {"prompt": f"{text} {k}", "response_a": f"{text} a", "response_b": f"{text} b", "arm": "auto"}


class Traffic:
    """What came of the questions: `told` of answers, `given` the judgments that callers hold."""

    def __init__(self, count: int) -> None:
        self.count, self.next = count, 0
        self.reached = {share: asyncio.Event() for share, _ in EVENTS}
        self.told = Counter[str]()
        self.given: list[str] = []

    async def caller(self, session: aiohttp.ClientSession) -> None:
        while self.next < self.count:
            k, self.next = self.next, self.next + 1
            for share, event in self.reached.items():
                if self.next >= share * self.count:
                    event.set()
            await self.ask(session, item(k, self.count))

    async def ask(self, session: aiohttp.ClientSession, pair: dict[str, str]) -> None:
        for attempt in range(50):
            try:
                async with session.post(f"{URL}/v1/judge", json=pair) as answer:
                    body = await answer.json()
                    status, wait_s = answer.status, float(answer.headers.get("Retry-After", "0.2"))
            except (aiohttp.ClientError, TimeoutError):
                self.told["no answer"] += 1
                await asyncio.sleep(0.3)
                continue
            if status == 200:
                self.told["judged" if not body["cached"] else "judged, known"] += 1
                self.given.append(body["id"].removeprefix("jdg_"))
                return
            self.told[f"{status} {body['error']['type']}"] += 1
            if status in (402, 400) or attempt == 49:
                return
            await asyncio.sleep(min(wait_s, 2.0))


async def drive(gateway: Gateway, traffic: Traffic) -> float:
    await gateway.start()
    began = time.monotonic()
    watching = asyncio.create_task(gateway.watch())
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CALLERS), timeout=timeout) as session:
        callers = [asyncio.create_task(traffic.caller(session)) for _ in range(CALLERS)]
        for share, how in EVENTS:
            await traffic.reached[share].wait()
            await gateway.end(how)
            await gateway.start()
        await asyncio.gather(*callers)
    took = time.monotonic() - began
    await gateway.end(signal.SIGTERM)
    watching.cancel()
    return took


async def checked(
    folder: Path, traffic: Traffic, cap_usd: float, budget: float, reference: float, billed: int
) -> dict[str, Any]:
    async with Ledger(str(folder / "gateway.db")) as ledger:
        totals = await ledger.all_totals()
    whole = totals[""]
    routed = next(t for name, t in totals.items() if name.startswith("route:"))
    with contextlib.closing(sqlite3.connect(folder / "gateway.db")) as base:
        kept = Counter(key for (key,) in base.execute("SELECT final_key FROM judgments WHERE final_key IS NOT NULL"))
    mean = routed.units / routed.judgments / reference
    against = whole.usd + whole.presumed_usd + whole.reserved_usd
    return {
        "budget": {"asked": budget, "mean": mean, "over": mean / budget - 1, "judgments": routed.judgments},
        "cap_usd": {
            "cap": cap_usd,
            "settled": whole.usd,
            "presumed": whole.presumed_usd,
            "kept_in_ledger": against,
            "billed_by_servers": billed * PRICE / 1e6,
            "held": against <= cap_usd and billed * PRICE / 1e6 <= cap_usd,
        },
        "store": {
            "given_to_callers": len(set(traffic.given)),
            "missing": sum(key not in kept for key in set(traffic.given)),
            "kept": len(kept),
            "more_than_once": sum(n > 1 for n in kept.values()),
        },
    }


def picture(memory: list[tuple[float, float]], path: Path) -> None:
    """Memory over time, by hand: axes in MB and seconds."""
    last, top = memory[-1][0], 100 * math.ceil(max(mb for _, mb in memory) / 100)
    points = " ".join(f"{60 + 720 * s / last:.1f},{260 - 230 * mb / top:.1f}" for s, mb in memory)
    ticks = "".join(
        f'<text x="52" y="{264 - 230 * mb / top:.0f}" text-anchor="end">{mb}</text>'
        f'<path d="M60 {260 - 230 * mb / top:.0f}H780" stroke="#8884"/>'
        for mb in range(0, top + 1, 100)
    )
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 300" font-family="sans-serif" font-size="12" '
        f'fill="#777">{ticks}<polyline points="{points}" fill="none" stroke="#2a78d6" stroke-width="2"/>'
        f'<text x="60" y="284">0 s</text><text x="780" y="284" text-anchor="end">{last:.0f} s</text>'
        '<text x="60" y="18">memory of the gateway, MB</text></svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judgments", type=int, default=100_000)
    parser.add_argument("--budget", type=float, default=5.0, help="mean cost, in mean costs of the cheap arm")
    parser.add_argument("--out", type=Path, default=Path("out/gateway-hour"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if (given.out / "gateway.db").exists():
        raise SystemExit(f"{given.out} holds an earlier run; give another --out, or delete it")
    folder = given.out.resolve()
    fitted = router(folder)
    reference = json.loads((fitted / "router.json").read_text())["reference_cost"]
    cap_usd = 0.98 * given.judgments * given.budget * reference * PRICE / 1e6
    cheap = Script(seed=1, output_tokens=(5, 12), faults=FAULTS, says=("[[A]]", "[[B]]"))
    dear = Script(seed=2, output_tokens=(120, 320), faults=FAULTS, says=("So. [[A]]", "So. [[B]]"))
    with scripted.process(cheap) as one, scripted.process(dear) as other:
        (folder / "arms.toml").write_text(ARMS.format(cheap=one.url, dear=other.url, price=PRICE))
        options = [
            "--arms",
            "arms.toml",
            "--router",
            str(fitted),
            "--budget",
            str(given.budget),
            "--cap-usd",
            f"{cap_usd:.6f}",
        ]
        gateway, traffic = Gateway(folder, options), Traffic(given.judgments)
        took = asyncio.run(drive(gateway, traffic))
        books = [server.count() for server in (one, other)]
    billed = sum(b.output_tokens for b in books)
    found = asyncio.run(checked(folder, traffic, cap_usd, given.budget, reference, billed))
    picture(gateway.memory, given.out / "memory.svg")
    tenth = [gateway.memory[int(len(gateway.memory) * k / 10)][1] for k in range(10)] + [gateway.memory[-1][1]]
    found |= {"answers": dict(traffic.told), "seconds": took, "memory_mb": [round(mb) for mb in tenth]}
    found["upstream_faults"] = [b.faults for b in books]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
