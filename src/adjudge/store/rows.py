"""Pairs, judgments and calls to rows of the store and back, losing nothing."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from adjudge.types import Call, Judgment, Order, Outcome, Pair, Usage

HEADER = ("source", "domain", "gold", "gold_index", "meta")
JUDGMENT_TEXTS = ("completion_ab", "completion_ba", "reasoning_ab", "reasoning_ba")
PAIR_TEXTS = ("prompt", "response_a", "response_b", "responses")
PAIR_COLUMNS = ("key", "id", "rubric", *PAIR_TEXTS)
_NUMBERS = ("p_a", "prompt_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd")
# What judgment_row gives and read_judgment takes, in its order.
JUDGMENT_COLUMNS = ("outcome_ab", "outcome_ba", *_NUMBERS, "scores", "error", "extra", *JUDGMENT_TEXTS)
_COUNTS = Usage.__struct_fields__
_NO_COUNTS = (None,) * len(_COUNTS)
CALL_COLUMNS = (
    *("judgment_id", "place", "kind", "arm", "presented", "response_index", "sample", "outcome", "value", "p_a"),
    *(*_COUNTS, "cost_usd", "latency_s", "attempts", "unmetered_calls", "finish_reason", "model", "error"),
    *("text", "reasoning"),
)
_PLAIN_CALL = (
    *("kind", "arm", "response_index", "sample", "value", "p_a", "cost_usd"),
    *("latency_s", "attempts", "unmetered_calls", "finish_reason", "model", "error"),
)
_OUTCOMES: dict[str | None, Outcome | None] = {None: None, **{o.value: o for o in Outcome}}

Row = tuple[Any, ...]


class Columns(Protocol):
    """A row read from the database, by column name."""

    def __getitem__(self, name: Any, /) -> Any: ...
    def get(self, name: Any, /) -> Any: ...


def pair_row(key: str, pair: Pair) -> Row:
    """What a judge may read of a pair: the PAIR_COLUMNS of `pairs`."""
    responses = None if pair.responses is None else dump(pair.responses)
    return key, pair.id, pair.rubric, pair.prompt, pair.response_a, pair.response_b, responses


def header(pair: Pair) -> Row:
    """What else a pair says: the columns HEADER of `records`."""
    gold_index = None if pair.gold_index is msgspec.UNSET else dump(pair.gold_index)
    return pair.source, pair.domain, pair.gold, gold_index, dump(pair.meta) if pair.meta else None


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
    """The JUDGMENT_COLUMNS of `judgments`: what the judgment itself says."""
    ab, ba, scores, extra = judgment.ab, judgment.ba, judgment.scores, judgment.extra
    return (
        None if ab is None else ab.value,
        None if ba is None else ba.value,
        judgment.p_a,
        judgment.prompt_tokens,
        judgment.output_tokens,
        judgment.cached_tokens,
        judgment.reasoning_tokens,
        judgment.cost_usd,
        None if scores is None else dump(scores),
        judgment.error,
        dump(extra) if extra else None,
        judgment.completion_ab,
        judgment.completion_ba,
        judgment.reasoning_ab,
        judgment.reasoning_ba,
    )


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
    """The CALL_COLUMNS of `calls`. Text that is the judgment's own is not kept twice."""
    text, reasoning = _own_texts(judgment, call.order)
    return (
        judgment_id,
        place,
        call.kind,
        call.arm,
        call.order,
        call.response_index,
        call.sample,
        None if call.outcome is None else call.outcome.value,
        call.value,
        call.p_a,
        *(_NO_COUNTS if call.usage is None else msgspec.structs.astuple(call.usage)),
        call.cost_usd,
        call.latency_s,
        call.attempts,
        call.unmetered_calls,
        call.finish_reason,
        call.model,
        call.error,
        None if call.text == text else call.text,
        None if call.reasoning == reasoning else call.reasoning,
    )


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
