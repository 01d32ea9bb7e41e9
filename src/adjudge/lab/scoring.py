"""What a stage of the lab asks of whoever judges a response, and what it gets: one face for every judge.

Gold judges, trained judges in this process, arms on servers and routers over them all answer `score`. A response that
no verdict was read for has no value: it is never a bad score (arXiv 2603.12246 scores 0 to 9, integers).
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from adjudge.types import Usage

TOP = 9  # the highest score; the lowest is 0
WORST = float(TOP**2)  # the largest squared error, Mmax of the paper
Failure = str  # "unread", "truncated", "refused" or "failed", as types.Outcome has them


class Asked(msgspec.Struct, frozen=True):
    """One response to be judged. `group`: equal for the responses to one prompt that are set against each other."""

    id: str
    prompt: str
    response: str
    rubric: str = ""
    group: str = ""


class Score(msgspec.Struct, frozen=True):
    """`value`: 0 to TOP, the expected score where the judge gives probabilities; in pairs the share of the group that
    the response beats, 0 to 1. None where there is no verdict; `why` then says what became of it. `text`: the judge's
    whole reply, its reasoning included. `cached`: nothing was asked for it."""

    value: float | None
    why: Failure = ""
    text: str = ""
    usage: Usage = Usage()
    cost_usd: float = 0.0
    cached: bool = False


class Judge(Protocol):
    """Whoever scores responses."""

    @property
    def name(self) -> str: ...

    async def score(self, asked: Sequence[Asked]) -> list[Score]:
        """One score each, in the order asked. What cannot be judged is a Score without a value, never an exception."""
        ...


def judge_rewards(said: Sequence[int | None], gold: Sequence[int]) -> list[float]:
    """GRPO's reward of each judgment of a judge that is trained: -1 where no score can be read, else by its distance.

    >>> judge_rewards([None, 9, 4], [9, 9, 0])
    [-1.0, 1.0, 0.8024691358024691]
    """
    return [-1.0 if s is None else (WORST - (s - g) ** 2) / WORST for s, g in zip(said, gold, strict=True)]
