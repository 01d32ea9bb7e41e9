"""What one step of training may spend on its judge: nothing is bought that might pass a cap.

The most that a portion can take is reserved before it is asked, what it took is settled after. As in a run of judging
(judging/budget.py), once a portion cannot be paid with nothing else in flight the purse is empty for all that follow,
so that what is judged does not depend on which responses happen to be short.
"""

import asyncio
import math

from adjudge.judging.bounds import Spending
from adjudge.lab.reward.figures import RewardSettings


class Purse:
    """The caps of one step. For one event loop."""

    def __init__(self, settings: RewardSettings) -> None:
        caps = (settings.cap_judgments, settings.cap_output_tokens, settings.cap_usd)
        self._caps = tuple(math.inf if cap is None else cap for cap in caps)
        self.spent = Spending()
        self._reserved = Spending()
        self._in_flight = 0
        self._empty = False
        self._freed = asyncio.Event()

    async def reserve(self, worst: Spending) -> bool:
        """Put the most that a portion can take aside, waiting for others to settle where that may help; False where
        the caps do not let it be bought."""
        while not self._empty and not self._fits(worst):
            if not self._in_flight:
                self._empty = True
                break
            self._freed.clear()
            await self._freed.wait()
        if self._empty:
            return False
        self._reserved = self._reserved.plus(worst)
        self._in_flight += 1
        return True

    def settle(self, worst: Spending, took: Spending) -> None:
        """Replace what was reserved by what the portion took."""
        self._in_flight -= 1
        self._reserved = self._reserved.minus(worst) if self._in_flight else Spending()
        self.spent = self.spent.plus(took)
        self._freed.set()

    def _fits(self, worst: Spending) -> bool:
        needed = self.spent.plus(self._reserved).plus(worst)
        return all(amount <= cap for amount, cap in zip(needed, self._caps, strict=True))
