"""Drives one judgment: hands the judge's questions to the servers and the replies back to the judge."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from adjudge.config import Arm, Settings
from adjudge.judging.asking import Asker
from adjudge.judging.budget import Spent
from adjudge.judging.judge import Judging, judge
from adjudge.judging.limits import Shut
from adjudge.judging.rubrics import Rubrics
from adjudge.types import Ask, Judgment, Pair, Reply, digest

Judge = Callable[[Pair], Awaitable[Judging]]
"""Begins the judgment of a pair in another way than `judge`. The conversation that it returns goes on in the event
loop."""


class Driven(NamedTuple):
    """`not_bought`: the cap kept some or all of it from being bought."""

    judgment: Judgment
    not_bought: bool


class Driver:
    """`askers`: server name -> Asker. `judges`: arm name -> how that arm judges, where it is not by `judge`."""

    def __init__(
        self, settings: Settings, askers: Mapping[str, Asker], rubrics: Rubrics, judges: Mapping[str, Judge]
    ) -> None:
        self._settings = settings
        self._judges = judges
        self._askers = askers
        self._rubrics = rubrics
        self._rubric_keys = {n: settings.arm_key(n) for n, a in settings.arms.items() if a.protocol == "rubric"}

    async def judge(self, pair: Pair, arm: Arm) -> Driven:
        """The judgment of this arm on this pair, whatever the servers do.

        Raises Shut when a server is given up before anything was paid for, and what the judge raises (ConfigError).
        """
        had: list[Reply] = []
        not_bought = False
        other = self._judges.get(arm.name)
        talk = judge(pair, arm, self._settings) if other is None else await other(pair)
        try:
            asks = next(talk)
            while True:
                answers = await self._answers(pair, asks) if len(asks) > 1 else [await self._answer(pair, asks[0])]
                replies = [answer for answer in answers if isinstance(answer, Reply)]
                had += replies
                if len(replies) < len(answers):
                    for over in answers:
                        if isinstance(over, Shut) and not any(map(_paid, had)):
                            raise over
                    not_bought = not_bought or any(isinstance(over, Spent) for over in answers)
                    replies = [answer if isinstance(answer, Reply) else _unasked(answer) for answer in answers]
                asks = talk.send(tuple(replies))
        except StopIteration as end:
            return Driven(end.value, not_bought)
        finally:
            talk.close()

    async def _answers(self, pair: Pair, asks: tuple[Ask, ...]) -> list[Reply | Shut | Spent]:
        """One answer per question, asked all at once."""
        tasks = [asyncio.ensure_future(self._answer(pair, ask)) for ask in asks]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await cancelled(tasks)

    async def _answer(self, pair: Pair, ask: Ask) -> Reply | Shut | Spent:
        arm = self._settings.arms[ask.arm]
        asker = self._askers[arm.server]
        try:
            if ask.kind != "rubric":
                return await asker.ask(ask, arm)
            key = digest(pair.prompt, self._rubric_keys[ask.arm])
            return await self._rubrics.reply(key, lambda: asker.ask(ask, arm))
        except (Shut, Spent) as over:
            return over


async def cancelled(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel what is not done, and wait until it has ended."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)


def _paid(reply: Reply) -> bool:
    """Whether anything was, or may have been."""
    return reply.unmetered_calls > 0 or (reply.attempts > 0 and reply.usage is not None)


def _unasked(over: Shut | Spent) -> Reply:
    return Reply(error=str(over), attempts=0)
