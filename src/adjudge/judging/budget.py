"""A cap on what a run may spend: nothing is bought that might pass it.

Before an attempt its worst case is reserved, after it what it really cost is settled. The worst case of a prompt is one
token per byte of UTF-8 (no byte-level tokenizer needs more) plus FRAME_TOKENS for the chat template; of the answer,
`max_tokens`, thinking included. An arm without `max_tokens` is taken to write at most ASSUMED_MAX_TOKENS; a server that
lets it write more can pass the cap by the rest of the calls in flight. An attempt whose bill nobody could read is
settled at its worst case against the cap, though it is not counted as spend.
"""

import asyncio

from adjudge.types import NOT_BOUGHT, Ask, Price, Usage

FRAME_TOKENS = 512
ASSUMED_MAX_TOKENS = 16_384


class Spent(Exception):
    """What is left of the cap cannot pay for the call, nor for any other in this run."""


class Budget:
    """Money in US dollars; `cap_usd` None lets everything through. For one event loop.

    Once a call cannot be paid with nothing else in flight, the budget is spent: no cheaper call is looked for, so what
    is bought does not depend on which pairs happen to be short.
    """

    def __init__(self, cap_usd: float | None) -> None:
        self.cap_usd = cap_usd
        self.settled_usd = 0.0
        self._reserved_usd = 0.0
        self._in_flight = 0
        self._spent = False
        self._freed = asyncio.Event()

    async def reserve(self, worst_usd: float) -> None:
        """Put the worst case of one attempt aside, waiting for others to settle where that may help. Raises Spent."""
        if self.cap_usd is None:
            return
        while not self._spent and self.settled_usd + self._reserved_usd + worst_usd > self.cap_usd:
            if not self._in_flight:
                self._spent = True
                break
            self._freed.clear()
            await self._freed.wait()
        if self._spent:
            raise Spent(f"{NOT_BOUGHT}: cap of ${self.cap_usd:g} reached")
        self._reserved_usd += worst_usd
        self._in_flight += 1

    def settle(self, worst_usd: float, cost_usd: float) -> None:
        """Replace what was reserved by what the attempt cost."""
        if self.cap_usd is None:
            return
        self._in_flight -= 1
        self._reserved_usd = self._reserved_usd - worst_usd if self._in_flight else 0.0
        self.settled_usd += cost_usd
        self._freed.set()


def worst_case(ask: Ask) -> Usage:
    """The most tokens that one attempt at this question can be billed for."""
    prompt = sum(len(m.content.encode(errors="replace")) for m in ask.messages) + FRAME_TOKENS
    output = ask.body.get("max_tokens") or ask.body.get("max_completion_tokens") or ASSUMED_MAX_TOKENS
    draws = ask.body.get("n", 1)
    return Usage(prompt, int(output) * (draws if isinstance(draws, int) and draws > 0 else 1))


def worst_usd(ask: Ask, price: Price | None) -> float:
    """The most that one attempt can cost; cached input, where it costs more than fresh, is taken at its own price."""
    if price is None:
        return 0.0
    worst = worst_case(ask)
    dearest_input = max(price.input, price.cached_input or 0.0)
    return (worst.prompt_tokens * dearest_input + worst.output_tokens * price.output) / 1e6
