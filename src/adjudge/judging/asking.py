"""One question, asked until there is an answer or no more patience: gate, cap, retries."""

import asyncio
import itertools
import time

import msgspec

from adjudge.config import Arm
from adjudge.errors import BackendError, RateLimited
from adjudge.judging.backends.base import Backend
from adjudge.judging.budget import Budget, Spent, worst_usd
from adjudge.judging.limits import Gate, Shut
from adjudge.types import Ask, Reply

LIMITED_CHARGE = 0.25
"""What a 429 takes of a question's `retries`: the server works, and the gate has slowed down already."""

_calls = itertools.count()


class Asker:
    """What it takes to ask one server."""

    def __init__(self, backend: Backend, gate: Gate, budget: Budget, retries: int) -> None:
        self.backend = backend
        self.gate = gate
        self.budget = budget
        self.retries = retries

    async def ask(self, ask: Ask, arm: Arm) -> Reply:
        """The reply after all retries, with `attempts`, `unmetered_calls`, and `error` where none was usable.

        Raises Shut or Spent when nothing was sent that may have been billed. An attempt that found the server down is
        not held against the question: the gate decides how long a server is waited for.
        """
        call = next(_calls)
        worst = 0.0 if self.budget.cap_usd is None else worst_usd(ask, arm.price)
        attempts = unmetered = failures = 0
        charged = 0.0
        began = time.perf_counter()
        self.gate.under_way += 1
        try:
            while True:
                try:
                    reply, error = await self._attempt(call, ask, arm, worst)
                except (Shut, Spent) as over:
                    if not unmetered:
                        raise
                    return _failed(str(over), attempts, unmetered, began)
                attempts += 1
                if reply is not None:
                    if attempts == 1:
                        return reply
                    unmetered += reply.unmetered_calls
                    return msgspec.structs.replace(reply, attempts=attempts, unmetered_calls=unmetered)
                assert error is not None
                unmetered += error.maybe_billed
                failures += 1
                if not self.gate.down:
                    charged += LIMITED_CHARGE if isinstance(error, RateLimited) else 1.0
                if not error.retryable or charged > self.retries:
                    return _failed(str(error), attempts, unmetered, began)
                await asyncio.sleep(self.gate.backoff_s(failures, error))
        finally:
            self.gate.under_way -= 1

    async def _attempt(self, call: int, ask: Ask, arm: Arm, worst: float) -> tuple[Reply | None, BackendError | None]:
        """One attempt, paid from what is reserved for it."""
        capped = self.budget.cap_usd is not None
        if capped:
            await self.budget.reserve(worst)
        cost = 0.0
        entry = None
        try:
            entry = await self.gate.enter(call, ask)
            cost = worst  # until it is known better: it may have been billed
            reply = await self.backend.send(ask)
        except BackendError as error:
            assert entry is not None
            self.gate.failed(entry, error)
            cost = worst if error.maybe_billed else 0.0
            return None, error
        except BaseException:
            if entry is not None:
                self.gate.dropped(entry)
            raise
        else:
            self.gate.succeeded(entry, reply)
            if capped and reply.usage is not None and arm.price is not None:
                cost = arm.price.cost_usd(reply.usage)
            return reply, None
        finally:
            if capped:
                self.budget.settle(worst, cost)


def _failed(error: str, attempts: int, unmetered: int, began: float) -> Reply:
    return Reply(error=error, attempts=attempts, unmetered_calls=unmetered, latency_s=time.perf_counter() - began)
