"""Processes that work on a store, together with others of their kind; some are killed.

They are forked from a server that has everything imported, so that they start at the same moment and in no time.
"""

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from typing import Any

from adjudge.store import migrate
from adjudge.store.store import Claim, Store

from .stored import ARMS, bought, call, judgment, pair, wanted

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pytest", "alembic.command", migrate.__name__, __name__])


def barrier(count: int) -> Barrier:
    """What `count` processes wait for each other at."""
    return _context.Barrier(count)


@contextmanager
def started(work: Callable[..., None], *args: object) -> Iterator[tuple[BaseProcess, Connection]]:
    """A process that runs work(connection, *args), and what it says; killed when the block ends."""
    ours, its = _context.Pipe()
    process = _context.Process(target=work, args=(its, *args), daemon=True)
    process.start()
    its.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def all_of(count: int, work: Callable[..., None], *args: object) -> list[Any]:
    """What `count` processes at once say at their end; none of them may fail."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        workers = [stack.enter_context(started(work, *args)) for _ in range(count)]
        said = [ours.recv() for _, ours in workers]
        for process, _ in workers:
            process.join(60)
        assert [process.exitcode for process, _ in workers] == [0] * count
        return said


def hammer(said: Connection, url: str, count: int, batch: int) -> None:
    """Claims `count` pairs in two arms, in an order of its own, and buys what it gets; says how many that were."""
    mine = 0
    with Store.open(url) as store:
        run = store.begin_run("ev", ARMS).id
        left = [(i, key) for i in range(count) for key in ARMS]
        random.shuffle(left)
        while left:
            part, left = left[:batch], left[batch:]
            answers = store.claim(run, [wanted(pair(i), key) for i, key in part])
            got = [what for what, answer in zip(part, answers, strict=True) if answer is Claim.MINE]
            left += [what for what, answer in zip(part, answers, strict=True) if answer is Claim.BUSY]
            store.put(run, [bought(pair(i), arm_key=key) for i, key in got[1:]])
            store.put(run, [bought(pair(i), arm_key=key) for i, key in got[:1]])
            store.heartbeat(run)
            mine += len(got)
        store.end_run(run)
    said.send(mine)


def open_together(said: Connection, barrier: Barrier, url: str) -> None:
    """Opens the store at the same moment as the others."""
    barrier.wait(60)
    with Store.open(url) as store:
        said.send(store.evaluators())


def buy_on(said: Connection, url: str) -> None:
    """Claims and buys without end; says how many judgments were interrupted before it."""
    with Store.open(url) as store:
        run = store.begin_run("ev", ARMS)
        said.send(run.interrupted)
        several = tuple(call(sample=i) for i in range(3))
        for start in range(0, 10**9, 20):
            pairs = [pair(i) for i in range(start, start + 20)]
            answers = store.claim(run.id, [wanted(p) for p in pairs])
            mine = [p for p, answer in zip(pairs, answers, strict=True) if answer is Claim.MINE]
            store.put(run.id, [bought(p, judgment(calls=several)) for p in mine])


def hold(said: Connection, url: str) -> None:
    """Claims three pairs and waits to be killed."""
    with Store.open(url) as store:
        store.claim(store.begin_run("ev", ARMS).id, [wanted(pair(i)) for i in range(3)])
        said.send("held")
        time.sleep(600)
