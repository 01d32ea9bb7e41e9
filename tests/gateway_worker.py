"""Processes that spend from one ledger, together with others of their kind; some are killed."""

import asyncio
import random
from multiprocessing.connection import Connection

from adjudge.errors import CapReached
from adjudge.gateway.ledger import ledger as ledgers
from adjudge.gateway.ledger.ledger import Ledger
from adjudge.gateway.ledger.values import WHOLE, Spent

WORST_USD = 0.01
CALLERS = 8


def spend_all(said: Connection, url: str, key: str, endless: int) -> None:
    """Buys until the cap is reached for good; besides, `endless` calls of it do not end. Says after each call what it
    has settled so far, in ten-thousandths of a cent; last ("done", that, the window of the cap)."""
    asyncio.run(_spend_all(said, url, key, endless))


async def _spend_all(said: Connection, url: str, key: str, endless: int) -> None:
    ledgers.BEAT_S = 0.2
    settled = 0
    async with Ledger(url) as ledger:
        for _ in range(endless):
            await ledger.reserve([key, WHOLE], WORST_USD)

        async def buy_on() -> str:
            nonlocal settled
            while True:
                try:
                    reservation = await ledger.reserve([key, WHOLE], WORST_USD)
                except CapReached as reached:
                    if reached.retry_after_s is None:
                        return reached.window
                    await asyncio.sleep(0.02)
                    continue
                await asyncio.sleep(random.uniform(0, 0.01))
                cost = random.randint(0, 10_000)
                if cost == 0:
                    await ledger.release(reservation)
                    continue
                await ledger.settle(reservation, Spent(cost / 10**6))
                settled += cost
                said.send(settled)

        windows = set(await asyncio.gather(*(buy_on() for _ in range(CALLERS))))
    said.send(("done", settled, *windows))
