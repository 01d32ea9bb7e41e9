"""Rubrics that a rubric arm writes: one is bought for each prompt and kept in the store, whoever needs it next."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from adjudge.judging.reading import read_rubric
from adjudge.types import Reply, Usage

_FREE = Usage()


class Shelf(Protocol):
    """Where rubrics are kept: the Ledger of a run, or a memory."""

    async def rubric(self, key: str) -> str | None: ...
    async def keep_rubric(self, key: str, text: str) -> str:
        """The text that is kept under this key: the first one that came."""
        ...


class Rubrics:
    """Answers to rubric questions: kept ones from the store, new ones bought once however many ask at the same time."""

    def __init__(self, ledger: Shelf) -> None:
        self._ledger = ledger
        self._being_written: dict[str, asyncio.Future[Reply]] = {}

    async def reply(self, key: str, buy: Callable[[], Awaitable[Reply]]) -> Reply:
        """The rubric under this key, bought by `buy` if need be; what `buy` raises goes to all who wait for it.

        Who did not buy it gets it with no attempts and no usage: its cost stands in the judgment that did.
        """
        if writing := self._being_written.get(key):
            await asyncio.wait([writing])
            return msgspec.structs.replace(writing.result(), usage=_FREE, attempts=0, unmetered_calls=0, latency_s=0.0)
        writing = self._being_written[key] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._kept_or_bought(key, buy)
        except asyncio.CancelledError:
            writing.set_result(Reply(error="stopped while its rubric was being written", attempts=0))
            raise
        except Exception as error:
            writing.set_exception(error)
            writing.exception()  # somebody may wait for it, or nobody
            raise
        else:
            writing.set_result(reply)
            return reply
        finally:
            del self._being_written[key]

    async def _kept_or_bought(self, key: str, buy: Callable[[], Awaitable[Reply]]) -> Reply:
        kept = await self._ledger.rubric(key)
        if kept is not None:
            return Reply(text=kept, finish_reason="stop", usage=_FREE, attempts=0)
        reply = await buy()
        lacking, _ = read_rubric(reply)
        if lacking is not None:
            return reply
        return msgspec.structs.replace(reply, text=await self._ledger.keep_rubric(key, reply.text))
