"""What one piece of work may spend: put aside in the ledger before it is bought, settled after.

The worst case of a judgment is put aside whole. An attempt that a server may have billed and lost is beyond it: before
another is made more is put aside, and where the caps leave no room for that it is not made. So what is settled never
passes what was reserved. The askers of all servers find the purse of the work that they ask for in its context.
"""

import math
from collections.abc import Sequence
from contextvars import ContextVar

from adjudge.errors import CapReached
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import Reservation, Spent
from adjudge.judging.budget import Budget
from adjudge.judging.budget import Spent as NotBought
from adjudge.types import NOT_BOUGHT, Usage

ROUNDING_USD = 1e-9
_current: ContextVar["Purse"] = ContextVar("purse")


class Purse:
    """`accounts`: all that are charged. `refused`: the cap that kept some of the work from being bought.
    `purchases_usd`: worst cases of what a router may buy, by their place, where one decides."""

    def __init__(self, ledger: Ledger, accounts: tuple[str, ...]) -> None:
        self._ledger, self._accounts = ledger, accounts
        self._reserved: list[Reservation] = []
        self._under_way_usd = 0.0
        self.held_usd = self.spent_usd = 0.0
        self.refused: CapReached | None = None
        self.purchases_usd: Sequence[float] = ()

    def use(self) -> None:
        """Let it pay for what is asked from here on, in this task and those that it starts."""
        _current.set(self)

    async def put_aside(self, usd: float) -> None:
        """Reserve more. Raises CapReached and StoreError."""
        reservation = await self._ledger.reserve(self._accounts, usd)
        self._reserved.append(reservation)
        self.held_usd += reservation.worst_usd

    def affords(self, usd: float) -> bool:
        """Whether what is put aside pays for this too."""
        return self.spent_usd + self._under_way_usd + usd <= self.held_usd + ROUNDING_USD

    async def reserve(self, worst_usd: float) -> None:
        """For one attempt. Raises judging.budget.Spent where the caps leave no room."""
        if not self.affords(worst_usd):
            try:
                await self.put_aside(self.spent_usd + self._under_way_usd + worst_usd - self.held_usd)
            except CapReached as over:
                self.refused = over
                raise NotBought(f"{NOT_BOUGHT}: {over}") from None
        self._under_way_usd += worst_usd

    def settle(self, worst_usd: float, cost_usd: float) -> None:
        self._under_way_usd -= worst_usd
        self.spent_usd += cost_usd

    async def close(self, units: float = 0.0, usage: Usage | None = None, judgments: int = 1) -> None:
        """Book what was spent; durable when it returns. Nothing put aside and nothing spent: nothing is booked.

        `units`: the same in the router's unit of cost. Raises StoreError.
        """
        if not self._reserved:
            return
        first, *more = self._reserved
        self._reserved = []
        left = max(self.spent_usd, 0.0)
        if not left and not units and not judgments:
            for one in (first, *more):
                await self._ledger.release(one)
            return
        for one in more:
            part = min(left, one.worst_usd)
            left -= part
            await self._ledger.settle(one, Spent(part, judgments=0))
        counts = usage or Usage()
        await self._ledger.settle(first, Spent(left, units, judgments, counts.prompt_tokens, counts.output_tokens))


class Purses(Budget):
    """The budget of every asker: that of whichever work is asking."""

    def __init__(self) -> None:
        super().__init__(math.inf)

    async def reserve(self, worst_usd: float) -> None:
        await _current.get().reserve(worst_usd)

    def settle(self, worst_usd: float, cost_usd: float) -> None:
        _current.get().settle(worst_usd, cost_usd)


def current() -> Purse | None:
    """The purse of the work under way, None outside of any."""
    return _current.get(None)
