"""The judgments that a page carries: which ones, and how they are packed.

A row of the list is one record. All rows stand in one small index (ids, domains, outcomes, the start of the prompt);
the texts stand in gzip chunks that the page unpacks when a row is opened or searched. What is left out is counted.
"""

import base64
import gzip
import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup

from adjudge.types import Judgment, Outcome, Record

MAX_JUDGMENTS = 20_000
MAX_TEXT_CHARS = 100_000_000  # over all texts of a page
MAX_CHARS = 200_000  # of one text
CHUNK_CHARS = 500_000
EXCERPT_CHARS = 180
CODES = {
    None: "-",
    Outcome.A: "A",
    Outcome.B: "B",
    Outcome.TIE: "t",
    Outcome.UNREAD: "u",
    Outcome.TRUNCATED: "c",
    Outcome.REFUSED: "r",
    Outcome.FAILED: "f",
}


class _Kept(NamedTuple):
    """One record in the heap; the heap's top is the one to be dropped first."""

    rank: tuple[int, int]
    place: int
    judgments: int
    chars: int
    record: Record


class Chosen(NamedTuple):
    """The records that the page carries, in their order, and what there was: counts of judgments and of pairs."""

    records: Sequence[Record]
    judgments: int
    all_pairs: int
    all_judgments: int

    @property
    def whole(self) -> bool:
        return len(self.records) == self.all_pairs


def choose(records: Iterable[Record], max_judgments: int = MAX_JUDGMENTS, max_chars: int = MAX_TEXT_CHARS) -> Chosen:
    """At most so many judgments and characters, whole records, in one pass and holding no more than what is kept.

    Records whose arms disagree come first, then those with orders that disagree or an outcome that is no verdict;
    within a kind a hash of the id draws, so that no part of a file is preferred.
    """
    heap: list[_Kept] = []
    judgments = chars = all_pairs = all_judgments = 0
    for place, record in enumerate(records):
        all_pairs += 1
        all_judgments += len(record.judgments)
        kept = _Kept(_rank(record), -place, len(record.judgments), _chars(record), record)
        judgments, chars = judgments + kept.judgments, chars + kept.chars
        heapq.heappush(heap, kept)
        while heap and (judgments > max_judgments or chars > max_chars):
            dropped = heapq.heappop(heap)
            judgments, chars = judgments - dropped.judgments, chars - dropped.chars
    heap.sort(key=lambda kept: -kept.place)
    return Chosen([kept.record for kept in heap], judgments, all_pairs, all_judgments)


def arms_disagree(record: Record) -> bool:
    return len({judgment.outcome for judgment in record.judgments.values()}) > 1


def _rank(record: Record) -> tuple[int, int]:
    worth = 0
    if arms_disagree(record):
        worth = 2
    elif any(j.consistent is False or not j.outcome.is_verdict for j in record.judgments.values()):
        worth = 1
    drawn = hashlib.blake2b(f"{record.evaluator}\0{record.pair.id}".encode(errors="replace"), digest_size=8).digest()
    return worth, int.from_bytes(drawn)


def _chars(record: Record) -> int:
    pair = record.pair
    texts = [pair.prompt, pair.response_a, pair.response_b, pair.rubric, *(pair.responses or ())]
    for j in record.judgments.values():
        texts += [j.completion_ab, j.completion_ba, j.reasoning_ab, j.reasoning_ba]
    return sum(min(len(text), MAX_CHARS) for text in texts if text)


class Packed(NamedTuple):
    """`rows` is JSON that may stand inside a script element; `chunks` are base64 of gzip of JSON."""

    rows: Markup
    chunks: Sequence[str]


def pack(records: Sequence[Record], arms: Mapping[str, Sequence[str]]) -> Packed:
    """The rows of the list and their texts; `arms` names the arms of each evaluator, in the order of the columns."""
    evaluators = list(arms)
    domains = sorted({domain_of(record) for record in records})
    rows: list[list[Any]] = []
    chunks: list[str] = []
    waiting: list[dict[str, Any]] = []
    size = 0
    for record in records:
        names = arms[record.evaluator]
        where = [evaluators.index(record.evaluator), domains.index(domain_of(record)), len(chunks), len(waiting)]
        rows.append([*where, *_row(record, names)])
        waiting.append(_texts(record, names))
        size += _chars(record)
        if size > CHUNK_CHARS:
            chunks.append(_packed(waiting))
            waiting, size = [], 0
    if waiting:
        chunks.append(_packed(waiting))
    index = {
        "evaluators": [{"name": name, "arms": list(arms[name])} for name in evaluators],
        "domains": domains,
        "rows": rows,
    }
    return Packed(_in_script(_json(index).decode()), chunks)


def domain_of(record: Record) -> str:
    return record.pair.domain or "(none)"


def _row(record: Record, names: Sequence[str]) -> list[Any]:
    """id, gold, the start of the prompt, and three letters an arm: outcome of ab, of ba, and over both."""
    pair = record.pair
    start = next((text for text in (pair.prompt, *pair.texts) if text), "")
    codes = [_codes(record.judgments.get(name)) for name in names]
    excerpt = " ".join(start[: 4 * EXCERPT_CHARS].split())
    if len(excerpt) > EXCERPT_CHARS:
        excerpt = excerpt[: EXCERPT_CHARS - 1] + "…"
    return [pair.id, pair.gold or "", excerpt, codes]


def _codes(judgment: Judgment | None) -> str:
    return "" if judgment is None else CODES[judgment.ab] + CODES[judgment.ba] + CODES[judgment.outcome]


_FIGURES = ("p_a", "prompt_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd", "scores")
_WORDS = ("completion_ab", "completion_ba", "reasoning_ab", "reasoning_ba", "error")


def _texts(record: Record, names: Sequence[str]) -> dict[str, Any]:
    pair = record.pair
    best_of_n = isinstance(pair.gold_index, int)
    texts = {"prompt": pair.prompt, "a": pair.response_a, "b": pair.response_b, "rubric": pair.rubric}
    return {
        **{key: _cut(text) for key, text in texts.items() if text is not None},
        **({"responses": [_cut(text) for text in pair.responses]} if pair.responses is not None else {}),
        **({"gold_index": pair.gold_index} if best_of_n else {}),
        "arms": [_said(record.judgments.get(name)) for name in names],
    }


def _said(judgment: Judgment | None) -> dict[str, Any] | None:
    if judgment is None:
        return None
    figures = {key: getattr(judgment, key) for key in _FIGURES}
    words = {key: _cut(text) for key in _WORDS if (text := getattr(judgment, key)) is not None}
    return {key: value for key, value in figures.items() if value is not None} | words


def _cut(text: str) -> str | tuple[str, int]:
    """The text, or its start with its whole length where it is too long for a page."""
    return text if len(text) <= MAX_CHARS else (text[:MAX_CHARS], len(text))


def _packed(values: list[dict[str, Any]]) -> str:
    return base64.b64encode(gzip.compress(_json(values), 6, mtime=0)).decode()


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # lone surrogates, which JSON cannot carry
        return msgspec.json.encode(_without_surrogates(value))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(v) for v in value]
    return value


def _in_script(json: str) -> Markup:
    """JSON in which no `<` can end the element or open a comment."""
    return Markup(json.replace("<", "\\u003c"))  # noqa: S704  # this is the escaping
