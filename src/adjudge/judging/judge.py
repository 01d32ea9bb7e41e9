"""One pair, one arm: what to ask, in which steps, and the judgment over the answers. No I/O, no clock.

    driver:  asks = next(judge(...))  ->  send them, all at once  ->  judge.send(replies)  ->  ...  ->  Judgment

Steps: (1) a rubric, where the arm has it written; (2) for a self-routing arm, whether reasoning is needed; (3) every
order and sample, or every response and sample, in one batch; (4) one repair for each answer that could not be read.
Each step is a batch of independent questions. A step that is not needed is not taken; a pair that cannot be judged by
the arm is `failed` before anything is bought.
"""

from collections.abc import Generator, Sequence

import msgspec

from adjudge.config import Arm, Settings
from adjudge.errors import ConfigError
from adjudge.judging import fencing, protocol, settle
from adjudge.judging.protocol import Mark, Question
from adjudge.judging.reading import Reading, read_need, read_recorded_scores, read_rubric
from adjudge.judging.settle import Draw
from adjudge.types import Ask, Call, Judgment, Outcome, Pair, Reply

Judging = Generator[tuple[Ask, ...], tuple[Reply, ...], Judgment]


def judge(pair: Pair, arm: Arm, settings: Settings, *, mark: Mark = fencing.nonce) -> Judging:
    """Yields batches of independent Asks, takes their Replies in the same order, returns the Judgment.

    A server of kind `replay` is asked one bare `verdict` question per order, whatever the protocol: it answers with
    what was recorded, and needs no texts. Raises ConfigError for an arm that only writes rubrics, and for a prompt file
    that fails (`protocol.check_prompts` finds that beforehand).

    >>> from adjudge.config import Server
    >>> from adjudge.types import Usage
    >>> arm = Arm(name="plain", server="s", model="m", orders="ab")
    >>> settings = Settings(evaluator="m", servers={"s": Server()}, arms={"plain": arm})
    >>> judging = judge(Pair(id="1", prompt="2 + 2?", response_a="4", response_b="5"), arm, settings)
    >>> [ask] = next(judging)
    >>> try:
    ...     judging.send((Reply(text="[[A]]", usage=Usage(90, 3)),))
    ... except StopIteration as done:
    ...     print(done.value.outcome, done.value.output_tokens)
    A 3
    """
    if arm.protocol == "rubric":
        raise ConfigError(f"arms.{arm.name} writes rubrics and judges nothing; name another arm")
    if settings.servers[arm.server].kind == "replay":
        return (yield from _replayed(pair, arm.name, arm, settings, ()))
    candidates = [settings.arms[name] for name in arm.choices] if arm.choices else [arm]
    for candidate in candidates:
        if problem := _problem(pair, candidate):
            return settle.unjudged(arm.name, settle.orders_of(candidate), Outcome.FAILED, problem)
    before: list[Call] = []
    chosen = arm
    if arm.choices:
        question = protocol.need_question(pair, arm, settings, protocol.material(pair), mark)
        (reply,) = yield (question.ask,)
        reading = read_need(reply, judged=question.foreign)
        before.append(_call(question.ask, reply, reading, settings))
        # An answer that cannot be read buys the reasoning: the dearer verdict is never the worse mistake here.
        chosen = candidates[0] if reading.value == 0 else candidates[1]
    if settings.servers[chosen.server].kind == "replay":
        return (yield from _replayed(pair, arm.name, chosen, settings, before))
    rubric, trusted = _given_rubric(pair, chosen, settings)
    if not rubric and chosen.rubric.startswith("arm:"):
        ask = protocol.rubric_ask(pair, settings.arms[chosen.rubric[4:]], settings, mark)
        (reply,) = yield (ask,)
        lacking, rubric = read_rubric(reply)
        before.append(_call(ask, reply, Reading(lacking), settings))
        if lacking is not None:
            error = reply.error or f"the rubric of arm {ask.arm!r} is {lacking}"
            return settle.unjudged(arm.name, settle.orders_of(chosen), lacking, error, before)
    shown = protocol.material(pair, rubric, trusted_rubric=trusted)
    if chosen.protocol == "pointwise":
        draws = yield from _draws(protocol.score_questions(pair, chosen, settings, shown, mark), chosen, settings)
        return settle.pointwise(arm.name, pair, draws, before)
    questions = protocol.verdict_questions(pair, chosen, settings, shown, settle.orders_of(chosen), mark)
    draws = yield from _draws(questions, chosen, settings)
    return settle.pairwise(arm.name, draws, before)


def _draws(
    questions: Sequence[Question], arm: Arm, settings: Settings
) -> Generator[tuple[Ask, ...], tuple[Reply, ...], list[Draw]]:
    """Ask all questions at once, then once more those whose answers could not be read."""
    replies = yield tuple(question.ask for question in questions)
    assert len(replies) == len(questions)
    calls = [
        _call(question.ask, reply, protocol.read(question, reply, arm), settings)
        for question, reply in zip(questions, replies, strict=True)
    ]
    repairs: dict[int, Question] = {}
    if arm.repair:
        for i, call in enumerate(calls):
            if call.outcome is Outcome.UNREAD:
                repairs[i] = protocol.repair_question(questions[i], replies[i], arm)
    if not repairs:
        return [Draw(call) for call in calls]
    second = yield tuple(question.ask for question in repairs.values())
    assert len(second) == len(repairs)
    repaired = {
        i: _call(question.ask, reply, protocol.read(question, reply, arm), settings)
        for (i, question), reply in zip(repairs.items(), second, strict=True)
    }
    return [Draw(call, repaired.get(i)) for i, call in enumerate(calls)]


def _replayed(pair: Pair, name: str, arm: Arm, settings: Settings, before: Sequence[Call]) -> Judging:
    asks = tuple(
        Ask(pair_id=pair.id, arm=arm.name, kind="verdict", messages=(), body={}, order=order)
        for order in settle.orders_of(arm)
    )
    replies = yield asks
    draws = [
        Draw(_call(ask, reply, protocol.read(Question(ask, fencing.foreign_labels(pair.texts)), reply, arm), settings))
        for ask, reply in zip(asks, replies, strict=True)
    ]
    judgment = settle.pairwise(name, draws, before)
    scores = read_recorded_scores(judgment.completion_ab or "")
    return judgment if scores is None else msgspec.structs.replace(judgment, scores=scores)


def _call(ask: Ask, reply: Reply, reading: Reading, settings: Settings) -> Call:
    return settle.call_of(ask, reply, reading, settings.arms[ask.arm].price)


def _given_rubric(pair: Pair, arm: Arm, settings: Settings) -> tuple[str, bool]:
    """(the rubric that is at hand, "" for none; whether it comes from the arm's own file)."""
    if not arm.rubric:
        return "", False
    if arm.rubric == "item" or arm.rubric.startswith("arm:"):
        return pair.rubric or "", False
    return settings.texts[arm.rubric], True


def _problem(pair: Pair, arm: Arm) -> str | None:
    """Why this arm cannot judge this pair, None if it can."""
    if pair.prompt is None or not pair.texts:
        return "the pair has no texts to judge; give prompt and responses, or replay recorded judgments"
    if arm.rubric == "item" and not pair.rubric:
        return f"arm {arm.name!r} judges by the pair's own rubric and the pair has none; give `rubric`, or use arm:NAME"
    if pair.responses is None:
        return None
    if arm.protocol != "pointwise":
        return (
            f"arm {arm.name!r} compares two responses and this is a best-of-{len(pair.responses)} instance; "
            "use a pointwise arm, or read the file as pairs (--as-pairs)"
        )
    if pair.gold is None:  # a lone response may be rated; files of pairs hold none (pairs/own.py)
        return "a best-of-n instance needs a gold side"
    if not isinstance(pair.gold_index, int) or not 0 <= pair.gold_index < len(pair.responses):
        return (
            "the right response of this best-of-n instance is not known, so its sides A and B have no meaning; "
            "give gold_index"
        )
    return None
