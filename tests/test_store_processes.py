"""Several processes on one store, and processes that die."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from adjudge.store import liveness, schema
from adjudge.store.store import Claim, Store

from .store_worker import all_of, barrier, buy_on, hammer, hold, open_together, started
from .stored import ARMS, bought, count, pair, wanted


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_on_one_store_buy_every_key_exactly_once(store_url, processes):
    keys = 240
    assert sum(all_of(processes, hammer, store_url, keys // 2, 17)) == keys
    with Store.open(store_url, create=False) as store:
        assert store.spend().judgments == keys
        assert [count(store, t) for t in ("judgments", "entries", "records", "claims")] == [keys, keys, keys // 2, 0]
        assert all(list(r.judgments) == ["plain", "think"] for r in store.records())


def test_processes_that_open_a_fresh_store_at_once_make_one(store_url):
    assert all_of(4, open_together, barrier(4), store_url) == [[]] * 4
    Store.open(store_url, create=False).close()


def test_a_writer_that_is_killed_leaves_whole_judgments_only(tmp_path):
    url = str(tmp_path / "s.db")
    draw = random.Random(7)
    interrupted = 0
    for _ in range(12):
        with started(buy_on, url) as (_, said):
            interrupted += said.recv()
            time.sleep(draw.uniform(0, 0.15))
        with sqlite3.connect(url) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        raw.close()
        with Store.open(url, create=False) as store:
            _assert_whole(store)
    assert interrupted > 0  # the kills came between a claim and its put, too


def _assert_whole(store: Store) -> None:
    """Each judgment has all its calls, its entry and its price, and no claim of its own is left."""
    judgments, calls, entries = schema.judgments, schema.calls, schema.entries
    with store._database.read() as connection:
        asked = sa.select(sa.func.count()).where(calls.c.judgment_id == judgments.c.judgment_id).scalar_subquery()
        shown = sa.select(sa.func.count()).where(entries.c.judgment_id == judgments.c.judgment_id).scalar_subquery()
        claimed = sa.select(sa.func.count()).where(schema.claims.c.key == judgments.c.key).scalar_subquery()
        per_judgment = connection.execute(sa.select(asked, shown, claimed).select_from(judgments)).all()
        paid = connection.execute(sa.select(sa.func.sum(calls.c.cost_usd))).scalar() or 0
    assert set(per_judgment) <= {(3, 1, 0)}
    spent = store.spend()
    assert (spent.judgments, spent.calls) == (len(per_judgment), 3 * len(per_judgment))
    assert spent.cost_usd == pytest.approx(float(paid))


def test_what_a_killed_run_had_claimed_is_counted_and_free(store_url):
    wants = [wanted(pair(i)) for i in range(4)]
    with started(hold, store_url) as (worker, said), Store.open(store_url) as store:
        assert said.recv() == "held"
        alive = store.begin_run("ev", ARMS)
        assert alive.interrupted == 0
        assert store.claim(alive.id, wants) == [Claim.BUSY] * 3 + [Claim.MINE]
        worker.kill()
        worker.join()
        after = store.begin_run("ev", ARMS)
        assert after.interrupted == 3
        assert store.claim(after.id, wants) == [Claim.MINE] * 3 + [Claim.BUSY]


def test_a_living_run_takes_over_what_a_killed_one_had_claimed(store_url):
    with started(hold, store_url) as (worker, said), Store.open(store_url) as store:
        assert said.recv() == "held"
        run = store.begin_run("ev", ARMS).id
        worker.kill()
        worker.join()
        assert store.claim(run, [wanted(pair(i)) for i in range(3)]) == [Claim.MINE] * 3
        store.put(run, [bought(pair(i)) for i in range(3)])
        assert count(store, "claims") == 0


def test_a_run_that_was_not_ended_is_found_and_counted(store_url):
    with Store.open(store_url) as store:
        store.claim(store.begin_run("ev", ARMS).id, [wanted(pair(1))])
    with Store.open(store_url) as store:
        assert store.begin_run("ev", ARMS).interrupted == 1
        assert store.begin_run("ev", ARMS).interrupted == 0


def test_a_run_on_another_host_is_dead_after_a_minute_of_silence(store_url):
    want = wanted(pair(1))
    runs = schema.runs
    with Store.open(store_url) as store:
        far = store.begin_run("ev", ARMS).id
        here = store.begin_run("ev", ARMS).id
        store.claim(far, [want])

        def seem(silent_s: int) -> None:
            elsewhere = sa.update(runs).where(runs.c.run_id == far)
            silent = elsewhere.values(host="far away", heartbeat_ns=runs.c.heartbeat_ns - silent_s * 10**9)
            store._database.write(lambda c: c.execute(silent))

        seem(silent_s=50)
        assert store.claim(here, [want]) == [Claim.BUSY]
        seem(silent_s=20)
        store.heartbeat(far)
        assert store.claim(here, [want]) == [Claim.BUSY]
        seem(silent_s=70)
        assert store.claim(here, [want]) == [Claim.MINE]


def test_a_number_that_a_new_process_took_over_does_not_keep_a_dead_run_alive():
    this = liveness.this_process()
    now = 10**18
    assert liveness.is_alive(liveness.Sign(this, 0, ended=False), now)
    assert not liveness.is_alive(liveness.Sign(this, now, ended=True), now)
    assert not liveness.is_alive(liveness.Sign(this._replace(started="before"), now, ended=False), now)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not liveness.is_alive(liveness.Sign(this._replace(pid=gone.pid), now, ended=False), now)


def test_a_process_that_nobody_waited_for_is_dead():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started_at = liveness._started(child.pid)
        assert started_at is not None
        sign = liveness.Sign(liveness.this_process()._replace(pid=child.pid, started=started_at), 0, ended=False)
        assert liveness.is_alive(sign, 0)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has exited, and its number is still taken
        assert not liveness.is_alive(sign, 0)


def test_where_there_is_no_proc_the_system_says_when_a_process_began():
    if shutil.which("ps") is None:
        pytest.skip("no `ps` here")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    first = liveness._started_by_ps(child.pid)
    assert first
    assert liveness._started_by_ps(child.pid) == first
    child.communicate(b"\n")
    assert liveness._started_by_ps(child.pid) is None
