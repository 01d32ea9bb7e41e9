"""The writer: what was answered is in the store soon, in groups, however the answers come."""

import asyncio
from typing import Any

import pytest

from adjudge.judging.ledger import WRITE_AT_ONCE, WRITE_EVERY_S, Writer
from tests import clock


class Slow:
    """A ledger that notes what is handed to it and when, and takes its time over it."""

    def __init__(self, write_s: float = 0.0) -> None:
        self.write_s = write_s
        self.handed: dict[Any, float] = {}
        self.groups: list[int] = []

    async def put(self, bought: list[Any]) -> None:
        now = asyncio.get_running_loop().time()
        assert not self.handed.keys() & set(bought)
        self.handed |= dict.fromkeys(bought, now)
        self.groups.append(len(bought))
        await asyncio.sleep(self.write_s)


def written(ledger: Slow, came_s: list[float]) -> dict[Any, float]:
    """Judgment number i is added at came_s[i]; how long each waited until it was handed to the ledger."""

    async def go() -> None:
        loop = asyncio.get_running_loop()
        writer = Writer(ledger)  # all that it uses
        writing = asyncio.create_task(writer.run())
        for i, at in enumerate(came_s):
            await asyncio.sleep(at - loop.time())
            writer.add(i)  # it looks into none
            await writer.room()
        await asyncio.sleep(1 + 2 * ledger.write_s)  # closed only when all has had its time
        writer.close()
        await writing

    clock.run(go())
    assert sorted(ledger.handed) == list(range(len(came_s)))
    return {i: ledger.handed[i] - at for i, at in enumerate(came_s)}


@pytest.mark.parametrize("gap_s", [0.001, 0.03, 0.5])
def test_what_was_answered_is_handed_to_the_store_within_the_time_named(gap_s: float) -> None:
    waits = written(Slow(), [i * gap_s for i in range(1000)])
    assert max(waits.values()) <= WRITE_EVERY_S + 1e-9


def test_a_full_group_is_written_at_once() -> None:
    ledger = Slow()
    waits = written(ledger, [0.0] * WRITE_AT_ONCE)
    assert ledger.groups == [WRITE_AT_ONCE]
    assert set(waits.values()) == {0.0}


def test_a_slow_store_delays_what_comes_during_a_write_by_no_more_than_that_write() -> None:
    ledger = Slow(write_s=0.7)
    waits = written(ledger, [i * 0.004 for i in range(500)])
    assert max(waits.values()) <= 0.7 + WRITE_EVERY_S + 1e-9
    assert len(ledger.groups) < 10


def test_what_is_left_when_it_is_closed_is_written_without_waiting() -> None:
    async def go() -> tuple[list[int], float]:
        ledger = Slow()
        writer = Writer(ledger)  # all that it uses
        writing = asyncio.create_task(writer.run())
        for i in range(5 * WRITE_AT_ONCE):
            writer.add(i)  # it looks into none
        writer.close()
        await writing
        assert sorted(ledger.handed) == list(range(5 * WRITE_AT_ONCE))
        return ledger.groups, asyncio.get_running_loop().time()

    groups, took_s = clock.run(go())
    assert took_s == 0
    assert max(groups) <= 2 * WRITE_AT_ONCE
