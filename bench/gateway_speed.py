"""What a gateway adds to a call: adjudge serve and the LiteLLM proxy before the same server, side by side in one run.

    python -m bench.gateway_speed --litellm VENV/bin/litellm [--seconds 5] [--rounds 3] [--latency 0,0.05]

One JSON object on stdout, a table on stderr. Needs `wrk` (Debian: apt install wrk), and for LiteLLM an environment of
its own: python -m venv VENV && VENV/bin/pip install 'litellm[proxy]'. Without --litellm it is left out.

The upstream (bench/canned_upstream.py) says the same to everybody after `latency` seconds. Asked in turn, each at 1, 32
and 256 connections that are kept alive, one process each:

    direct        the upstream itself: the base
    pass-through  adjudge serve, POST /v1/chat/completions, model adjudge/plain: forwarded, metered, booked
    routed        the same with model adjudge/auto: a router reads the messages' texts and picks the arm
    judged        adjudge serve, POST /v1/judge, each pair a new one: asked, read, kept in the store, booked
    litellm       the LiteLLM proxy, POST /v1/chat/completions, its defaults, one worker

`added_ms`: quantile of the latency less that of `direct` in the same round; medians over rounds. With a latency of 0
the machine is the limit, and at 32 and 256 connections a quantile is mostly time in line.
"""

import argparse
import json
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

KEY = f"sk-{secrets.token_hex(32)}"  # LiteLLM does not start without one
CONNECTIONS = (1, 32, 256)
QUANTILES = (50, 95, 99)
UPSTREAM, OURS, THEIRS = 8901, 8902, 8903
ASKED = "Which response is better? Prompt: add 17 and 25. A: 42. B: 32. Answer with [[A]] or [[B]]."

ARMS = f"""
[servers.up]
url = "http://127.0.0.1:{UPSTREAM}/v1"
concurrency = 1024
[arms.plain]
server = "up"
model = "canned"
orders = "ab"
price = {{ input = 0.1, output = 0.4 }}
[arms.reason]
like = "plain"
mode = "reasoning"
"""

LITELLM = f"""
model_list:
  - model_name: canned
    litellm_params: {{ model: openai/canned, api_base: "http://127.0.0.1:{UPSTREAM}/v1", api_key: none }}
general_settings: {{ master_key: {KEY} }}
"""

REPORT = """
function done(summary, latency, requests)
  local e = summary.errors
  local bad = e.status + e.connect + e.read + e.write + e.timeout
  io.write(string.format('\\n{"p50": %f, "p95": %f, "p99": %f, "requests": %d, "us": %d, "bad": %d}\\n',
    latency:percentile(50), latency:percentile(95), latency:percentile(99), summary.requests, summary.duration, bad))
end
"""


JUDGED = {"verdict_ba": None, "p_a": None, "prompt_tokens": 300, "completion_ab": None, "completion_ba": None}


class Target(NamedTuple):
    name: str
    url: str
    script: str


def chat(model: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": ASKED}], "max_tokens": 8})
    return f"""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {KEY}"
wrk.body = '{body}'
{REPORT}"""


def judged() -> str:
    """A new pair each time, or it would be known."""
    return f"""
local n, run = 0, tostring({{}}) .. os.time()
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  n = n + 1
  local pair = '"prompt":"add 17 and ' .. n .. ' in ' .. run .. '","response_a":"42","response_b":"32"'
  return wrk.format(nil, nil, nil, '{{"arm":"plain",' .. pair .. '}}')
end
{REPORT}"""


def router(folder: Path) -> Path:
    """Fitted on made-up records whose texts say a little of where reasoning pays."""
    rng = random.Random(0)
    with open(folder / "records.jsonl", "w") as file:
        for k in range(300):
            hard = rng.random() < 0.5
            words = " ".join(
                rng.choice(["sum", "proof", "12", "x = 3"] if hard else ["poem", "tea", "kind"]) for _ in range(20)
            )
            row: dict[str, Any] = {"id": f"r{k}", "evaluator": "canned", "domain": "d", "source": "bench", "gold": "A"}
            row |= {"prompt": words, "response_a": f"{words} a", "response_b": f"{words} b", "arms": {}}
            for arm, right, tokens in (("plain", 0.55 if hard else 0.9, 8), ("reason", 0.9, 200)):
                outcome = "A" if rng.random() < right else "B"
                row["arms"][arm] = JUDGED | {"verdict_ab": outcome, "output_tokens": tokens}
            file.write(json.dumps(row) + "\n")
    fit = ["route", "fit", str(folder / "records.jsonl"), "--arms", "plain,reason", "--budget", "5"]
    subprocess.run(
        [sys.executable, "-m", "adjudge", *fit, "--variant", "acer", "--out", str(folder / "router")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder / "router"


@contextmanager
def running(command: list[str], ready: str, folder: Path) -> Iterator[None]:
    with open(folder / f"{Path(command[0]).name}-{len(command)}.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(ready, data=None, timeout=2).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{command[0]} ended; see {log.name}") from None
                time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def asked(target: Target, connections: int, seconds: float, folder: Path) -> dict[str, float]:
    """Quantiles in milliseconds, and requests a second."""
    script = folder / f"{target.name}.lua"
    script.write_text(target.script)
    given = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "20s", "-s", str(script)]
    said = subprocess.run(["wrk", *given, target.url], capture_output=True, text=True, check=True).stdout
    found = json.loads(said.splitlines()[-1])
    if found["bad"]:
        print(f"{target.name} at {connections}: {found['bad']} bad answers", file=sys.stderr)
    told = {f"p{q}": found[f"p{q}"] / 1000 for q in QUANTILES}
    return told | {"per_s": found["requests"] / found["us"] * 1e6, "bad": found["bad"]}


def measure(targets: list[Target], seconds: float, rounds: int, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for connections in CONNECTIONS:
        runs: dict[str, list[dict[str, float]]] = {target.name: [] for target in targets}
        for target in targets:
            asked(target, connections, 1, folder)  # warm
        for _ in range(rounds):
            for target in targets:
                runs[target.name].append(asked(target, connections, seconds, folder))
        found[str(connections)] = {name: summed(of, runs["direct"]) for name, of in runs.items()}
    return found


def summed(runs: list[dict[str, float]], direct: list[dict[str, float]]) -> dict[str, Any]:
    added = {f"p{q}": [one[f"p{q}"] - base[f"p{q}"] for one, base in zip(runs, direct, strict=True)] for q in QUANTILES}
    return {
        "added_ms": {name: [statistics.median(of), min(of), max(of)] for name, of in added.items()},
        "per_s": statistics.median(one["per_s"] for one in runs),
        "bad": sum(one["bad"] for one in runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--litellm", type=Path, help="the litellm command of its own environment")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", default="0,0.05", help="of the upstream, in seconds")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian: apt install wrk")
    found: dict[str, Any] = {}
    for latency in options.latency.split(","):
        found[latency] = at(latency, options)
        table(latency, found[latency])
    print(json.dumps(found, indent=1))


def at(latency: str, options: argparse.Namespace) -> dict[str, Any]:
    here, chats = "http://127.0.0.1", "/v1/chat/completions"
    targets = [
        Target("direct", f"{here}:{UPSTREAM}{chats}", chat("canned")),
        Target("pass-through", f"{here}:{OURS}{chats}", chat("adjudge/plain")),
        Target("routed", f"{here}:{OURS}{chats}", chat("adjudge/auto")),
        Target("judged", f"{here}:{OURS}/v1/judge", judged()),
    ]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "arms.toml").write_text(ARMS)
        (folder / "litellm.yaml").write_text(LITELLM)
        upstream = [sys.executable, str(Path(__file__).with_name("canned_upstream.py"))]
        stack.enter_context(
            running([*upstream, "--port", str(UPSTREAM), "--latency", latency], f"{here}:{UPSTREAM}/", folder)
        )
        ours = [sys.executable, "-m", "adjudge", "serve", "--arms", "arms.toml", "--router", str(router(folder))]
        stack.enter_context(
            running([*ours, "--port", str(OURS), "--running", "1024"], f"{here}:{OURS}/healthz", folder)
        )
        if options.litellm:
            theirs = [str(options.litellm.resolve()), "--config", "litellm.yaml", "--port", str(THEIRS)]
            stack.enter_context(running(theirs, f"{here}:{THEIRS}/health/liveliness", folder))
            targets.append(Target("litellm", f"{here}:{THEIRS}{chats}", chat("canned")))
        return measure(targets, options.seconds, options.rounds, folder)


def table(latency: str, found: dict[str, Any]) -> None:
    print(f"\nupstream answers after {latency} s; added ms, median of rounds", file=sys.stderr)
    print(f"{'connections':>11} {'':14}{'p50':>9}{'p95':>9}{'p99':>9}{'requests/s':>12}", file=sys.stderr)
    for connections, rows in found.items():
        for name, row in rows.items():
            cells = "".join(f"{row['added_ms'][f'p{q}'][0]:9.2f}" for q in QUANTILES)
            print(f"{connections:>11} {name:14}{cells}{row['per_s']:12,.0f}", file=sys.stderr)


if __name__ == "__main__":
    main()
