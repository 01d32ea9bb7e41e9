"""A share of the routed judgments is judged by the most expensive arm too, and never at the expense of an answer.

Which ones follows from a hash of the judgment's key, so it does not depend on the traffic around it. They wait in a
short line of their own: one at a time is asked, and only while there is room to spare, in the gateway and at the arm's
server. It reserves, settles and is kept like any other judgment, on the account "audit", which can have caps of its
own. What finds the line full, a cap reached or the server down is left out, and counted.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from adjudge.errors import AdjudgeError
from adjudge.gateway.desk import Judged
from adjudge.gateway.problems import Problem
from adjudge.gateway.watch.quality import Audited
from adjudge.routing.deciding import uniform
from adjudge.routing.saved import Card
from adjudge.types import Pair

WAITING = 256
LOOK_S = 0.05


class _Wanted(NamedTuple):
    pair: Pair
    judged: Judged


class Audit:
    """`judge`: buys the most expensive arm's judgment of a pair. `idle`: whether there is room to spare. `found`: told
    of what came of each, (key, audit) or (key, None) where it was left out."""

    def __init__(
        self,
        share: float,
        judge: Callable[[Pair], Awaitable[Judged]],
        idle: Callable[[], bool],
        found: Callable[[str, Audited | None], None],
    ) -> None:
        self.share = share
        self._judge, self._idle, self._found = judge, idle, found
        self._waiting: deque[_Wanted] = deque()
        self._some = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def offer(self, pair: Pair, judged: Judged) -> None:
        """A routed judgment was bought: take it, where it is drawn."""
        if not drawn(judged.key, self.share):
            return
        if len(self._waiting) >= WAITING:
            self._found(judged.key, None)
            return
        self._waiting.append(_Wanted(pair, judged))
        self._some.set()

    async def run(self) -> None:
        """One after the other, for ever."""
        while True:
            await self._some.wait()
            while not self._idle():  # noqa: ASYNC110 -- servers' gates tell nobody when they are free
                await asyncio.sleep(LOOK_S)
            pair, judged = self._waiting.popleft()
            if not self._waiting:
                self._some.clear()
            self._found(judged.key, await self._audited(pair, judged))

    async def _audited(self, pair: Pair, judged: Judged) -> Audited | None:
        try:
            dear = (await self._judge(pair)).judgment
        except (Problem, AdjudgeError):
            return None
        return Audited(judged.judgment.outcome, dear.outcome, judged.judgment.cost_usd, dear.cost_usd)


def drawn(key: str, share: float) -> bool:
    return uniform("audit", key) < share


def dearest(card: Card) -> str:
    """The arm of the purchase that costs most on average."""
    place = max(range(len(card.purchases)), key=lambda u: card.mean_costs[u])
    return card.purchases[place][0]
