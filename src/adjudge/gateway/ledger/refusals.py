"""Caps that were just found to be reached: who asks for no less again and again does not go to the database for it."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from adjudge.errors import CapReached

REMEMBERED_S = 0.25


class Refusal(NamedTuple):
    worst: int
    until: float  # of the monotonic clock
    why: CapReached


class Refusals:
    def __init__(self) -> None:
        self._found: dict[str, Refusal] = {}

    def saw(self, why: CapReached, worst: int) -> None:
        self._found[why.account] = Refusal(worst, time.monotonic() + REMEMBERED_S, why)

    def forget(self, names: Iterable[str]) -> None:
        """Something of these accounts was given back."""
        if self._found:
            for name in names:
                self._found.pop(name, None)

    def of(self, names: Iterable[str], worst: int) -> CapReached | None:
        """Why a call of this worst case is refused, where that is known."""
        if self._found:
            for name in names:
                known = self._found.get(name)
                if known is not None and worst >= known.worst and time.monotonic() < known.until:
                    return CapReached(known.why.account, known.why.window, known.why.retry_after_s)
        return None
