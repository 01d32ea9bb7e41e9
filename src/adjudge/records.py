"""The interchange format of records: JSON Lines, gzip by suffix, Parquet by suffix. Reading and writing lose nothing.

One object a row: id, source, domain, prompt, response_a, response_b, gold, evaluator, arms; `gold_index`, `rubric` and
`responses` where they exist; any other key is kept as it is. `arms` maps an arm's name to verdict_ab, verdict_ba, p_a,
prompt_tokens, output_tokens, completion_ab, completion_ba (always written), and, where there is something to say,
outcome_ab / outcome_ba (an outcome that is no verdict), scores, reasoning_ab / reasoning_ba, cached_tokens,
reasoning_tokens, cost_usd (of the whole judgment) and error. A pair's or a judgment's own key that is named like one of
these is written with a prefix, `meta.` or `extra.`, and read back without it.

An order was run when its verdict or its completion is there, or its outcome is written out; a completion without a
verdict is `unread` unless the outcome says otherwise.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from adjudge import files
from adjudge.errors import DataError
from adjudge.types import Judgment, Outcome, Pair, Record, Side

# Past 2^53 a count is not one: it would not survive a float, which Parquet and most readers of JSON make of it.
Count = Annotated[int, Meta(ge=0, le=2**53)] | Annotated[float, Meta(ge=0, le=2**53)]
Share = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)]
Verdict = Literal["A", "B", "tie"]
NonVerdict = Literal["unread", "truncated", "refused", "failed"]


class _ArmRow(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    verdict_ab: Verdict | None
    verdict_ba: Verdict | None
    p_a: Share | None
    prompt_tokens: Count | None
    output_tokens: Count | None
    completion_ab: str | None
    completion_ba: str | None
    outcome_ab: NonVerdict | None = None
    outcome_ba: NonVerdict | None = None
    scores: tuple[tuple[float, ...], ...] | None = None
    reasoning_ab: str | None = None
    reasoning_ba: str | None = None
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cost_usd: Annotated[float, Meta(ge=0)] | None = None
    error: str | None = None


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    evaluator: str
    arms: dict[str, _ArmRow]
    source: str = ""
    domain: str = ""
    prompt: str | None = None
    response_a: str | None = None
    response_b: str | None = None
    gold: Side | None = None
    gold_index: Annotated[int, Meta(ge=0, lt=2**53)] | msgspec.UnsetType | None = msgspec.UNSET
    rubric: str | None = None
    responses: tuple[str, ...] | None = None


_ROW_KEYS = frozenset(_Row.__struct_fields__)
_ARM_KEYS = frozenset(_ArmRow.__struct_fields__)
_PLAIN_ARM_FIELDS = [
    "p_a",
    "prompt_tokens",
    "output_tokens",
    "completion_ab",
    "completion_ba",
    "reasoning_ab",
    "reasoning_ba",
    "scores",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
    "error",
]
_decoder = msgspec.json.Decoder(_Row)


def read(path: str | Path, *, texts: bool = True) -> Iterator[Record]:
    """The records of a file, one at a time.

    `texts=False`: prompts, responses, completions and reasoning are not needed; they are None where passing over them
    saves time, that is in Parquet.

    Raises DataError (file, line, remedy) on a row that does not fit the schema and on a second row with the same id and
    evaluator.
    """
    path = Path(path)
    seen: dict[int, int] = {}
    for number, record in _read_parquet(path, texts=texts) if _is_parquet(path) else _read_lines(path):
        identity = hash((record.pair.id, record.evaluator))
        if identity in seen:
            raise DataError(
                f"id {record.pair.id!r} stands twice for evaluator {record.evaluator!r} (first at {seen[identity]})",
                path=path,
                line=number,
                remedy="keep one of the two",
            )
        seen[identity] = number
        yield record


def write(path: str | Path, records: Iterable[Record]) -> int:
    """Write records to a file, whole or not at all; returns how many. Raises DataError when it cannot be written."""
    path = Path(path)
    if _is_parquet(path):
        from adjudge import parquet

        return parquet.write_rows(path, map(to_row, records))
    count = 0
    with files.replacing(path) as file:
        for record in records:
            file.write(_encoded(record, path) + b"\n")
            count += 1
    return count


def to_row(record: Record) -> dict[str, Any]:
    """The interchange object of a record."""
    pair = record.pair
    row: dict[str, Any] = {
        "id": pair.id,
        "source": pair.source,
        "domain": pair.domain,
        "prompt": pair.prompt,
        "response_a": pair.response_a,
        "response_b": pair.response_b,
        "gold": pair.gold,
    }
    if pair.gold_index is not msgspec.UNSET:
        row["gold_index"] = pair.gold_index
    if pair.rubric is not None:
        row["rubric"] = pair.rubric
    if pair.responses is not None:
        row["responses"] = list(pair.responses)
    row.update(_named_apart(pair.meta, "meta.", _ROW_KEYS))
    row["evaluator"] = record.evaluator
    row["arms"] = {name: _arm_to_row(judgment) for name, judgment in record.judgments.items()}
    return row


def from_row(row: dict[str, Any]) -> Record:
    """A record from its interchange object. Raises msgspec.ValidationError when it does not fit."""
    if not isinstance(row, dict):
        raise msgspec.ValidationError("Expected `object`")
    meta = _named_back(row, "meta.", _ROW_KEYS)
    known = {k: v for k, v in row.items() if k in _ROW_KEYS}
    extras: dict[str, dict[str, Any]] = {}
    if isinstance(known.get("arms"), dict):
        for name, arm in known["arms"].items():
            if isinstance(arm, dict) and not arm.keys() <= _ARM_KEYS:
                extras[name] = _named_back(arm, "extra.", _ARM_KEYS)
                known["arms"] = {**known["arms"], name: {k: v for k, v in arm.items() if k in _ARM_KEYS}}
    return _record(msgspec.convert(known, _Row), meta, extras)


def _named_apart(own: dict[str, Any], prefix: str, taken: frozenset[str]) -> dict[str, Any]:
    """`own` with a prefix to each key that the schema uses itself (or that looks as if it had been given one)."""
    return {prefix + k if k.replace(prefix, "") in taken else k: v for k, v in own.items()}


def _named_back(row: dict[str, Any], prefix: str, taken: frozenset[str]) -> dict[str, Any]:
    """The keys of `row` that are not the schema's, without the prefix that _named_apart gave."""
    own = {k: v for k, v in row.items() if k not in taken}
    return {k.removeprefix(prefix) if k.replace(prefix, "") in taken else k: v for k, v in own.items()}


def _record(row: _Row, meta: dict[str, Any], extras: dict[str, dict[str, Any]]) -> Record:
    pair = Pair(
        id=row.id,
        prompt=row.prompt,
        response_a=row.response_a,
        response_b=row.response_b,
        gold=row.gold,
        domain=row.domain,
        source=row.source,
        rubric=row.rubric,
        responses=row.responses,
        gold_index=row.gold_index,
        meta=meta,
    )
    judgments = {name: _judgment(name, arm, extras.get(name, {})) for name, arm in row.arms.items()}
    return Record(pair=pair, evaluator=row.evaluator, judgments=judgments)


def _judgment(name: str, row: _ArmRow, extra: dict[str, Any]) -> Judgment:
    return Judgment(
        arm=name,
        ab=_outcome(row.verdict_ab, row.outcome_ab, row.completion_ab, "ab"),
        ba=_outcome(row.verdict_ba, row.outcome_ba, row.completion_ba, "ba"),
        p_a=row.p_a,
        prompt_tokens=row.prompt_tokens,
        output_tokens=row.output_tokens,
        cached_tokens=row.cached_tokens,
        reasoning_tokens=row.reasoning_tokens,
        cost_usd=row.cost_usd,
        completion_ab=row.completion_ab,
        completion_ba=row.completion_ba,
        reasoning_ab=row.reasoning_ab,
        reasoning_ba=row.reasoning_ba,
        scores=row.scores,
        error=row.error,
        extra=extra,
    )


_OUTCOMES = {o.value: o for o in Outcome}


def _outcome(verdict: str | None, other: str | None, completion: str | None, order: str) -> Outcome | None:
    if verdict is not None and other is not None:
        raise msgspec.ValidationError(f"verdict_{order} and outcome_{order} exclude each other")
    if verdict is not None:
        return _OUTCOMES[verdict]
    if other is not None:
        return _OUTCOMES[other]
    return None if completion is None else Outcome.UNREAD


def _arm_to_row(judgment: Judgment) -> dict[str, Any]:
    row: dict[str, Any] = {"verdict_ab": None, "verdict_ba": None}
    for field in _PLAIN_ARM_FIELDS:
        value = getattr(judgment, field)
        if value is not None or field in ("p_a", "prompt_tokens", "output_tokens", "completion_ab", "completion_ba"):
            row[field] = [list(ratings) for ratings in value] if field == "scores" and value is not None else value
    for order, outcome, completion in (
        ("ab", judgment.ab, judgment.completion_ab),
        ("ba", judgment.ba, judgment.completion_ba),
    ):
        if outcome is None:
            continue
        if outcome.is_verdict:
            row[f"verdict_{order}"] = outcome.value
        elif outcome is not Outcome.UNREAD or completion is None:
            row[f"outcome_{order}"] = outcome.value
    row.update(_named_apart(judgment.extra, "extra.", _ARM_KEYS))
    return row


def _read_lines(path: Path) -> Iterator[tuple[int, Record]]:
    for number, line in files.lines(path):
        try:
            yield number, _record(_decoder.decode(line), {}, {})
            continue
        except (msgspec.DecodeError, RecursionError):
            pass  # other keys, or a fault: the slow way keeps the first and names the second
        yield number, _checked(files.decode(line, path, number), path, number)


def _checked(row: Any, path: Path, number: int) -> Record:
    try:
        return from_row(row)
    except msgspec.ValidationError as error:
        raise DataError(
            f"is no record: {error}",
            path=path,
            line=number,
            remedy="see the record schema in docs/formats.md; pairs without judgments go to `adjudge judge`",
        ) from None


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


def _read_parquet(path: Path, *, texts: bool) -> Iterator[tuple[int, Record]]:
    from adjudge import parquet

    for number, row in parquet.read_rows(path) if texts else parquet.read_figures(path):
        yield number, row if isinstance(row, Record) else _checked(row, path, number)


def _encoded(record: Record, path: Path) -> bytes:
    try:
        return msgspec.json.encode(to_row(record))
    except UnicodeEncodeError:
        raise DataError(
            f"cannot hold record {record.pair.id!r}, a text of which is no Unicode", path=path, remedy="repair the text"
        ) from None
