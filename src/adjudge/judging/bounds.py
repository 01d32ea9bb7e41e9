"""The most that one judgment can cost, known before anything of it is asked. Pure.

Worst cases of a call are those of a run of judging (judging/budget.py): a prompt is at most one token per byte, an
answer at most `max_tokens`. An answer that is asked to be repaired, and a rubric that is written first, come back
inside a prompt; a token is then taken to be at most TOKEN_BYTES long. Attempts that a server may have billed and lost
are not part of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from adjudge.config import Arm, Settings
from adjudge.judging.budget import FRAME_TOKENS, worst_case
from adjudge.judging.judge import judge
from adjudge.types import Ask, Pair, Price

TOKEN_BYTES = 8


class Spending(NamedTuple):
    """Of one judgment, or of several together: judgments, output tokens and US dollars."""

    judgments: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    def plus(self, other: "Spending") -> "Spending":
        return Spending(
            self.judgments + other.judgments, self.output_tokens + other.output_tokens, self.usd + other.usd
        )

    def minus(self, other: "Spending") -> "Spending":
        return Spending(
            self.judgments - other.judgments, self.output_tokens - other.output_tokens, self.usd - other.usd
        )


def most(pair: Pair, arm: Arm, settings: Settings) -> Spending:
    """What a judgment of this pair by this arm can take at most; nothing for a pair that the arm cannot judge.

    An arm without a price costs 0 dollars here: who caps dollars asks for prices first.
    """
    asks = _first(pair, arm, settings)
    if not asks:
        return Spending(1)
    if asks[0].kind == "need":
        assert arm.choices is not None
        dearest = [most(pair, settings.arms[name], settings) for name in arm.choices]
        _, output_tokens, usd = _calls(asks, msgspec.structs.replace(arm, repair=False))
        return Spending(1, output_tokens + max(s.output_tokens for s in dearest), usd + max(one.usd for one in dearest))
    if asks[0].kind == "rubric":
        writer = msgspec.structs.replace(settings.arms[asks[0].arm], repair=False)
        written = worst_case(asks[0]).output_tokens * TOKEN_BYTES
        verdict = _calls(_first(pair, msgspec.structs.replace(arm, rubric=""), settings), arm, written)
        return _calls(asks, writer).plus(verdict)._replace(judgments=1)
    return _calls(asks, arm)


def _first(pair: Pair, arm: Arm, settings: Settings) -> Sequence[Ask]:
    talk = judge(pair, arm, settings)
    try:
        return next(talk)
    except StopIteration:
        return ()
    finally:
        talk.close()


def _calls(asks: Sequence[Ask], arm: Arm, more_prompt: int = 0) -> Spending:
    """All these questions, each with its repair; `more_prompt` tokens come to each prompt."""
    output_tokens, usd = 0, 0.0
    for ask in asks:
        worst = worst_case(ask)
        prompt = worst.prompt_tokens + more_prompt
        output_tokens += worst.output_tokens
        usd += _usd(arm.price, prompt, worst.output_tokens)
        if arm.repair:
            output_tokens += worst.output_tokens
            again = prompt + TOKEN_BYTES * worst.output_tokens + FRAME_TOKENS
            usd += _usd(arm.price, again, worst.output_tokens)
    return Spending(1, output_tokens, usd)


def _usd(price: Price | None, prompt_tokens: int, output_tokens: int) -> float:
    if price is None:
        return 0.0
    return (prompt_tokens * max(price.input, price.cached_input or 0.0) + output_tokens * price.output) / 1e6
