"""Pairs from two files of answers to the same questions. No side is gold.

A seeded hash of the id draws which model is A, whichever file was named first; `meta` says whose answer each side is.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from adjudge.errors import DataError
from adjudge.pairs import formats, rows
from adjudge.pairs.answers import ANSWERS, QUESTIONS, Answer, Asked, Question
from adjudge.pairs.fields import Row
from adjudge.pairs.read import Pairs, as_object, placed
from adjudge.types import Pair, drawn_side


def read_outputs(one: str | Path, other: str | Path, *, questions: str | Path | None = None, seed: int = 0) -> Pairs:
    """A pair for every question that both files answer; `questions` gives Arena-Hard's prompts and categories, which
    the answers of its version 0.1 do not repeat.

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
        meta={"model_a": a.model, "model_b": b.model, **one.question.meta},
    )


def _answers(path: str | Path, asked: Asked) -> tuple[str, Iterator[Answer]]:
    stream = rows.stream(path)
    first = next(stream)
    with placed(path, first):
        form = formats.recognise(as_object(first))
        if form.name not in ANSWERS:
            raise DataError(f"holds {form.name!r}, not answers of one model", remedy="leave out --against")
    return form.name, _numbered(path, ANSWERS[form.name], asked)


def _numbered(path: str | Path, reader: Callable[[Row, Asked], Answer], asked: Asked) -> Iterator[Answer]:
    """The answers; of a question that stands in a file more than once, each time is a question of its own."""
    times: Counter[str] = Counter()
    for row in rows.stream(path):
        with placed(path, row):
            answer = reader(as_object(row), asked)
        times[answer.key] += 1
        again = "" if times[answer.key] == 1 else f".{times[answer.key]}"
        yield answer._replace(key=answer.key + again, model=answer.model or Path(path).stem)


def _questions(path: str | Path) -> dict[str, Question]:
    reader: Callable[[Row], tuple[str, Question]] | None = None
    asked: dict[str, Question] = {}
    for row in rows.stream(path):
        with placed(path, row):
            value = as_object(row)
            reader = reader or _question_reader(value)
            question_id, question = reader(value)
            if question_id in asked:
                raise DataError(f"the question {question_id!r} stands twice", remedy="keep one of the two")
            asked[question_id] = question
    return asked


def _question_reader(row: Row) -> Callable[[Row], tuple[str, Question]]:
    form = formats.recognise(row)
    if form.name not in QUESTIONS:
        raise DataError(f"holds {form.name!r}, not questions", remedy=f"known formats: {', '.join(QUESTIONS)}")
    return QUESTIONS[form.name]
