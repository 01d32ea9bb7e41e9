"""Prompt templates: the built-in ones beside this file, and those that arms name.

A template is Jinja, run in a sandbox; a name that it does not know is an error. `{{ turn }}` parts the system text,
which stands first and is the same for every pair (so that servers can keep it in their prefix cache), from the user's
text; without it everything is the user's. A template may start from a built-in one: `{% extends "pairwise.jinja" %}`.

What a template is given (texts are already fenced and defused; it cannot forget to):

    turn                        where the user's text begins
    mode                        "instruct" or "reasoning"
    code                        "" or a code that the verdict must carry (see fencing.py); `marks` already carry it
    marks                       the answers asked for: ("[[A]]", "[[B]]", "[[C]]"), ("[[n]]",), ("[[yes]]", "[[no]]")
    prompt                      the prompt; all there is for a rubric arm
    rubric                      the rubric, "" without one                  pairwise, pairwise5, pointwise
    response_a, response_b      in the order shown                          pairwise, pairwise5
    response, low, high         one response and the ends of the scale      pointwise
    responses                   all of them                                 self-routing
"""

import functools
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adjudge.config import BUILTIN_PROMPT, Arm, Protocol, Settings
from adjudge.errors import ConfigError
from adjudge.types import Message

_BUILTIN: dict[Protocol | str, str] = {
    "pairwise": "pairwise.jinja",
    "pairwise5": "pairwise5.jinja",
    "pointwise": "pointwise.jinja",
    "rubric": "rubric.jinja",
    "self-routing": "need.jinja",
    "repair": "repair.jinja",
}
_TURN = f"\x00turn {secrets.token_hex(8)}\x00"  # no text can hold it: it is drawn after they were written
_PLACE = f"\x00place {secrets.token_hex(8)}\x00"


def messages(arm: Arm, settings: Settings, words: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[Message, ...]:
    """The messages of an arm's prompt. Raises ConfigError (arm, file, line) where the template fails.

    `texts`: what of the list above is a text of the pair, fenced, "" where there is none; `words`: the rest.
    """
    if arm.prompt == BUILTIN_PROMPT:
        return _filled(_BUILTIN[arm.protocol], words, texts)
    where = f"arms.{arm.name}: prompt {arm.prompt!r}"
    if arm.prompt not in settings.texts:
        raise ConfigError(f"{where} was not loaded; load the arms with config.load")
    try:
        text = _render(_custom(settings.texts[arm.prompt]), {**words, **texts})
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"{where}, line {error.lineno}: {error.message}") from None
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        names = ", ".join(sorted({**words, **texts}))
        raise ConfigError(f"{where}: {error}; a prompt of this protocol is given: {names}") from None
    return _parted(text)


def repair_message(variables: dict[str, Any]) -> Message:
    """What is said to a judge whose answer could not be read."""
    return Message("user", _render(_builtin(_BUILTIN["repair"]), variables).strip())


def _parted(text: str) -> tuple[Message, ...]:
    before, turn, after = (part.strip() for part in text.partition(_TURN))
    asked = (Message("user", after if turn else before),)
    return (Message("system", before), *asked) if turn and before else asked


def _filled(name: str, words: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[Message, ...]:
    """A built-in prompt: all it does with a pair's texts is place them, so one rendering serves all pairs."""
    if words["code"] or "responses" in words:
        return _parted(_render(_builtin(name), {**words, **texts}))
    frame = _frame(name, tuple(texts), tuple(map(bool, texts.values())), tuple(words.items()))
    pieces = frame.pieces.copy()
    pieces[1::2] = map(texts.__getitem__, frame.places)
    return (*frame.system, Message("user", "".join(pieces)))


class _Frame(NamedTuple):
    """A built-in prompt without its texts: `pieces` of the user's message are words, a place, words, ..., words, and
    `places` are the texts that go there."""

    system: tuple[Message, ...]
    pieces: list[str]
    places: list[str]


@functools.lru_cache(maxsize=256)
def _frame(name: str, texts: tuple[str, ...], shown: tuple[bool, ...], words: tuple[tuple[str, Any], ...]) -> _Frame:
    """`shown`: which of the texts are not empty; a prompt may say something else where one is."""
    marked = {key: f"{_PLACE}{key}{_PLACE}" if there else "" for key, there in zip(texts, shown, strict=True)}
    *system, asked = _parted(_render(_builtin(name), {**dict(words), **marked}))
    assert not any(_PLACE in message.content for message in system)
    pieces = asked.content.split(_PLACE)
    return _Frame(tuple(system), pieces, pieces[1::2])


def _render(template: jinja2.Template, variables: Mapping[str, Any]) -> str:
    # As Template.render does it, without copying the environment's globals for every prompt.
    context = template.new_context({**_environment().globals, **variables, "turn": _TURN}, shared=True)
    return "".join(template.root_render_func(context))


@functools.cache
def _environment() -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(
        loader=jinja2.PackageLoader("adjudge.judging", "prompts"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # what is made is plain text for a model, no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


@functools.cache
def _builtin(name: str) -> jinja2.Template:
    return _environment().get_template(name)


@functools.lru_cache(maxsize=64)
def _custom(source: str) -> jinja2.Template:
    return _environment().from_string(source)
