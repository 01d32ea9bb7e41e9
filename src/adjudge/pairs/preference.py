"""Preference files: a chosen and a rejected response, as strings or as lists of messages.

The general form is TRL's (`prompt`, `chosen`, `rejected`; a prompt that is not given is what both share at the start).
The three sets that RACER (arXiv 2605.10805) trains its router on are kinds of it with other columns.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from adjudge.errors import DataError
from adjudge.pairs import fields
from adjudge.pairs.fields import SAME, Reading, Row
from adjudge.types import Pair

NO_PROMPT = "chosen and rejected share no prompt"
_TURN = "\n\nAssistant:"


class Message(NamedTuple):
    role: str
    content: str


def preference(row: Row, reading: Reading) -> Iterator[Pair]:
    """One pair of a row with `chosen` and `rejected`, and `prompt` where they do not begin with it."""
    labels = {k: row[k] for k in ("domain", "source") if isinstance(row.get(k), str)}
    return _pairs(row, reading, "preference", labels.get("domain", ""), labels.get("source", ""), tuple(labels))


def skywork(row: Row, reading: Reading) -> Iterator[Pair]:
    """Skywork-Reward-Preference: two conversations and the collection that they come from."""
    domain = f"Skywork/{fields.text(row, 'source')}"
    return _pairs(row, reading, "skywork", domain, "Skywork/Skywork-Reward-Preference-80K", ())


def math_step_dpo(row: Row, reading: Reading) -> Iterator[Pair]:
    """Math-Step-DPO-10K, step against step: both responses are the shared steps and one more, right or wrong."""
    return _math_step(row, reading, "chosen", "rejected")


def math_step_dpo_full(row: Row, reading: Reading) -> Iterator[Pair]:
    """Math-Step-DPO-10K, solution against solution: both go on from the shared steps to an answer."""
    return _math_step(row, reading, "full_chosen", "full_rejected")


def code_preference(row: Row, reading: Reading) -> Iterator[Pair]:
    """Code-Preference-Pairs: a task (`input`), code that is right (`accepted`) and the same with a bug (`rejected`)."""
    prompt, right, wrong = fields.text(row, "input"), fields.text(row, "accepted"), fields.text(row, "rejected")
    if right == wrong:
        reading.left_out[SAME] += 1
        return
    yield fields.drawn(
        fields.content_id("code-preference", prompt, right, wrong),
        right,
        wrong,
        reading.seed,
        prompt=prompt,
        domain="Code-Preference-Pairs",
        source="Vezora/Code-Preference-Pairs",
        meta=fields.rest(row, "input", "accepted", "rejected"),
    )


def _math_step(row: Row, reading: Reading, right_key: str, wrong_key: str) -> Iterator[Pair]:
    prompt, steps = fields.text(row, "prompt"), fields.label(row, "initial_reason_steps")
    right, wrong = (_go_on(steps, fields.text(row, key)) for key in (right_key, wrong_key))
    if right == wrong:
        reading.left_out[SAME] += 1
        return
    yield fields.drawn(
        fields.content_id("math-step-dpo", prompt, right, wrong),
        right,
        wrong,
        reading.seed,
        prompt=prompt,
        domain="Math-Step-DPO",
        source="xinlai/Math-Step-DPO-10K",
        meta=fields.rest(row, "prompt", "initial_reason_steps", right_key, wrong_key),
    )


def _go_on(steps: str, more: str) -> str:
    return more if steps and more.startswith(steps) else steps + more


def _pairs(row: Row, reading: Reading, prefix: str, domain: str, source: str, used: tuple[str, ...]) -> Iterator[Pair]:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, list) and isinstance(rejected, list):
        prompt, right, wrong = _from_messages(
            row.get("prompt"), _messages(chosen, "chosen"), _messages(rejected, "rejected")
        )
    else:
        prompt, right, wrong = _from_strings(row, fields.text(row, "chosen"), fields.text(row, "rejected"))
    reason = SAME if right == wrong else NO_PROMPT if prompt is None else ""
    if reason or prompt is None:
        reading.left_out[reason] += 1
        return
    has_id = row.get("id") is not None
    yield fields.drawn(
        fields.name(row, "id") if has_id else fields.content_id(prefix, prompt, right, wrong),
        right,
        wrong,
        reading.seed,
        prompt=prompt,
        domain=domain,
        source=source,
        rubric=fields.maybe_text(row, "rubric"),
        meta=fields.rest(row, "id", "prompt", "chosen", "rejected", "rubric", *used),
    )


def _from_strings(row: Row, right: str, wrong: str) -> tuple[str | None, str, str]:
    """(prompt, chosen, rejected); a prompt that is not given is what both begin with, up to a turn or a whole word."""
    given = row.get("prompt")
    if given is not None:
        return fields.spoken(_as_messages(given)), right, wrong
    end = next((i for i, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b), min(len(right), len(wrong)))
    turn = right.rfind(_TURN, 0, end)
    word = 1 + max(right.rfind(" ", 0, end), right.rfind("\n", 0, end))
    asked, cut = (turn, turn + len(_TURN)) if turn >= 0 else (word, word)
    return (right[:asked].strip() or None), right[cut:].strip(), wrong[cut:].strip()


def _from_messages(prompt: Any, right: list[Message], wrong: list[Message]) -> tuple[str | None, str, str]:
    """(prompt, chosen, rejected) as text; what both begin with belongs to the prompt, whether or not one is given."""
    shared = 0
    while shared < min(len(right), len(wrong)) and right[shared] == wrong[shared]:
        shared += 1
    asked = [] if prompt is None else _as_messages(prompt)
    begin = right[:shared]
    repeated = begin[: len(asked)] == asked or begin[-len(asked) :] == asked
    whole = begin if repeated else asked + begin
    return (fields.spoken(whole) if whole else None), fields.spoken(right[shared:]), fields.spoken(wrong[shared:])


def _as_messages(value: Any) -> list[Message]:
    if isinstance(value, str):
        return [Message("user", fields.checked_text(value, "prompt"))]
    return _messages(value, "prompt")


def _messages(value: Any, key: str) -> list[Message]:
    if not isinstance(value, list) or not all(isinstance(m, dict) for m in value):
        raise DataError(
            f"{key!r} must be a string or a list of messages, not {fields.kind(value)}", remedy="mend the row"
        )
    return [Message(fields.text(m, "role"), _content(m)) for m in value]


def _content(message: Row) -> str:
    """A message's text: a string, or the text parts of a list."""
    content = message.get("content")
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        return "".join(fields.text(p, "text") for p in content)
    return fields.text(message, "content")
