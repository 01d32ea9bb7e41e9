"""Pairs times arms, claimed in the store a batch at a time, so that what two runs both want is bought by one of them.

Memory is bounded whatever the number of pairs: a batch, and at most MOST_DEFERRED judgments that another run is buying
just now. Those are asked for again when there are many of them and when everything else is done, until the other run
has finished or died.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from adjudge.config import Arm
from adjudge.judging.ledger import Ledger, wait_at_most
from adjudge.judging.progress import Tally
from adjudge.store.store import Claim, Wanted
from adjudge.types import Pair, digest

MOST_DEFERRED = 1024
ASK_AGAIN_S = (0.1, 2.0)


class Job(NamedTuple):
    """A judgment to be bought."""

    wanted: Wanted
    pair: Pair
    arm: Arm


class Feed:
    """Jobs that are this run's to buy.

    `arms` are (arm key, arm); `is_open` says whether an arm can still be bought; `stop` ends the feed. What is done is
    counted in the tally as it is found.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        arms: Sequence[tuple[str, Arm]],
        ledger: Ledger,
        tally: Tally,
        *,
        batch: int,
        is_open: Callable[[Arm], bool],
        stop: asyncio.Event,
    ) -> None:
        self._pairs: Iterator[Pair] | None = iter(pairs)
        self._arms = arms
        self._ledger = ledger
        self._tally = tally
        self._batch = batch
        self._is_open = is_open
        self._stop = stop
        self._deferred: list[Job] = []
        self.dropped = 0  # wanted of arms that can no longer be bought
        self._puller = ThreadPoolExecutor(1, "pairs")  # an iterator of pairs reads files and may block

    async def next(self) -> list[Job]:
        """The next jobs, claimed; empty when there are none left, no arm can be bought or the run is to stop.

        Raises what the iterator of pairs raises, and StoreError.
        """
        pause = ASK_AGAIN_S[0]
        while not self._stop.is_set() and any(self._is_open(arm) for _, arm in self._arms):
            again = self._pairs is None or len(self._deferred) >= MOST_DEFERRED
            wishes = self._deferred[: self._batch] if again else await self._pull()
            if again:
                self._deferred = self._deferred[self._batch :]
            still_open = [job for job in wishes if self._is_open(job.arm)]
            self.dropped += len(wishes) - len(still_open)
            wishes = still_open
            mine, busy = await self._claim(wishes) if wishes else ([], [])
            self._deferred += busy
            self._tally.waiting = len(self._deferred)
            if mine:
                return mine
            if self.exhausted:
                break
            if again and len(busy) == len(wishes):
                await wait_at_most(self._stop, pause)
                pause = min(2 * pause, ASK_AGAIN_S[1])
        return []

    @property
    def exhausted(self) -> bool:
        """Whether every pair was asked for, and nothing is left to another run."""
        return self._pairs is None and not self._deferred

    def close(self) -> None:
        self._puller.shutdown(wait=False)

    async def _pull(self) -> list[Job]:
        assert self._pairs is not None
        size = max(1, self._batch // len(self._arms))
        pairs = await asyncio.get_running_loop().run_in_executor(self._puller, _take, self._pairs, size)
        if len(pairs) < size:
            self._pairs = None
        jobs = []
        for pair in pairs:
            pair_key = pair.content_key()
            for arm_key, arm in self._arms:
                jobs.append(Job(Wanted(digest(pair_key, arm_key), pair_key, arm_key, arm.name), pair, arm))
        return jobs

    async def _claim(self, jobs: list[Job]) -> tuple[list[Job], list[Job]]:
        """(mine, busy); what is done is counted, and what its pair says now is kept."""
        claims = await self._ledger.claim([job.wanted for job in jobs])
        by_claim: dict[Claim, list[Job]] = {claim: [] for claim in Claim}
        for job, claim in zip(jobs, claims, strict=True):
            by_claim[claim].append(job)
        done = by_claim[Claim.DONE]
        if done:
            self._tally.skipped += len(done)
            await self._ledger.relabel(list({job.wanted.pair_key: job.pair for job in done}.values()))
        return by_claim[Claim.MINE], by_claim[Claim.BUSY]


def _take(pairs: Iterator[Pair], count: int) -> list[Pair]:
    return list(itertools.islice(pairs, count))
