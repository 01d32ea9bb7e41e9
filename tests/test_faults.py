"""Servers that misbehave, processes that are killed, processes that share a store: the books balance all the same."""

import asyncio
import itertools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from adjudge.judging.backends.base import open_backend
from adjudge.judging.progress import Progress, Summary
from adjudge.judging.run import run
from adjudge.store.store import Store
from adjudge.types import Outcome
from tests import scripted
from tests.runs import judged, kept, one_call, pairs, settings, spent

KEY = "sk-very-secret-0123456789"
PATIENT = {"retries": 12, "concurrency": 64}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "judgments.db"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter rests between attempts, the same rules."""
    monkeypatch.setattr("adjudge.judging.limits.FIRST_BACKOFF_S", 0.02)
    monkeypatch.setattr("adjudge.judging.limits.LONGEST_BACKOFF_S", 0.2)


def survived(path: Path, script: scripted.Script, count: int = 200) -> tuple[Summary, scripted.Count]:
    """A run against a server in its own process. A hang is given up soon, anything else has time enough."""
    deadline_s = 5.0 if "hang" in script.faults else 30.0
    at_once = 4 if script.faults.keys() <= {"big", "bomb"} else 64  # those two are 50 and 200 MB each
    with scripted.process(script) as server:
        told = settings(server.url, server=PATIENT | {"deadline_s": deadline_s})
        return asyncio.run(judged(told, path, pairs(count), concurrency=at_once)), server.count()


def balanced(path: Path, count: scripted.Count) -> None:
    """The store's books are the server's books, to the token and to the call."""
    assert spent(path) == (count.prompt_tokens, count.output_tokens, count.unmetered_calls)
    assert count.calls == sum(c.attempts for j in kept(path).values() for c in j.calls)
    assert count.undelivered == 0


@pytest.mark.parametrize("fault", sorted(scripted.FAULTS))
def test_a_run_survives_a_fault_in_thirty_percent_of_calls_and_its_books_balance(path: Path, fault: str) -> None:
    pairs_asked = 60 if fault in ("429-date", "big", "bomb", "hang") else 200  # those take their time
    summary, count = survived(path, scripted.Script(faults={fault: 0.3}, seed=1), pairs_asked)
    judgments = kept(path)
    assert len(judgments) == summary.bought == pairs_asked
    assert count.faults[fault] > 0.15 * pairs_asked
    expected = {Outcome.A, Outcome.B, Outcome.TIE} | ({Outcome.UNREAD} if fault == "empty" else set())
    assert {j.outcome for j in judgments.values()} <= expected
    balanced(path, count)


def test_a_run_survives_all_faults_at_once(path: Path) -> None:
    faults = {fault: 0.005 if fault == "429-date" else 0.3 / len(scripted.FAULTS) for fault in scripted.FAULTS}
    summary, count = survived(path, scripted.Script(faults=faults, seed=2, reasoning="reasoning"), 600)
    assert len(kept(path)) == summary.bought == 600
    assert set(count.faults) == scripted.FAULTS
    balanced(path, count)


def test_a_server_that_only_fails_leaves_every_pair_with_an_outcome(path: Path) -> None:
    async def go() -> tuple[Summary, scripted.Count]:
        async with scripted.serving(scripted.Script(faults={"broken": 1.0})) as server:
            told = settings(server.url, server=PATIENT | {"retries": 1})
            return await judged(told, path, pairs(100)), server.count

    summary, count = asyncio.run(go())
    assert summary.outcomes == {Outcome.FAILED: 100}
    assert count.calls == 200
    assert spent(path) == (0, 0, 200)
    assert all(j.error and "no chat completion" in j.error for j in kept(path).values())


def test_a_server_that_is_down_for_a_while_burns_no_pair(path: Path) -> None:
    script = scripted.Script(down_from=100, down_s=3.0, latency_s=0.002)
    summary, count = survived(path, script, 400)
    assert summary.complete
    assert 1 <= count.faults["503"] <= 2 * 64
    assert count.calls == 400 + count.faults["503"]


def test_the_key_is_in_nothing_that_is_kept_or_said(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = []

    async def go() -> Summary:
        async with scripted.serving(scripted.Script(faults={"leak": 0.4, "echo": 0.4})) as server:
            told = settings(server.url, server=PATIENT | {"api_key_env": "MY_KEY", "retries": 1})
            backend = open_backend("s", told, {"MY_KEY": KEY})
            store = Store.open(str(path))
            options = {"backends": {"s": backend}, "concurrency": 8, "progress": lambda p: said.append(repr(p))}
            try:
                return await run(pairs(100), told.choose(["all"]), told, store, **options)
            finally:
                store.close()
                await backend.close()

    summary = asyncio.run(go())
    assert summary.failed > 0
    assert any("***" in c.text for j in kept(path).values() for c in j.calls)
    assert any("***" in (j.error or "") for j in kept(path).values())
    everything = repr(summary) + repr(said) + "".join(capfd.readouterr())
    assert KEY not in everything
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()


def begun(path: Path, url: str, count: int, concurrency: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.killed", str(path), url, str(count), str(concurrency)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(child: subprocess.Popen[str]) -> Summary:
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    return msgspec.json.decode(out.splitlines()[-1], type=Summary)


@pytest.mark.slow
def test_killed_twenty_times_nothing_is_lost_and_only_what_was_in_flight_is_bought_twice(path: Path) -> None:
    """Every call is billed 100 + 10 tokens here, so that the books of store and server can be told apart by calls.

    A claim that a kill leaves behind is of one of three kinds: its call is in the server's books and the judgment is
    not in the store (it will be bought twice); it was claimed ahead and no worker had it yet; or a worker had it and
    its call had not come to the server, or not into its books. Only the first depends on how fast anything is, and it
    is counted, so the bounds hold however slow the machine is. (That an answer waits only WRITE_EVERY_S to be written
    is for test_ledger to show, in made-up time.)
    """
    count, concurrency = 1200, 16
    ahead = concurrency // 2 + concurrency // 4  # a batch, asked for when fewer than half of one are left
    not_in_the_books = ahead + concurrency
    draw = random.Random(3)
    interrupted, asked, written = [], [0], [0]
    with scripted.process(scripted.Script(latency_s=0.05, prompt_tokens=(100, 100), output_tokens=(10, 10))) as server:
        for _ in range(20):
            child = begun(path, server.url, count, concurrency)
            assert child.stdout is not None
            interrupted.append(msgspec.json.decode(child.stdout.readline(), type=Progress).interrupted)
            time.sleep(draw.uniform(0.0, 0.2))
            assert child.poll() is None, "the run was over before it could be killed"
            child.send_signal(signal.SIGKILL)
            child.communicate()
            asked.append(server.count().calls)
            written.append(len(kept(path)))
        last = ended(begun(path, server.url, count, concurrency))
        books = server.count()
    judgments = kept(path)
    assert len(judgments) == count
    assert all(j.outcome.is_verdict for j in judgments.values())
    assert spent(path)[:2] == (100 * count, 10 * count)
    assert interrupted[0] == 0
    reported = [*interrupted[1:], last.interrupted]  # by the run after each kill
    bought_twice = books.calls - count
    assert 0 < bought_twice <= sum(reported) <= bought_twice + 20 * not_in_the_books
    for found, calls, kept_of_them in zip(reported, diff(asked), diff(written), strict=True):
        assert found <= calls - kept_of_them + not_in_the_books


def diff(counts: list[int]) -> list[int]:
    return [now - before for before, now in itertools.pairwise(counts)]


@pytest.mark.slow
def test_two_processes_on_one_store_buy_nothing_twice_and_see_no_lock(path: Path) -> None:
    with scripted.process(scripted.Script(latency_s=0.01)) as server:
        children = [begun(path, server.url, 800, 16) for _ in range(2)]
        one, two = (ended(child) for child in children)
        books = server.count()
    assert books.calls == one.bought + two.bought == 800
    assert one.skipped + two.skipped == 800
    assert len(kept(path)) == 800
    assert spent(path) == (books.prompt_tokens, books.output_tokens, 0)


def test_both_orders_and_a_repair_are_all_counted(path: Path) -> None:
    async def go() -> scripted.Count:
        async with scripted.serving(scripted.Script(faults={"empty": 0.3, "500": 0.1, "counts": 0.1})) as server:
            arms = {"both": one_call(orders="both", repair=True, samples=2)}
            await judged(settings(server.url, server=PATIENT, arms=arms), path, pairs(100))
            return server.count

    count = asyncio.run(go())
    balanced(path, count)
    assert count.calls >= 400
