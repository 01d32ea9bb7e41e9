"""`adjudge serve` as a process: whether it is stopped or killed, no judgment and no settled spend is lost."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from adjudge.gateway.ledger.ledger import Ledger
from adjudge.store.store import Store
from tests import scripted

ARMS = """
evaluator = "m"
[servers.s]
url = "{url}"
[arms.plain]
server = "s"
model = "m"
orders = "ab"
max_tokens = 64
repair = false
price = {{ input = 1.0, output = 10.0 }}
"""


SERVE = [sys.executable, "-m", "adjudge", "serve", "--arms", "arms.toml", "--store", "g.db", "--port", "0"]


@contextlib.contextmanager
def serving(folder, url):
    """The command with a store in the folder: (process, address)."""
    (folder / "arms.toml").write_text(ARMS.format(url=url))
    with (
        (folder / "err.log").open("w") as log,
        subprocess.Popen([*SERVE, "--json"], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True) as child,
    ):
        try:
            assert child.stdout is not None
            yield child, json.loads(child.stdout.readline())["address"]
        finally:
            child.kill()


def judge(address, i):
    body = {"arm": "plain", "prompt": f"Add {i} and {i}.", "response_a": str(2 * i), "response_b": "no"}
    request = urllib.request.Request(
        address + "/v1/judge", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def totals(folder):
    """What `adjudge keys` and the gateway would say: judgments in the store, and the ledger's sums."""

    async def read():
        async with Ledger(str(folder / "g.db")) as ledger:
            return await ledger.totals("")

    with Store.open(str(folder / "g.db"), create=False) as store:
        spend = store.spend()
    return spend, asyncio.run(read())


@pytest.mark.slow
def test_stopped_by_a_signal_it_ends_what_is_under_way_and_loses_nothing_and_killed_it_loses_no_settled_spend(tmp_path):
    with scripted.process(scripted.Script(latency_s=0.5)) as server:
        found = []
        with serving(tmp_path, server.url) as (child, address):
            asked = threading.Thread(target=lambda: found.append(judge(address, 0)))
            asked.start()
            time.sleep(0.25)
            child.send_signal(signal.SIGTERM)
            asked.join()
            assert child.wait(20) == 0
        assert found[0]["outcome"] in ("A", "B", "tie")
        spend, booked = totals(tmp_path)
        assert (spend.judgments, booked.judgments, booked.presumed_usd) == (1, 1, 0)
        assert booked.usd == pytest.approx(spend.cost_usd) == pytest.approx(found[0]["cost_usd"])
        lines = (tmp_path / "err.log").read_text().splitlines()
        assert [json.loads(line)["status"] for line in lines] == [200]

        with serving(tmp_path, server.url) as (child, address):
            assert judge(address, 0)["cached"]
            settled = [judge(address, i)["cost_usd"] for i in range(1, 4)]
            asked = threading.Thread(target=lambda: judge_or_not(address))
            asked.start()
            time.sleep(0.25)
            child.kill()
            child.wait()
            asked.join()
        spend, booked = totals(tmp_path)
        assert spend.judgments == 4
        assert booked.usd == pytest.approx(found[0]["cost_usd"] + sum(settled))


def judge_or_not(address):
    with contextlib.suppress(OSError, ValueError):
        judge(address, 99)


def test_bad_input_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "arms.toml").write_text(ARMS.format(url="http://127.0.0.1:1/v1"))
    for more, says in (
        (["--budget", "2"], "--router"),
        (["--host", "0.0.0.0"], "no keys"),
        (["--reward-arm", "plan"], "plain"),
    ):
        done = subprocess.run([*SERVE, *more], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, ""), done.stderr
        assert says in done.stderr
