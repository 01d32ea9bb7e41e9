"""A JudgeReward on an event loop of its own, in a thread beside the training.

Trainers ask from wherever they run: an event loop of theirs, a pool of threads, plain code. What comes late goes on
arriving between their calls, and while the trainer computes gradients.
"""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from adjudge.lab.reward.judge_reward import JudgeReward, Scored
from adjudge.lab.scoring import Asked

T = TypeVar("T")


class Beside:
    """`reward` is this object's alone. The thread starts with the first call. Close it at the end of the training: what
    came in the last fraction of a second is not in the store before."""

    def __init__(self, reward: JudgeReward) -> None:
        self.reward = reward
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def judged(self, asked: Sequence[Asked], step: int = 0) -> Scored:
        """As JudgeReward.judged, for callers that wait."""
        return self._submit(self.reward.judged(asked, step)).result()

    async def judged_async(self, asked: Sequence[Asked], step: int = 0) -> Scored:
        """The same for callers on any event loop."""
        return await asyncio.wrap_future(self._submit(self.reward.judged(asked, step)))

    def start(self, asked: Sequence[Asked], step: int = 0) -> None:
        """As JudgeReward.start: returns at once; what goes wrong is raised by the next call."""
        self._submit(self.reward.start(asked, step))

    def close(self) -> None:
        """Close the reward, then end the thread. Raises StoreError where judgments cannot be written."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self.reward.close(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if self._loop is None:
                self._loop = _new_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="judge", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
