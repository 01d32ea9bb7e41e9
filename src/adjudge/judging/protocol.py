"""Pair + arm -> the questions to ask, each with what is needed to read its answer.

The texts of a pair are made safe once (`Material`), then written into the arm's template (templates.py) once per
presentation order or response; the draws of one prompt share its messages, so a server may keep them in its cache.

Protocols: `pairwise` ([[A]], [[B]], [[C]] a tie), `pairwise5` ([[A>>B]] to [[B>>A]]), `pointwise` (one response at a
time, a whole number on the arm's scale), and what is no verdict: `self-routing` ([[yes]] or [[no]]) and `rubric`.
"""

import functools
from collections.abc import Callable
from typing import Any

import msgspec

from adjudge.config import Arm, Sampling, Settings
from adjudge.errors import ConfigError
from adjudge.judging import templates
from adjudge.judging.fencing import defused, fence, foreign_labels, fresh, harmless
from adjudge.judging.reading import (
    VERDICTS,
    Reading,
    VerdictProtocol,
    answer_alone,
    read_score,
    read_verdict,
    split_reasoning,
)
from adjudge.types import Ask, Message, Order, Pair, Reply

Mark = Callable[[], str]
NEED_MARKS = ("[[yes]]", "[[no]]")
_SERVERS_OWN = Sampling()
NO_WORDS = "(no answer)"  # stands for an empty answer in the conversation: servers refuse an empty message


class Material(msgspec.Struct, gc=False, frozen=True):
    """The texts of one pair, defused. `foreign` are the verdict labels that they name, `lowered` is all that was given,
    as it came but in small letters."""

    prompt: str
    responses: tuple[str, ...]
    rubric: str
    foreign: frozenset[str]
    lowered: str


class Question(msgspec.Struct, gc=False, frozen=True):
    """An Ask, and what its answer is read by."""

    ask: Ask
    foreign: frozenset[str]
    code: str = ""


def material(pair: Pair, rubric: str = "", *, trusted_rubric: bool = False) -> Material:
    """A pair's texts made safe to show. A trusted rubric comes from the arm's own file and is shown as it is."""
    responses = pair.texts
    if pair.prompt is None or not responses:
        raise ValueError(f"pair {pair.id!r} has no texts")
    judged = (pair.prompt, *responses) if trusted_rubric else (pair.prompt, *responses, rubric)
    whole = "\n".join((*judged, rubric))
    safe = judged if harmless(whole) else tuple([defused(text) for text in judged])
    return Material(
        prompt=safe[0],
        responses=safe[1 : len(responses) + 1],
        rubric=rubric if trusted_rubric else safe[-1],
        foreign=foreign_labels(judged),
        lowered=whole.lower(),
    )


def verdict_questions(
    pair: Pair, arm: Arm, settings: Settings, shown: Material, orders: tuple[Order, ...], mark: Mark
) -> tuple[Question, ...]:
    """Every order and sample of a pairwise arm: all samples of the first order, then of the second."""
    labels = VERDICTS[_pairwise(arm)]
    plain = _marks(tuple(labels), "")
    questions: list[Question] = []
    for order in orders:
        nonce = fresh(mark, shown.lowered)
        code = nonce if arm.mode == "reasoning" and shown.foreign.intersection(labels) else ""
        first, second = shown.responses if order == "ab" else shown.responses[::-1]
        words = {"mode": arm.mode, "code": code, "marks": _marks(tuple(labels), code) if code else plain}
        texts = {
            "prompt": _shown(arm, "PROMPT", shown.prompt, nonce),
            "rubric": _shown(arm, "RUBRIC", shown.rubric, nonce) if shown.rubric else "",
            "response_a": _shown(arm, "RESPONSE A", first, nonce),
            "response_b": _shown(arm, "RESPONSE B", second, nonce),
        }
        ask = Ask(
            pair_id=pair.id,
            arm=arm.name,
            kind="verdict",
            messages=templates.messages(arm, settings, words, texts),
            body={},
            order=order,
            choices=plain if arm.mode == "instruct" else (),
        )
        questions += _draws(ask, arm, shown, code)
    return tuple(questions)


def score_questions(pair: Pair, arm: Arm, settings: Settings, shown: Material, mark: Mark) -> tuple[Question, ...]:
    """Every response and sample of a pointwise arm: all samples of the first response, then of the next."""
    labels = _scores(arm)
    low, high = arm.scale
    questions: list[Question] = []
    for index, response in enumerate(shown.responses):
        nonce = fresh(mark, shown.lowered)
        code = nonce if arm.mode == "reasoning" and shown.foreign.intersection(labels) else ""
        words = {"mode": arm.mode, "code": code, "marks": _marks(("n",), code), "low": low, "high": high}
        texts = {
            "prompt": _shown(arm, "PROMPT", shown.prompt, nonce),
            "rubric": _shown(arm, "RUBRIC", shown.rubric, nonce) if shown.rubric else "",
            "response": _shown(arm, "RESPONSE", response, nonce),
        }
        ask = Ask(
            pair_id=pair.id,
            arm=arm.name,
            kind="score",
            messages=templates.messages(arm, settings, words, texts),
            body={},
            response_index=index,
            choices=labels if arm.mode == "instruct" else (),
        )
        questions += _draws(ask, arm, shown, code)
    return tuple(questions)


def need_question(pair: Pair, arm: Arm, settings: Settings, shown: Material, mark: Mark) -> Question:
    """The self-routing question: do these responses need step-by-step reasoning?"""
    nonce = fresh(mark, shown.lowered)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    responses = tuple(
        _shown(arm, f"RESPONSE {letters[i] if i < len(letters) else i + 1}", response, nonce)
        for i, response in enumerate(shown.responses)
    )
    words = {"mode": arm.mode, "code": "", "marks": NEED_MARKS, "responses": responses}
    texts = {"prompt": _shown(arm, "PROMPT", shown.prompt, nonce)}
    ask = Ask(
        pair_id=pair.id,
        arm=arm.name,
        kind="need",
        messages=templates.messages(arm, settings, words, texts),
        body=body(arm, 0),
        choices=NEED_MARKS if arm.mode == "instruct" else (),
    )
    return Question(ask, shown.foreign)


def rubric_ask(pair: Pair, writer: Arm, settings: Settings, mark: Mark) -> Ask:
    """Have a rubric arm write a rubric for the pair's prompt; it does not see the responses."""
    prompt = pair.prompt or ""
    words = {"mode": writer.mode, "code": "", "marks": ()}
    texts = {"prompt": _shown(writer, "PROMPT", defused(prompt), fresh(mark, prompt.lower()))}
    said = templates.messages(writer, settings, words, texts)
    return Ask(pair_id=pair.id, arm=writer.name, kind="rubric", messages=said, body=body(writer, 0))


def repair_question(question: Question, reply: Reply, arm: Arm) -> Question:
    """The conversation so far, and a request for the verdict alone; plain marks, since only a bare answer is wanted."""
    ask = question.ask
    split = split_reasoning(reply.text)
    said = defused(reply.text[split.start : split.end]).strip() or NO_WORDS
    if ask.kind == "score":
        request = templates.repair_message({"marks": (), "low": arm.scale[0], "high": arm.scale[1]})
        choices = _scores(arm)
    else:
        choices = _marks(tuple(VERDICTS[_pairwise(arm)]), "")
        request = templates.repair_message({"marks": choices})
    again = Ask(
        pair_id=ask.pair_id,
        arm=ask.arm,
        kind="repair",
        messages=(*ask.messages, Message("assistant", said), request),
        body=body(arm, ask.sample, thinking=False),
        order=ask.order,
        response_index=ask.response_index,
        sample=ask.sample,
        choices=choices,
    )
    return Question(again, question.foreign, question.code)


def read(question: Question, reply: Reply, arm: Arm) -> Reading:
    """The answer to a verdict or score question, or to its repair."""
    ask = question.ask
    reply = answer_alone(reply, arm.answer_after) if ask.kind != "repair" else reply
    if arm.protocol == "pointwise" and ask.response_index is not None:
        mode = "instruct" if ask.kind == "repair" else arm.mode
        return read_score(reply, judged=question.foreign, scale=arm.scale, mode=mode, code=question.code)
    order: Order = ask.order or "ab"
    return read_verdict(reply, judged=question.foreign, protocol=_pairwise(arm), order=order, code=question.code)


def body(arm: Arm, sample: int, *, thinking: bool = True) -> dict[str, Any]:
    """The request fields beside the messages; `extra` is merged in last, its tables field by field.

    thinking=False turns reasoning off for this request where the arm's switch is sure to (`template`); an effort is
    left alone, since many models that have one cannot be switched off.

    >>> body(Arm(model="m", mode="instruct", switch="template", max_tokens=5, extra={"n": 1}), 0)
    {'model': 'm', 'max_tokens': 5, 'chat_template_kwargs': {'enable_thinking': False}, 'n': 1}
    """
    fields: dict[str, Any] = {"model": arm.model} if arm.model else {}
    if arm.sampling != _SERVERS_OWN:
        fields |= {name: value for name, value in msgspec.structs.asdict(arm.sampling).items() if value is not None}
        if arm.sampling.seed is not None:
            fields["seed"] = arm.sampling.seed + sample
    if arm.max_tokens:
        fields["max_tokens"] = arm.max_tokens
    switch = arm.switch or ("effort" if arm.effort else "prompt")
    if switch == "effort":
        if effort := "none" if arm.mode == "instruct" else arm.effort:
            fields["reasoning_effort"] = effort
    elif switch == "template":
        fields["chat_template_kwargs"] = {"enable_thinking": arm.mode == "reasoning" and thinking}
    if arm.logprobs:
        fields |= {"logprobs": True, "top_logprobs": 20}
    for name, value in arm.extra.items():
        both = isinstance(value, dict) and isinstance(fields.get(name), dict)
        fields[name] = {**fields[name], **value} if both else value
    return fields


def check_prompts(settings: Settings) -> None:
    """Try every arm's prompt. Raises ConfigError where one fails, or does not show what is to be judged."""
    prompt, one, other, rubric = ("sample " + text for text in ("7c19 prompt", "e04b", "52da", "a8f6 rubric"))
    pair = Pair(id="check", prompt=prompt, response_a=one, response_b=other)

    def mark() -> str:
        return "7f3ac1"

    for arm in settings.arms.values():
        shown = material(pair, rubric if arm.rubric else "")
        needed = {"prompt": prompt} | ({"rubric": rubric} if arm.rubric else {})
        if arm.protocol == "rubric":
            said = rubric_ask(pair, arm, settings, mark).messages
        elif arm.protocol == "self-routing":
            said = need_question(pair, arm, settings, shown, mark).ask.messages
        elif arm.protocol == "pointwise":
            said = score_questions(pair, arm, settings, shown, mark)[0].ask.messages
            needed["response"] = one
        else:
            said = verdict_questions(pair, arm, settings, shown, ("ab",), mark)[0].ask.messages
            needed |= {"response_a": one, "response_b": other}
        text = "\n".join(message.content for message in said)
        for name, what in needed.items():
            if what not in text:
                raise ConfigError(f"arms.{arm.name}: prompt {arm.prompt!r} never shows {{{{ {name} }}}}; add it")


def _shown(arm: Arm, title: str, text: str, nonce: str) -> str:
    return fence(title, text, nonce) if arm.fences else text


def _draws(ask: Ask, arm: Arm, shown: Material, code: str) -> list[Question]:
    return [
        Question(msgspec.structs.replace(ask, sample=sample, body=body(arm, sample)), shown.foreign, code)
        for sample in range(arm.samples)
    ]


def _pairwise(arm: Arm) -> VerdictProtocol:
    return "pairwise5" if arm.protocol == "pairwise5" else "pairwise"


def _scores(arm: Arm) -> tuple[str, ...]:
    return tuple(str(score) for score in range(arm.scale[0], arm.scale[1] + 1))


@functools.lru_cache(maxsize=64)
def _marks(labels: tuple[str, ...], code: str) -> tuple[str, ...]:
    return tuple(f"[[{label} {code}]]" if code else f"[[{label}]]" for label in labels)
