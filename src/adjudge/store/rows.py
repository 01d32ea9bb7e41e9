"""Pairs, judgments and calls to rows of the store and back, losing nothing."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from adjudge.types import Call, Judgment, Outcome, Pair, Usage

HEADER = ("source", "domain", "gold", "gold_index", "meta")
JUDGMENT_TEXTS = ("completion_ab", "completion_ba", "reasoning_ab", "reasoning_ba")
PAIR_TEXTS = ("prompt", "response_a", "response_b", "responses")
_NUMBERS = ("p_a", "prompt_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd")
_COUNTS = ("prompt_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
_PLAIN_CALL = (
    *("kind", "arm", "response_index", "sample", "value", "p_a", "cost_usd"),
    *("latency_s", "attempts", "unmetered_calls", "finish_reason", "model", "error"),
)
_OUTCOMES: dict[str | None, Outcome] = {o.value: o for o in Outcome}

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
    row: Row = {name: getattr(judgment, name) for name in (*_NUMBERS, *JUDGMENT_TEXTS, "error")}
    row["outcome_ab"] = None if judgment.ab is None else str(judgment.ab)
    row["outcome_ba"] = None if judgment.ba is None else str(judgment.ba)
    row["scores"] = None if judgment.scores is None else dump(judgment.scores)
    row["extra"] = dump(judgment.extra) if judgment.extra else None
    return row


def read_judgment(row: Columns, calls: Sequence[Columns] = ()) -> Judgment:
    """The judgment of a row of `judgments` under the name `arm`; text columns that were not selected are None."""
    scores = row["scores"]
    texts = {name: row.get(name) for name in JUDGMENT_TEXTS}
    return Judgment(
        arm=row["arm"],
        ab=_OUTCOMES.get(row["outcome_ab"]),
        ba=_OUTCOMES.get(row["outcome_ba"]),
        scores=None if scores is None else tuple(tuple(float(x) for x in s) for s in load(scores)),
        error=row["error"],
        extra=load(row["extra"]) if row["extra"] else {},
        calls=tuple(_read_call(call, texts) for call in calls),
        **{name: row[name] for name in _NUMBERS},
        **texts,
    )


def call_row(judgment_id: int, place: int, call: Call, judgment: Judgment) -> Row:
    """A row of `calls`. Text that is the judgment's own is not kept twice."""
    row: Row = {name: getattr(call, name) for name in _PLAIN_CALL}
    completion, reasoning = _own_texts(call.order, lambda name: getattr(judgment, name))
    usage = call.usage
    for name in _COUNTS:
        row[name] = None if usage is None else getattr(usage, name)
    row.update(
        judgment_id=judgment_id,
        place=place,
        presented=call.order,
        outcome=None if call.outcome is None else str(call.outcome),
        text=None if call.text == completion else call.text,
        reasoning=None if call.reasoning == reasoning else call.reasoning,
    )
    return row


def _read_call(row: Columns, texts: dict[str, str | None]) -> Call:
    completion, reasoning = _own_texts(row["presented"], texts.__getitem__)
    return Call(
        order=row["presented"],
        outcome=_OUTCOMES.get(row["outcome"]),
        usage=None if row["prompt_tokens"] is None else Usage(*(row[name] for name in _COUNTS)),
        text=(completion or "") if row["text"] is None else row["text"],
        reasoning=(reasoning or "") if row["reasoning"] is None else row["reasoning"],
        **{name: row[name] for name in _PLAIN_CALL},
    )


def _own_texts(order: str | None, text: Callable[[str], str | None]) -> tuple[str | None, str | None]:
    return (None, None) if order is None else (text(f"completion_{order}"), text(f"reasoning_{order}"))


def dump(value: object) -> str:
    return msgspec.json.encode(value).decode()


def load(text: str) -> Any:
    return msgspec.json.decode(text)
