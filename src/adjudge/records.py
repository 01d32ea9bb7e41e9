"""The interchange format of records: JSON Lines, gzip by suffix, Parquet by suffix. Reading and writing lose nothing.

One object a row: id, source, domain, prompt, response_a, response_b, gold, evaluator, arms; `gold_index`, `rubric` and
`responses` where they exist; any other key is kept as it is. `arms` maps an arm's name to verdict_ab, verdict_ba, p_a,
prompt_tokens, output_tokens, completion_ab, completion_ba (always written), and, where there is something to say,
outcome_ab / outcome_ba (an outcome that is no verdict), scores, reasoning_ab / reasoning_ba, cached_tokens,
reasoning_tokens, cost_usd (of the whole judgment) and error.

An order was run when its verdict or its completion is there, or its outcome is written out; a completion without a
verdict is `unread` unless the outcome says otherwise.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from adjudge import files
from adjudge.errors import DataError
from adjudge.types import Judgment, Number, Outcome, Pair, Record, Side

Verdict = Literal["A", "B", "tie"]
NonVerdict = Literal["unread", "truncated", "refused", "failed"]


class _ArmRow(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    verdict_ab: Verdict | None
    verdict_ba: Verdict | None
    p_a: Number | None
    prompt_tokens: Number | None
    output_tokens: Number | None
    completion_ab: str | None
    completion_ba: str | None
    outcome_ab: NonVerdict | None = None
    outcome_ba: NonVerdict | None = None
    scores: tuple[tuple[float, ...], ...] | None = None
    reasoning_ab: str | None = None
    reasoning_ba: str | None = None
    cached_tokens: Number | None = None
    reasoning_tokens: Number | None = None
    cost_usd: float | None = None
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
    gold_index: int | None | msgspec.UnsetType = msgspec.UNSET
    rubric: str | None = None
    responses: tuple[str, ...] | None = None


_ROW_KEYS = frozenset(_Row.__struct_fields__)
_ARM_KEYS = frozenset(_ArmRow.__struct_fields__)
_PLAIN_ARM_FIELDS = (
    "p_a prompt_tokens output_tokens completion_ab completion_ba reasoning_ab reasoning_ba "
    "scores cached_tokens reasoning_tokens cost_usd error"
).split()
_decoder = msgspec.json.Decoder(_Row)


def read(path: str | Path) -> Iterator[Record]:
    """The records of a file, one at a time.

    Raises DataError (file, line, remedy) on a row that does not fit the schema and on a second row with the same id and
    evaluator.
    """
    path = Path(path)
    seen: dict[int, int] = {}
    for number, record in _read_parquet(path) if path.suffix == ".parquet" else _read_lines(path):
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
    if path.suffix == ".parquet":
        return _write_parquet(path, records)
    count = 0
    with files.replacing(path) as file:
        for record in records:
            file.write(msgspec.json.encode(to_row(record)) + b"\n")
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
    row.update(pair.meta)
    row["evaluator"] = record.evaluator
    row["arms"] = {name: _arm_to_row(judgment) for name, judgment in record.judgments.items()}
    return row


def from_row(row: dict[str, Any]) -> Record:
    """A record from its interchange object. Raises msgspec.ValidationError when it does not fit."""
    if not isinstance(row, dict):
        raise msgspec.ValidationError("Expected `object`")
    meta = {k: v for k, v in row.items() if k not in _ROW_KEYS}
    known = {k: v for k, v in row.items() if k in _ROW_KEYS}
    extras: dict[str, dict[str, Any]] = {}
    if isinstance(known.get("arms"), dict):
        for name, arm in known["arms"].items():
            if isinstance(arm, dict) and not arm.keys() <= _ARM_KEYS:
                extras[name] = {k: v for k, v in arm.items() if k not in _ARM_KEYS}
                known["arms"] = {**known["arms"], name: {k: v for k, v in arm.items() if k in _ARM_KEYS}}
    return _record(msgspec.convert(known, _Row), meta, extras)


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
        ab=_outcome(row.verdict_ab, row.outcome_ab, row.completion_ab),
        ba=_outcome(row.verdict_ba, row.outcome_ba, row.completion_ba),
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


def _outcome(verdict: str | None, other: str | None, completion: str | None) -> Outcome | None:
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
            row[field] = value
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
    row.update(judgment.extra)
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


def _read_parquet(path: Path) -> Iterator[tuple[int, Record]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _checked(_from_parquet(row), path, number)
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"is no Parquet file of records: {error}", path=path) from None
    if not number:
        raise DataError("is empty", path=path, remedy="give a file with at least one row")


def _from_parquet(row: dict[str, Any]) -> dict[str, Any]:
    other = row.pop("other", None)
    row = {k: v for k, v in row.items() if v is not None or k not in ("gold_index", "rubric", "responses")}
    row["arms"] = {
        name: {k: v for k, v in arm.items() if v is not None or k in _ARM_ALWAYS} | _other(arm.pop("other", None))
        for name, arm in row["arms"]
    }
    return row | _other(other)


def _other(text: str | None) -> dict[str, Any]:
    return msgspec.json.decode(text) if text else {}


_ARM_ALWAYS = frozenset("verdict_ab verdict_ba p_a prompt_tokens output_tokens completion_ab completion_ba".split())


def _write_parquet(path: Path, records: Iterable[Record]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, real = pa.string(), pa.float64()
    arm_fields = {k: text for k in sorted(_ARM_KEYS)} | {k: real for k in _ARM_KEYS if k in ("p_a", "cost_usd")}
    arm_fields |= {k: real for k in _ARM_KEYS if k.endswith("_tokens")} | {"scores": pa.list_(pa.list_(real))}
    arms = pa.map_(text, pa.struct([*arm_fields.items(), ("other", text)]))
    columns = {k: text for k in _Row.__struct_fields__} | {"gold_index": pa.int64(), "responses": pa.list_(text)}
    schema = pa.schema([*(columns | {"arms": arms, "other": text}).items()])
    count = 0
    with files.replacing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []

        def flush() -> None:
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
            batch.clear()

        for record in records:
            batch.append(_to_parquet(to_row(record), set(columns)))
            count += 1
            if len(batch) == 512:
                flush()
        if batch:
            flush()
    return count


def _to_parquet(row: dict[str, Any], columns: set[str]) -> dict[str, Any]:
    other = {k: v for k, v in row.items() if k not in columns or (k == "gold_index" and v is None)}
    flat = {k: v for k, v in row.items() if k not in other}
    flat["other"] = msgspec.json.encode(other).decode() if other else None
    flat["arms"] = [(name, _arm_to_parquet(arm)) for name, arm in row["arms"].items()]
    return flat


def _arm_to_parquet(arm: dict[str, Any]) -> dict[str, Any]:
    other = {k: v for k, v in arm.items() if k not in _ARM_KEYS}
    known = {k: v for k, v in arm.items() if k in _ARM_KEYS}
    return known | {"other": msgspec.json.encode(other).decode() if other else None}
