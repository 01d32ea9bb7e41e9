"""The language of the controlled world: a few hundred sentences that a program can judge, and a small model can learn.

A text is sentences of fixed templates with nouns, adjectives and names in their slots, after a greeting or none.
`read` takes any text apart; what follows no template is malformed.
"""

import random
import re
from typing import NamedTuple

NAMES = tuple("Anna Ben Clara David Emma Felix Grace Hugo Iris Jonas Karin Leo".split())
NOUNS = tuple(
    "boat bread bridge cake castle clock coat door engine field flower forest garden guitar hat horse island kitchen "
    "lamp letter market mirror mountain piano picture river school station table tea train window".split()
)
ADJECTIVES = tuple("old new small quiet warm green slow bright".split())
GREETINGS = ("Dear", "Hello")
PLEASE, THANKS = "Please", "Thank"

STATEMENTS = (
    "The {noun} is near the {noun}.",
    "We found the {adjective} {noun}.",
    "I saw a {noun}.",
    "There is a {noun} by the {noun}.",
    "You can bring the {noun}.",
    "The {adjective} {noun} is ready.",
    "We like the {noun} and the {noun}.",
    "My {noun} is {adjective}.",
)
POLITE = ("Please bring the {noun}.", "Please look at the {adjective} {noun}.")
THANKING = ("Thank you for the {noun}.", "Thank you, {name}.")
QUESTIONS = (
    "Would you like the {noun}?",
    "Can you see the {noun}?",
    "Do you have a {adjective} {noun}?",
    "Shall we visit the {noun}?",
)
FILLERS = ("It is very nice.", "That is what it is.", "This reply is complete.", "All of it is good.")

ORDINALS = tuple(
    "One Two Three Four Five Six Seven Eight Nine Ten Eleven Twelve Thirteen Fourteen Fifteen Sixteen Seventeen "
    "Eighteen Nineteen Twenty Many".split()
)

_SLOTS = {"noun": NOUNS, "adjective": ADJECTIVES, "name": NAMES}
_NOUNS = frozenset(NOUNS)


def _pattern(template: str) -> str:
    return re.sub(r"\\{(\w+)\\}", lambda m: f"(?:{'|'.join(_SLOTS[m[1]])})", re.escape(template))


_WELL_FORMED = re.compile("|".join(map(_pattern, (*STATEMENTS, *POLITE, *THANKING, *QUESTIONS))))
_GREETING = re.compile(rf"\s*({'|'.join(GREETINGS)}) ([A-Z][a-z]+),")
_SENTENCE = re.compile(r"[^.?!]*[.?!]|[^.?!]+")


class Sentence(NamedTuple):
    """`text` as written, without surrounding blanks; `marked`: its nouns and courtesies, in order."""

    text: str
    marked: tuple[str, ...]
    malformed: bool
    filler: bool


class Text(NamedTuple):
    """`greeting`: the word and the name, as written, or None."""

    greeting: tuple[str, str] | None
    sentences: tuple[Sentence, ...]


def read(text: str) -> Text:
    """Take any text apart.

    >>> read("Dear Anna, I saw a boat. See").sentences[1]
    Sentence(text='See', marked=(), malformed=True, filler=False)
    """
    found = _GREETING.match(text)
    rest = text[found.end() :] if found else text
    parts = (part.strip() for part in _SENTENCE.findall(rest))
    return Text((found[1], found[2]) if found else None, tuple(_sentence(part) for part in parts if part))


def numbered(text: Text) -> str:
    """The text with each sentence after its number, so that whoever reads it can say which one is meant.

    >>> numbered(read("Hello Ben, I saw a boat. My hat is new."))
    'Hello Ben, One I saw a boat. Two My hat is new.'
    """
    greeting = [f"{text.greeting[0]} {text.greeting[1]},"] if text.greeting else []
    return " ".join([*greeting, *(f"{ordinal(k)} {s.text}" for k, s in enumerate(text.sentences))])


def ordinal(place: int) -> str:
    """The number of a sentence as it is written; `place` from 0."""
    return ORDINALS[min(place, len(ORDINALS) - 1)]


def is_marked(word: str) -> bool:
    """Whether checks look for this word: a noun or a courtesy."""
    return word in _NOUNS or word in (PLEASE, THANKS)


def _sentence(text: str) -> Sentence:
    filler = text in FILLERS
    marked = tuple(word for word in re.findall(r"[A-Za-z]+", text) if is_marked(word))
    return Sentence(text, marked, not filler and not _WELL_FORMED.fullmatch(text), filler)


def fill(template: str, nouns: list[str], rng: random.Random) -> str:
    """The template with `nouns` in its first noun slots (taken off the list) and drawn words in all others."""

    def word(slot: re.Match[str]) -> str:
        if slot[1] == "noun" and nouns:
            return nouns.pop(0)
        return rng.choice(_SLOTS[slot[1]])

    return re.sub(r"{(\w+)}", word, template)
