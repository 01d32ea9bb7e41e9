"""Pairs from two files of answers to the same questions: AlpacaEval outputs, Arena-Hard answers. No side is gold.

A seeded hash of the id draws which model is A, whichever file was named first; `meta` says whose answer each side is.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from adjudge.errors import DataError
from adjudge.pairs import fields, formats, rows
from adjudge.pairs.fields import Row
from adjudge.pairs.read import Pairs, as_object, placed
from adjudge.types import Pair, digest, drawn_side


class Question(NamedTuple):
    prompt: str
    domain: str


class Answer(NamedTuple):
    """`key` is what the two answers to one question share: the question's id or a hash of its text."""

    key: str
    model: str
    text: str
    question: Question
    source: str


def read_outputs(one: str | Path, other: str | Path, *, questions: str | Path | None = None, seed: int = 0) -> Pairs:
    """A pair for every question that both files answer; `questions` gives Arena-Hard's prompts and categories.

    The files are walked side by side: files in the same order are a stream, others hold what has not met its partner.
    Raises DataError (file, line, remedy) on files that are no answers, or that answer no question in common.
    """
    asked = _questions(questions) if questions is not None else {}
    form, first = _answers(one, asked)
    other_form, second = _answers(other, asked)
    if form != other_form:
        raise DataError(f"is of format {other_form!r}, {one} of {form!r}", path=other, remedy="name two of one format")
    left_out: Counter[str] = Counter()
    return Pairs(form, _matched(first, second, (one, other), seed, left_out), left_out)


def _matched(
    first: Iterator[Answer], second: Iterator[Answer], paths: tuple[Any, Any], seed: int, left_out: Counter[str]
) -> Iterator[Pair]:
    waiting: tuple[dict[str, Answer], dict[str, Answer]] = ({}, {})
    found = False
    for both in zip_longest(first, second):
        for side, answer in enumerate(both):
            if answer is None:
                continue
            partner = waiting[1 - side].pop(answer.key, None)
            if partner is None:
                waiting[side][answer.key] = answer
            else:
                found = True
                yield _pair((answer, partner) if side == 0 else (partner, answer), seed)
    if not found:
        raise DataError(
            f"answers no question that {paths[0]} answers", path=paths[1], remedy="name two files of one set"
        )
    for path, lonely in zip(reversed(paths), waiting, strict=True):
        if lonely:
            left_out[f"not answered in {path}"] += len(lonely)


def _pair(answers: tuple[Answer, Answer], seed: int) -> Pair:
    one, other = sorted(answers, key=lambda answer: answer.model)
    pair_id = f"{one.key}/{one.model}~{other.model}"
    a, b = (one, other) if drawn_side(pair_id, seed) == "A" else (other, one)
    return Pair(
        id=pair_id,
        prompt=one.question.prompt,
        response_a=a.text,
        response_b=b.text,
        domain=one.question.domain,
        source=one.source,
        meta={"model_a": a.model, "model_b": b.model},
    )


def _answers(path: str | Path, asked: dict[str, Question]) -> tuple[str, Iterator[Answer]]:
    stream = rows.stream(path)
    first = next(stream)
    with placed(path, first):
        form = formats.recognise(as_object(first))
        if form.name not in _READERS:
            raise DataError(f"holds {form.name!r}, not answers of one model", remedy="leave out --against")
    return form.name, _numbered(path, _READERS[form.name], asked)


def _numbered(
    path: str | Path, reader: Callable[[Row, dict[str, Question]], Answer], asked: dict[str, Question]
) -> Iterator[Answer]:
    """The answers; of a question that stands in a file more than once, each time is a question of its own."""
    times: Counter[str] = Counter()
    for row in rows.stream(path):
        with placed(path, row):
            answer = reader(as_object(row), asked)
        times[answer.key] += 1
        again = "" if times[answer.key] == 1 else f".{times[answer.key]}"
        yield answer._replace(key=answer.key + again, model=answer.model or Path(path).stem)


def _alpaca(row: Row, asked: dict[str, Question]) -> Answer:  # noqa: ARG001  # one signature for both
    prompt = fields.text(row, "instruction")
    dataset = fields.label(row, "dataset")
    return Answer(
        key=f"alpaca_eval/{digest(prompt)[:16]}",
        model=fields.label(row, "generator"),
        text=fields.text(row, "output"),
        question=Question(prompt, f"AlpacaEval/{dataset}" if dataset else "AlpacaEval"),
        source="tatsu-lab/alpaca_eval",
    )


def _arena(row: Row, asked: dict[str, Question]) -> Answer:
    uid, messages = fields.name(row, "uid"), row.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise DataError("'messages' must be a list of messages", remedy="mend the row")
    content = messages[-1].get("content")
    text = fields.text(content, "answer") if isinstance(content, dict) else fields.text(messages[-1], "content")
    if asked and uid not in asked:
        raise DataError(f"answers {uid!r}, which is no question of --questions", remedy="name the questions answered")
    if not asked and len(messages) != 2:
        raise DataError("the question is not one message", remedy="name the file of questions: --questions FILE")
    question = asked[uid] if asked else Question(fields.text(messages[0], "content"), "ArenaHard")
    return Answer(f"arena-hard/{uid}", fields.text(row, "model"), text, question, "lmarena/arena-hard-auto")


def _questions(path: str | Path) -> dict[str, Question]:
    asked: dict[str, Question] = {}
    for row in rows.stream(path):
        with placed(path, row):
            value = as_object(row)
            uid, prompt, category = (
                fields.name(value, "uid"),
                fields.text(value, "prompt"),
                fields.text(value, "category"),
            )
            sub = fields.label(value, "subcategory")
            if uid in asked:
                raise DataError(f"the question {uid!r} stands twice", remedy="keep one of the two")
            asked[uid] = Question(
                prompt, "/".join(("ArenaHard", category, *([sub] if sub not in ("", category) else [])))
            )
    return asked


_READERS: dict[str, Callable[[Row, dict[str, Question]], Answer]] = {formats.ALPACA: _alpaca, formats.ARENA: _arena}
