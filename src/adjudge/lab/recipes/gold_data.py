"""Gold's judgments of real pairs, as a store keeps them, made into what trainers read.

    records of the store   what gold said of each response, with its trace
    -> Label               score, trace and prompt of one judgment, as a judge of that arm is asked for it
    -> rows                {prompt, completion} for TRL's SFT; {prompt, reward_model, extra_info} for verl's GRPO

The prompts are those that the arm asks with later, so that a trained judge is served by the same arms.toml.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from adjudge.config import Arm, Settings
from adjudge.errors import DataError
from adjudge.judging import fencing, protocol
from adjudge.judging.protocol import Question
from adjudge.types import Judgment, Outcome, Pair, Record

HIGH = "gold"


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What gold says of one question. `label`: "0" to "9", or "A" or "B" as shown; `trace`: its reasoning;
    `instruction`, `rubric`: of the pair."""

    id: str
    messages: tuple[tuple[str, str], ...]
    label: str
    trace: str
    mode: str
    instruction: str
    rubric: str = ""


def labels(records: Iterable[Record], settings: Settings, judge: str, gold: str = HIGH) -> Iterator[Label]:
    """Labels for the arm `judge`: gold's scores, or its verdicts where the judge compares.

    `gold`: the arm whose traces are taught; of one of lower effort those whose label is that of the arm "gold" are
    kept (arXiv 2603.12246). Left out: what gold gave no verdict on, ties, and texts that hold verdict marks themselves.
    """
    (arm,) = settings.choose([judge])
    for record in records:
        said, high = record.judgments.get(gold), record.judgments.get(HIGH)
        if said is None:
            continue
        if arm.protocol != "pointwise":
            yield from _verdicts(record.pair, arm, settings, said)
        else:
            yield from _scores(record.pair, arm, settings, said, high or said)


def _scores(pair: Pair, arm: Arm, settings: Settings, said: Judgment, high: Judgment) -> Iterator[Label]:
    shown = protocol.material(pair, (pair.rubric or "") if arm.rubric else "")
    for question in protocol.score_questions(pair, arm, settings, shown, fencing.nonce):
        index = question.ask.response_index
        found, trace = _rated(said, index)
        if found is not None and found == _rated(high, index)[0] and not question.foreign:
            yield _label(pair, question, arm, f"{pair.id}/{index}", str(found), trace)


def _verdicts(pair: Pair, arm: Arm, settings: Settings, said: Judgment) -> Iterator[Label]:
    shown = protocol.material(pair, (pair.rubric or "") if arm.rubric else "")
    for question in protocol.verdict_questions(pair, arm, settings, shown, ("ab", "ba"), fencing.nonce):
        order = question.ask.order
        outcome = said.ab if order == "ab" else said.ba
        if outcome not in (Outcome.A, Outcome.B) or question.foreign:
            continue
        traces = [c.reasoning for c in said.calls if c.kind == "verdict" and c.order == order]
        side = outcome if order == "ab" else outcome.swapped()
        yield _label(pair, question, arm, f"{pair.id}/{order}", side.value, traces[0] if traces else "")


def _rated(said: Judgment, index: int | None) -> tuple[int | None, str]:
    """Gold's whole score of one response, and its trace."""
    for call in said.calls:
        if call.kind == "score" and call.response_index == index and call.value is not None:
            return round(call.value), call.reasoning
    return None, ""


def _label(pair: Pair, question: Question, arm: Arm, name: str, label: str, trace: str) -> Label:
    return Label(
        id=name,
        messages=tuple((m.role, m.content) for m in question.ask.messages),
        label=label,
        trace=trace,
        mode=arm.mode,
        instruction=pair.prompt or "",
        rubric=pair.rubric or "",
    )


def completion(label: Label) -> str:
    """What the judge learns to write: the label, after gold's trace where it reasons.

    >>> completion(Label(id="1", messages=(), label="7", trace="Two of three.", mode="reasoning", instruction=""))
    '<think>\\nTwo of three.\\n</think>\\n\\n[[7]]'
    >>> completion(Label(id="1", messages=(), label="7", trace="", mode="instruct", instruction=""))
    '7'
    """
    if label.mode != "reasoning":
        return label.label if label.label.isdigit() else f"[[{label.label}]]"
    return f"<think>\n{label.trace.strip()}\n</think>\n\n[[{label.label}]]"


def sft_row(label: Label) -> dict[str, Any]:
    """A row of TRL's conversational prompt and completion."""
    return {
        "prompt": _messages(label.messages),
        "completion": [{"role": "assistant", "content": completion(label)}],
    }


def grpo_row(label: Label) -> dict[str, Any]:
    """A row of verl's data set for a judge; adapters/verl_judge.py is its reward."""
    return {
        "data_source": "adjudge/judge",
        "prompt": _messages(label.messages),
        "ability": "judge",
        "reward_model": {"style": "rule", "ground_truth": label.label},
        "extra_info": {"index": label.id, "mode": label.mode},
    }


def policy_row(pair: Pair) -> dict[str, Any]:
    """A row of verl's data set for a policy: the judge reads prompt and rubric in `extra_info`, and `ground_truth`
    brings the prompt into the rollouts that verl writes down."""
    return {
        "data_source": "adjudge/policy",
        "prompt": _messages([("user", pair.prompt or "")]),
        "ability": "writing",
        "reward_model": {"style": "rule", "ground_truth": pair.prompt or ""},
        "extra_info": {"index": pair.id, "prompt": pair.prompt or "", "rubric": pair.rubric or ""},
    }


def parted(names: Sequence[str], held: int) -> tuple[set[str], set[str]]:
    """(rest, `held` of them) drawn by a hash of the names; the same whatever their order.

    Raises DataError where there are no more than those held out.
    """
    drawn = sorted(set(names), key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest())
    if len(drawn) <= held:
        raise DataError(f"{len(drawn):,} items leave nothing beside the {held:,} held out", remedy="label more")
    return set(drawn[held:]), set(drawn[:held])


def _messages(said: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in said]
