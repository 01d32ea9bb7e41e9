"""Recorded judgments as a backend: each question is answered with what a judge said when it was recorded.

The answer to a question is found by pair id, arm and order. The recorded arm is the one named by the asking arm's
`model`, or by its own name when `model` is empty. Of a file with several evaluators the one that arms.toml names is
replayed.

A Reply's `recorded` is the outcome as the file has it, named after the original a and b whatever the order; its usage
is set where prompt and output tokens were both recorded. Tokens that are means of two orders are rounded down for one
and up for the other, so that a pair's sum is kept.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from adjudge import records
from adjudge.config import Settings
from adjudge.errors import ConfigError, Rejected
from adjudge.types import Ask, Judgment, Number, Order, Outcome, Reply, Usage


def connect(name: str, settings: Settings, _environ: Mapping[str, str]) -> "Replay":
    """The records of a replay server. Raises DataError when they cannot be read, ConfigError when none are meant."""
    path = settings.servers[name].path
    models = {a.name: a.model or a.name for a in settings.arms.values() if a.server == name}
    return Replay(path, settings.evaluator, models)


class _Answer(NamedTuple):
    outcome: Outcome
    text: str
    reasoning: str
    usage: Usage | None
    error: str | None


class Replay:
    """A Backend that answers from memory. `models`: asking arm -> recorded arm."""

    def __init__(self, path: str, evaluator: str, models: Mapping[str, str]) -> None:
        self._path = path
        self._models = models
        wanted = set(models.values())
        by_evaluator: dict[str, dict[tuple[str, str, Order], _Answer]] = {}
        for record in records.read(path):
            answers = by_evaluator.setdefault(record.evaluator, {})
            for arm in wanted & record.judgments.keys():
                for order in _ORDERS:
                    if answer := _answer(record.judgments[arm], order):
                        answers[record.pair.id, arm, order] = answer
        if evaluator not in by_evaluator and len(by_evaluator) > 1:
            names = ", ".join(sorted(by_evaluator))
            raise ConfigError(f"{path} holds several evaluators and none is {evaluator!r}; set evaluator to: {names}")
        self._answers = by_evaluator[evaluator] if evaluator in by_evaluator else by_evaluator.popitem()[1]

    async def send(self, ask: Ask) -> Reply:
        arm = self._models.get(ask.arm, ask.arm)
        order: Order = ask.order or "ab"
        answer = self._answers.get((ask.pair_id, arm, order)) if ask.kind == "verdict" else None
        if answer is None:
            what = f"order {order}" if ask.kind == "verdict" else f"any {ask.kind}"
            raise Rejected(f"{self._path} records no judgment of pair {ask.pair_id!r} by arm {arm!r} in {what}")
        return Reply(
            text=answer.text,
            reasoning=answer.reasoning,
            finish_reason="length" if answer.outcome is Outcome.TRUNCATED else "stop",
            usage=answer.usage,
            model=arm,
            error=answer.error,
            recorded=answer.outcome,
        )

    async def close(self) -> None:
        pass


_ORDERS: tuple[Order, Order] = ("ab", "ba")


def _answer(judgment: Judgment, order: Order) -> _Answer | None:
    outcome = judgment.ab if order == "ab" else judgment.ba
    if outcome is None:
        return None
    return _Answer(
        outcome=outcome,
        text=(judgment.completion_ab if order == "ab" else judgment.completion_ba) or "",
        reasoning=(judgment.reasoning_ab if order == "ab" else judgment.reasoning_ba) or "",
        usage=_usage(judgment, order),
        error=(judgment.error or "failed when it was recorded") if outcome is Outcome.FAILED else None,
    )


def _usage(judgment: Judgment, order: Order) -> Usage | None:
    if judgment.prompt_tokens is None or judgment.output_tokens is None:
        return None

    def whole(tokens: Number | None) -> int:
        return 0 if tokens is None else math.floor(tokens) if order == "ab" else math.ceil(tokens)

    return Usage(
        whole(judgment.prompt_tokens),
        whole(judgment.output_tokens),
        whole(judgment.cached_tokens),
        whole(judgment.reasoning_tokens),
    )
