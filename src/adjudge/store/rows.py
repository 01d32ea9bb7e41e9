"""Pairs, judgments and calls to rows of the store and back, losing nothing."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from adjudge.types import Call, Judgment, Order, Outcome, Pair, Usage

HEADER = ("source", "domain", "gold", "gold_index", "meta")
JUDGMENT_TEXTS = ("completion_ab", "completion_ba", "reasoning_ab", "reasoning_ba")
PAIR_TEXTS = ("prompt", "response_a", "response_b", "responses")
_NUMBERS = ("p_a", "prompt_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd")
# What read_judgment takes, in its order.
JUDGMENT_COLUMNS = ("outcome_ab", "outcome_ba", *_NUMBERS, "scores", "error", "extra", *JUDGMENT_TEXTS)
_COUNTS = Usage.__struct_fields__
_NO_COUNTS = (None,) * len(_COUNTS)
_PLAIN_CALL = (
    *("kind", "arm", "response_index", "sample", "value", "p_a", "cost_usd"),
    *("latency_s", "attempts", "unmetered_calls", "finish_reason", "model", "error"),
)
_OUTCOMES: dict[str | None, Outcome | None] = {None: None, **{o.value: o for o in Outcome}}

Row = dict[str, Any]


class Columns(Protocol):
    """A row read from the database, by column name."""

    def __getitem__(self, name: Any, /) -> Any: ...
    def get(self, name: Any, /) -> Any: ...


def pair_row(key: str, pair: Pair) -> Row:
    """What a judge may read of a pair: a row of `pairs`."""
    return {
        "key": key,
        "id": pair.id,
        "rubric": pair.rubric,
        "prompt": pair.prompt,
        "response_a": pair.response_a,
        "response_b": pair.response_b,
        "responses": None if pair.responses is None else dump(pair.responses),
    }


def header(pair: Pair) -> Row:
    """What else a pair says: the columns HEADER of `records`."""
    return {
        "source": pair.source,
        "domain": pair.domain,
        "gold": pair.gold,
        "gold_index": None if pair.gold_index is msgspec.UNSET else dump(pair.gold_index),
        "meta": dump(pair.meta) if pair.meta else None,
    }


def read_pair(row: Columns) -> Pair:
    """The pair of a row that joins `pairs` and `records`; text columns that were not selected are None."""
    responses = row.get("responses")
    return Pair(
        id=row["id"],
        prompt=row.get("prompt"),
        response_a=row.get("response_a"),
        response_b=row.get("response_b"),
        gold=row["gold"],
        domain=row["domain"],
        source=row["source"],
        rubric=row["rubric"],
        responses=None if responses is None else tuple(load(responses)),
        gold_index=msgspec.UNSET if row["gold_index"] is None else load(row["gold_index"]),
        meta=load(row["meta"]) if row["meta"] else {},
    )


def judgment_row(judgment: Judgment) -> Row:
    """The columns of `judgments` that the judgment itself fills."""
    ab, ba, scores, extra = judgment.ab, judgment.ba, judgment.scores, judgment.extra
    return {
        "outcome_ab": None if ab is None else ab.value,
        "outcome_ba": None if ba is None else ba.value,
        "p_a": judgment.p_a,
        "prompt_tokens": judgment.prompt_tokens,
        "output_tokens": judgment.output_tokens,
        "cached_tokens": judgment.cached_tokens,
        "reasoning_tokens": judgment.reasoning_tokens,
        "cost_usd": judgment.cost_usd,
        "scores": None if scores is None else dump(scores),
        "error": judgment.error,
        "extra": dump(extra) if extra else None,
        "completion_ab": judgment.completion_ab,
        "completion_ba": judgment.completion_ba,
        "reasoning_ab": judgment.reasoning_ab,
        "reasoning_ba": judgment.reasoning_ba,
    }


def read_judgment(arm: str, row: Sequence[Any], calls: Sequence[Columns] = ()) -> Judgment:
    """The judgment of a row of the JUDGMENT_COLUMNS; texts that were left out are None."""
    ab, ba, p_a, prompt, output, cached, reasoning, cost_usd, scores, error, extra, *texts = row
    completion_ab, completion_ba, reasoning_ab, reasoning_ba = texts
    return Judgment(
        arm=arm,
        ab=_OUTCOMES[ab],
        ba=_OUTCOMES[ba],
        p_a=p_a,
        prompt_tokens=prompt,
        output_tokens=output,
        cached_tokens=cached,
        reasoning_tokens=reasoning,
        cost_usd=cost_usd,
        completion_ab=completion_ab,
        completion_ba=completion_ba,
        reasoning_ab=reasoning_ab,
        reasoning_ba=reasoning_ba,
        scores=None if scores is None else msgspec.json.decode(scores, type=tuple[tuple[float, ...], ...]),
        error=error,
        extra={} if extra is None else load(extra),
        calls=tuple(_read_call(call, dict(zip(JUDGMENT_TEXTS, texts, strict=True))) for call in calls),
    )


def call_row(judgment_id: int, place: int, call: Call, judgment: Judgment) -> Row:
    """A row of `calls`. Text that is the judgment's own is not kept twice."""
    own = _own_texts(judgment, call.order)
    counts = _NO_COUNTS if call.usage is None else msgspec.structs.astuple(call.usage)
    prompt, output, cached, reasoning = counts
    return {
        "judgment_id": judgment_id,
        "place": place,
        "kind": call.kind,
        "arm": call.arm,
        "presented": call.order,
        "response_index": call.response_index,
        "sample": call.sample,
        "outcome": None if call.outcome is None else call.outcome.value,
        "value": call.value,
        "p_a": call.p_a,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "cached_tokens": cached,
        "reasoning_tokens": reasoning,
        "cost_usd": call.cost_usd,
        "latency_s": call.latency_s,
        "attempts": call.attempts,
        "unmetered_calls": call.unmetered_calls,
        "finish_reason": call.finish_reason,
        "model": call.model,
        "error": call.error,
        "text": None if call.text == own[0] else call.text,
        "reasoning": None if call.reasoning == own[1] else call.reasoning,
    }


def _own_texts(judgment: Judgment, order: Order | None) -> tuple[str | None, str | None]:
    """The judgment's completion and reasoning of this order."""
    if order is None:
        return None, None
    if order == "ab":
        return judgment.completion_ab, judgment.reasoning_ab
    return judgment.completion_ba, judgment.reasoning_ba


def _read_call(row: Columns, own: dict[str, str | None]) -> Call:
    """`own` are the texts of the call's judgment."""
    order = row["presented"]
    counts = [row[name] for name in _COUNTS]
    return Call(
        order=order,
        outcome=_OUTCOMES[row["outcome"]],
        usage=None if counts[0] is None else Usage(*counts),
        text=(own[f"completion_{order}"] or "") if row["text"] is None else row["text"],
        reasoning=(own[f"reasoning_{order}"] or "") if row["reasoning"] is None else row["reasoning"],
        **{name: row[name] for name in _PLAIN_CALL},
    )


def dump(value: object) -> str:
    return msgspec.json.encode(value).decode()


def load(text: str) -> Any:
    return msgspec.json.decode(text)
