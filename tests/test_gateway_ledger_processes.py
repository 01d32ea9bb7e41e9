"""Several processes on one ledger, one of them killed with calls in flight."""

import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import pytest

from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import WHOLE, Caps, Totals

from .gateway_ledgers import assert_books_agree, with_ledger
from .gateway_worker import WORST_USD, spend_all
from .store_worker import started


@pytest.mark.parametrize(
    ("processes", "cap_usd", "kind"),
    [(2, 0.6, "tmp_path"), pytest.param(4, 1.6, "postgres", marks=pytest.mark.postgres)],
    ids=["two on SQLite", "four on PostgreSQL"],
)
def test_processes_together_never_pass_the_cap_though_one_is_killed(processes, cap_usd, kind, request):
    found = request.getfixturevalue(kind)
    url = found if kind == "postgres" else str(found / "l.db")

    async def cap(ledger: Ledger) -> None:
        await ledger.set_caps(WHOLE, Caps(total_usd=cap_usd))

    with_ledger(url, cap)
    with ExitStack() as stack:
        workers = [stack.enter_context(started(spend_all, url, f"key {i}", 2 * (i == 0))) for i in range(processes)]
        victim, its = workers[0]
        while its.recv() < cap_usd * 10**6 / processes / 4:
            pass  # until it is in the middle of it
        victim.kill()
        victim.join()
        told = _drained(its)
        rest = [_last(said) for _, said in workers[1:]]
        for process, _ in workers[1:]:
            process.join(60)
            assert process.exitcode == 0

    assert [(word, *windows) for word, _, *windows in rest] == [("done", "all")] * (processes - 1)
    whole, keys = with_ledger(url, _totals)
    assert [round(keys[f"key {i}"].usd * 10**6) for i in range(1, processes)] == [settled for _, settled, *_ in rest]
    assert round(keys["key 0"].usd * 10**6) >= told  # nothing is lost that was settled when it was killed
    assert whole.presumed_usd >= 2 * WORST_USD and whole.reserved_usd == 0
    assert cap_usd - WORST_USD < whole.usd + whole.presumed_usd <= cap_usd  # used up, and not passed
    assert_books_agree(url)


async def _totals(ledger: Ledger) -> tuple[Totals, dict[str, Totals]]:
    totals = await ledger.all_totals()
    return totals[WHOLE], totals


def _drained(said: Connection) -> int:
    """The last that a killed process said."""
    last = 0
    try:
        while True:
            last = said.recv()
    except EOFError:
        return last


def _last(said: Connection) -> tuple[Any, ...]:
    deadline = time.monotonic() + 60
    while said.poll(max(deadline - time.monotonic(), 0)):
        word = said.recv()
        if isinstance(word, tuple):
            return word
    raise AssertionError("a process did not come to its end")
