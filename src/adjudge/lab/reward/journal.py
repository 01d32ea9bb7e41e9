"""Judgments of a training run into a store, beside the training: written in groups, on a thread of their own.

A judgment's pair is `STEP/ROLLOUT`, and its `meta` holds the step and the rollouts. A judge that does not give
judgments (one in this process) is kept as a rating of a lone response.

Judgments of arms are claimed before they are asked, as those of `adjudge judge` are: two trainings, or one that goes on
from a checkpoint, do not buy the same judgment of the same rollout of the same step twice, and what was in flight when
a training was killed is counted by the next run of the store. A judge in this process is known by its name alone, which
may stand for other weights tomorrow; it claims nothing.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from adjudge.judging.driver import cancelled
from adjudge.judging.ledger import Ledger, Writer
from adjudge.lab.reward.metered import Detailed, Metered, Purchase
from adjudge.lab.scoring import Asked, Judge, Score
from adjudge.store.store import Bought, Claim, Store, Wanted
from adjudge.types import Judgment, Outcome, Pair, digest

HEARTBEAT_S = 10.0


class Journal:
    """The books of one judge. For one event loop."""

    def __init__(self, store: Store, judge: Judge) -> None:
        self._name, self._key = judge.name, digest("lab", judge.name)
        self._metered = judge if isinstance(judge, Metered) else None
        evaluator, arms = judge.name, {self._key: (judge.name, "{}")}
        if self._metered is not None:
            evaluator, arms = self._metered.evaluator, self._metered.definitions
        self._ledger = Ledger(store, evaluator, arms)
        self._writer = Writer(self._ledger)
        self._tasks: list[asyncio.Task[None]] = []
        self._wanted: list[Wanted] = []
        self._claims: asyncio.Task[list[Claim]] | None = None
        self.interrupted = 0  # judgments that were in flight when earlier runs of the store died

    async def begin(self) -> None:
        """Register the run. Raises StoreError."""
        self.interrupted = await self._ledger.begin()
        self._tasks = [asyncio.create_task(self._writer.run()), asyncio.create_task(self._heartbeat())]

    def check(self) -> None:
        """Raises StoreError where writing has failed."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def claim(self, step: int, asked: Sequence[Asked]) -> Claim:
        """MINE where some of the judgments of these are to be bought, DONE where the store holds all of them, BUSY
        where another training is buying one: ask again. Raises StoreError."""
        if self._metered is None:
            return Claim.MINE
        wanted = [_wanted(step, *wish)[0] for wish in self._metered.wishes(asked)]
        claims = await self._claimed(wanted)
        if Claim.BUSY in claims:
            await self._ledger.release([w.key for w, claim in zip(wanted, claims, strict=True) if claim is Claim.MINE])
            return Claim.BUSY
        return Claim.DONE if wanted and Claim.MINE not in claims else Claim.MINE

    async def known(self, step: int, asked: Sequence[Asked]) -> Sequence[Score]:
        """Scores by judgments that are done. Raises StoreError."""
        assert self._metered is not None, "only judgments of arms are claimed"
        wanted = [_wanted(step, *wish)[0] for wish in self._metered.wishes(asked)]
        found = await self._ledger.finished(wanted)
        return self._metered.settled(asked, [found[w.key] for w in wanted])

    async def _claimed(self, wanted: Sequence[Wanted]) -> list[Claim]:
        """One answer each; what is claimed at the same moment goes to the store together."""
        first = len(self._wanted)
        self._wanted += wanted
        self._claims = self._claims or asyncio.create_task(self._claim_all())
        claims = await asyncio.shield(self._claims)
        return claims[first : first + len(wanted)]

    async def _claim_all(self) -> list[Claim]:
        await asyncio.sleep(0)
        wanted, self._wanted, self._claims = self._wanted, [], None
        return await self._ledger.claim(wanted)

    def add(self, step: int, asked: Sequence[Asked], scores: Sequence[Score]) -> None:
        """Hand over what was bought for these scores."""
        for one, score in zip(asked, scores, strict=True):
            bought = score.bought if isinstance(score, Detailed) else (self._plain(one, score),)
            for pair, judgment, arm_key in bought:
                wanted, kept = _wanted(step, pair, arm_key, judgment.arm)
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


def _wanted(step: int, pair: Pair, arm_key: str, arm: str) -> tuple[Wanted, Pair]:
    """A judgment as the store knows it, and its pair as it is kept."""
    kept = msgspec.structs.replace(pair, id=f"{step}/{pair.id}", meta={"step": step, **pair.meta})
    pair_key = kept.content_key()
    return Wanted(digest(pair_key, arm_key), pair_key, arm_key, arm), kept


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
