"""Judgments of a training run into a store, beside the training: written in groups, on a thread of their own.

A judgment's pair is `STEP/ROLLOUT`, and its `meta` holds the step and the rollouts. A judge that does not give
judgments (one in this process) is kept as a rating of a lone response. Unlike `adjudge judge` nothing is claimed
beforehand: rollouts are new, and what is in flight when a training dies is not in the books.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from adjudge.judging.driver import cancelled
from adjudge.judging.ledger import Ledger, Writer
from adjudge.lab.reward.metered import Detailed, Metered, Purchase
from adjudge.lab.scoring import Asked, Judge, Score
from adjudge.store.store import Bought, Store, Wanted
from adjudge.types import Judgment, Outcome, Pair, digest

HEARTBEAT_S = 10.0


class Journal:
    """The books of one judge. For one event loop."""

    def __init__(self, store: Store, judge: Judge) -> None:
        self._name, self._key = judge.name, digest("lab", judge.name)
        evaluator, arms = judge.name, {self._key: (judge.name, "{}")}
        if isinstance(judge, Metered):
            evaluator, arms = judge.evaluator, judge.definitions
        self._ledger = Ledger(store, evaluator, arms)
        self._writer = Writer(self._ledger)
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Register the run. Raises StoreError."""
        await self._ledger.begin()
        self._tasks = [asyncio.create_task(self._writer.run()), asyncio.create_task(self._heartbeat())]

    def check(self) -> None:
        """Raises StoreError where writing has failed."""
        for task in self._tasks:
            if task.done():
                task.result()

    def add(self, step: int, asked: Sequence[Asked], scores: Sequence[Score]) -> None:
        """Hand over what was bought for these scores."""
        for one, score in zip(asked, scores, strict=True):
            bought = score.bought if isinstance(score, Detailed) else (self._plain(one, score),)
            for pair, judgment, arm_key in bought:
                kept = msgspec.structs.replace(pair, id=f"{step}/{pair.id}", meta={"step": step, **pair.meta})
                pair_key = kept.content_key()
                wanted = Wanted(digest(pair_key, arm_key), pair_key, arm_key, judgment.arm)
                self._writer.add(Bought(wanted, kept, judgment))

    async def close(self) -> None:
        """Write what is left and end the run. Raises StoreError."""
        try:
            if self._tasks:
                writing, beating = self._tasks
                await cancelled([beating])
                self._writer.close()
                await writing
                await self._ledger.end()
        finally:
            self._ledger.close()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._ledger.heartbeat()

    def _plain(self, one: Asked, score: Score) -> Purchase:
        usage = score.usage
        judgment = Judgment(
            arm=self._name,
            ab=Outcome.A if score.value is not None else _outcome(score.why),
            prompt_tokens=usage.prompt_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost_usd=score.cost_usd,
            completion_ab=score.text,
            scores=((score.value,),) if score.value is not None else ((),),
        )
        return Purchase(lone(one), judgment, self._key)


def lone(one: Asked) -> Pair:
    """A response that stands alone, as it is kept: an instance of best of one, without a right response.

    Its rating makes it the best of those there are, A, which says nothing of it and counts in no accuracy.
    """
    return Pair(
        id=one.id,
        prompt=one.prompt,
        responses=(one.response,),
        gold_index=None,
        rubric=one.rubric or None,
        meta={"rollouts": [one.id]} | ({"group": one.group} if one.group else {}),
    )


def _outcome(why: str) -> Outcome:
    """What became of it; a reason of the judge's own is a failure."""
    return Outcome(why) if why in ("unread", "truncated", "refused") else Outcome.FAILED
