"""One model's answers, and the questions that they answer: AlpacaEval outputs, Arena-Hard v2 and v0.1."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from adjudge.errors import DataError
from adjudge.pairs import fields, formats
from adjudge.pairs.fields import Row
from adjudge.types import digest


class Question(NamedTuple):
    """`turns` is how many messages it is made of; several are written out with the speaker before each."""

    prompt: str
    domain: str
    turns: int = 1
    meta: Mapping[str, Any] = {}


class Answer(NamedTuple):
    """`key` is what the two answers to one question share: the question's id or a hash of its text."""

    key: str
    model: str
    text: str
    question: Question
    source: str


Asked = Mapping[str, Question]
ASK_FOR_QUESTIONS = "name the file of questions: --questions FILE"
_ARENA = "lmarena/arena-hard-auto"


def _alpaca(row: Row, asked: Asked) -> Answer:  # noqa: ARG001  # one signature for all
    prompt = fields.text(row, "instruction")
    dataset = fields.label(row, "dataset")
    return Answer(
        key=f"alpaca_eval/{digest(prompt)[:16]}",
        model=fields.label(row, "generator"),
        text=fields.text(row, "output"),
        question=Question(prompt, f"AlpacaEval/{dataset}" if dataset else "AlpacaEval"),
        source="tatsu-lab/alpaca_eval",
    )


def _arena(row: Row, asked: Asked) -> Answer:
    uid, messages = fields.name(row, "uid"), row.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise DataError("'messages' must be a list of messages", remedy="mend the row")
    text = _said(messages[-1], "content")
    if asked:
        question = _of(uid, asked)
    elif len(messages) == 2:
        question = Question(fields.text(messages[0], "content"), "ArenaHard")
    else:
        raise DataError("the question is not one message", remedy=ASK_FOR_QUESTIONS)
    return Answer(f"arena-hard/{uid}", fields.text(row, "model"), text, question, _ARENA)


def _arena_v01(row: Row, asked: Asked) -> Answer:
    """The first choice, all of its turns."""
    question_id = fields.name(row, "question_id")
    if not asked:
        raise DataError("the row has no question", remedy=ASK_FOR_QUESTIONS)
    question, choices = _of(question_id, asked), row.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise DataError("'choices' must be a list that begins with an object", remedy="mend the row")
    turns = _turns(choices[0], "assistant")
    if len(turns) != question.turns:
        raise DataError(
            f"question {question_id!r} has {question.turns} turns, and the answer {len(turns)}", remedy="mend the row"
        )
    return Answer(f"arena-hard/{question_id}", fields.label(row, "model_id"), fields.spoken(turns), question, _ARENA)


def _of(question_id: str, asked: Asked) -> Question:
    if question_id not in asked:
        raise DataError(
            f"answers {question_id!r}, which is no question of --questions", remedy="name the questions answered"
        )
    return asked[question_id]


def _turns(row: Row, speaker: str) -> list[tuple[str, str]]:
    """(speaker, text) of each turn: a string, or an object that holds one as `content`."""
    turns = row.get("turns")
    if not isinstance(turns, list) or not turns:
        raise DataError("'turns' must be a list of texts", remedy="mend the row")
    return [(speaker, _said({"turns": turn}, "turns")) for turn in turns]


def _said(row: Row, key: str) -> str:
    """The text at `key`, or at `content` or `answer` within."""
    value = row.get(key)
    if isinstance(value, dict):
        return _said(value, "answer" if "answer" in value else "content")
    return fields.text(row, key)


def _arena_question(row: Row) -> tuple[str, Question]:
    category, sub = fields.text(row, "category"), fields.label(row, "subcategory")
    domain = "/".join(("ArenaHard", category, *([sub] if sub not in ("", category) else [])))
    return fields.name(row, "uid"), Question(fields.text(row, "prompt"), domain)


def _arena_question_v01(row: Row) -> tuple[str, Question]:
    """v0.1 has one category, its own name, and 250 clusters: those are kept as `cluster`."""
    turns, category, cluster = _turns(row, "user"), fields.label(row, "category"), fields.label(row, "cluster")
    domain = "ArenaHard" if category.lower().startswith("arena-hard") or not category else f"ArenaHard/{category}"
    meta = {"cluster": cluster} if cluster else {}
    return fields.name(row, "question_id"), Question(fields.spoken(turns), domain, len(turns), meta)


ANSWERS: dict[str, Callable[[Row, Asked], Answer]] = {
    formats.ALPACA: _alpaca,
    formats.ARENA: _arena,
    formats.ARENA_V01: _arena_v01,
}
QUESTIONS: dict[str, Callable[[Row], tuple[str, Question]]] = {
    formats.ARENA_QUESTIONS: _arena_question,
    formats.ARENA_V01_QUESTIONS: _arena_question_v01,
}
