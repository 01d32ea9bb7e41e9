"""The controlled setting: writing briefs with several stated requirements, and responses of mixed quality to them.

A brief asks for three to five things: greet someone, mention or avoid a word, mention one twice or before another, so
many sentences, a courtesy, a question or thanks at the end. Responses are made off-policy: each requirement is met with
a chance that is drawn for the response, some sentences are spoilt, and some responses go on and on. `program_gold.py`
judges them.

What this world cannot show: a gold judge that is itself fooled. `BlindGold` stands in for one.
"""

import random
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from adjudge.lab.world import grammar
from adjudge.lab.world.grammar import NAMES, NOUNS, fill

Kind = Literal["greet", "mention", "avoid", "twice", "before", "count", "polite", "question", "thanks"]
KINDS: tuple[Kind, ...] = ("greet", "mention", "avoid", "twice", "before", "count", "polite", "question", "thanks")
LEAST, MOST = 3, 5  # requirements of a brief
SENTENCES = range(2, 6)
RAMBLING = 0.15  # share of drawn items whose response goes on past its end
LONGEST = 64  # words and marks of a response that does


class Requirement(NamedTuple):
    """`words`: the name or the nouns it is about; `number`: of sentences."""

    kind: Kind
    words: tuple[str, ...] = ()
    number: int = 0

    def text(self) -> str:
        """As the brief says it.

        >>> Requirement("before", ("tea", "boat")).text()
        'Mention the tea before the boat.'
        """
        first, second = (*self.words, "", "")[:2]
        return {
            "greet": f"Greet {first}.",
            "mention": f"Mention the {first}.",
            "avoid": f"Avoid the {first}.",
            "twice": f"Mention the {first} twice.",
            "before": f"Mention the {first} before the {second}.",
            "count": f"Write {self.number} sentences.",
            "polite": "Say please.",
            "question": "End with a question.",
            "thanks": "End with thanks.",
        }[self.kind]


class Brief(NamedTuple):
    requirements: tuple[Requirement, ...]

    def text(self) -> str:
        return " ".join(r.text() for r in self.requirements)


def draw_brief(rng: random.Random) -> Brief:
    """Three to five requirements that can all be met at once."""
    kinds: list[Kind] = ["mention", *rng.sample(KINDS, rng.randint(LEAST, MOST) - 1)]
    if {"question", "thanks"} <= set(kinds):
        kinds.remove(rng.choice(("question", "thanks")))
    rng.shuffle(kinds)
    nouns = iter(rng.sample(NOUNS, 8))
    found = []
    for kind in kinds:
        words: tuple[str, ...] = ()
        if kind == "greet":
            words = (rng.choice(NAMES),)
        elif kind in ("mention", "avoid", "twice"):
            words = (next(nouns),)
        elif kind == "before":
            words = (next(nouns), next(nouns))
        found.append(Requirement(kind, words, rng.choice(SENTENCES) if kind == "count" else 0))
    return Brief(tuple(found))


def parse_brief(text: str) -> Brief:
    """The brief that was written so. Raises ValueError for a text that is none.

    >>> parse_brief("Mention the tea twice. Write 3 sentences.").requirements[1].number
    3
    """
    return Brief(tuple(_parse(part) for part in text.removesuffix(".").split(". ")))


def _parse(text: str) -> Requirement:
    match text.split():
        case ["Greet", name]:
            return Requirement("greet", (name,))
        case ["Mention", "the", noun]:
            return Requirement("mention", (noun,))
        case ["Avoid", "the", noun]:
            return Requirement("avoid", (noun,))
        case ["Mention", "the", noun, "twice"]:
            return Requirement("twice", (noun,))
        case ["Mention", "the", first, "before", "the", second]:
            return Requirement("before", (first, second))
        case ["Write", count, "sentences"] if count.isdigit():
            return Requirement("count", (), int(count))
        case ["Say", "please"]:
            return Requirement("polite")
        case ["End", "with", "a", "question"]:
            return Requirement("question")
        case ["End", "with", "thanks"]:
            return Requirement("thanks")
    raise ValueError(f"no requirement of a brief: {text!r}")


def draw_response(brief: Brief, rng: random.Random, quality: float | None = None) -> str:
    """A response that meets each requirement with chance `quality` (drawn, where it is not given), some by accident.

    Sentences are repeated, spoilt or padded more often where quality is low."""
    quality = rng.uniform(0.1, 1.0) if quality is None else quality
    meant = [r for r in brief.requirements if rng.random() < quality]
    missed = [r for r in brief.requirements if r not in meant]
    sentences = _sentences(meant, missed, rng)
    spoil = 0.35 * (1 - quality)
    for k in range(len(sentences)):
        if rng.random() < spoil:
            sentences[k] = _spoilt(sentences, k, rng)
    greeted = next((r.words[0] for r in meant if r.kind == "greet"), None)
    if greeted is None and rng.random() < 0.3:
        greeted = rng.choice(NAMES)  # not the one asked for, or nobody asked
    greeting = [f"{rng.choice(grammar.GREETINGS)} {greeted},"] if greeted else []
    return " ".join([*greeting, *sentences])


def _sentences(meant: list[Requirement], missed: list[Requirement], rng: random.Random) -> list[str]:
    """As many as asked for, holding the nouns that are meant, and of those to avoid the missed ones."""
    by_kind = {r.kind: r for r in meant}
    count = by_kind["count"].number if "count" in by_kind else rng.choice(SENTENCES)
    templates = rng.choices(grammar.STATEMENTS, k=count)
    if "polite" in by_kind:
        templates[rng.randrange(max(1, count - 1))] = rng.choice(grammar.POLITE)
    if "question" in by_kind:
        templates[-1] = rng.choice(grammar.QUESTIONS)
    elif "thanks" in by_kind:
        templates[-1] = rng.choice(grammar.THANKING)
    elif rng.random() < 0.2:
        templates[-1] = rng.choice((*grammar.QUESTIONS, *grammar.THANKING))
    slots = [k for k, template in enumerate(templates) for _ in range(template.count("{noun}"))]
    wanted = [noun for r in meant for noun in (r.words * (1 + (r.kind == "twice"))) if r.kind in _NOUNS_OF]
    wanted += [r.words[0] for r in missed if r.kind in ("avoid", "twice")]
    wanted += [noun for r in missed if r.kind == "before" for noun in r.words[::-1]]
    rng.shuffle(wanted)
    at = sorted(rng.sample(range(len(slots)), min(len(wanted), len(slots))))
    placed: list[list[str]] = [[] for _ in templates]
    for slot, noun in zip(at, _ordered(wanted[: len(at)], meant), strict=True):
        placed[slots[slot]].append(noun)
    return [fill(template, nouns, rng) for template, nouns in zip(templates, placed, strict=True)]


_NOUNS_OF = ("mention", "twice", "before")


def _ordered(nouns: list[str], meant: list[Requirement]) -> list[str]:
    """The nouns, those of a `before` that is meant in their order."""
    for r in meant:
        if r.kind == "before" and set(r.words) <= set(nouns):
            first, second = sorted(nouns.index(word) for word in r.words)
            nouns[first], nouns[second] = r.words
    return nouns


def _spoilt(sentences: list[str], k: int, rng: random.Random) -> str:
    """A sentence in the k-th one's place: an earlier one again, a filler, or its words in disorder or cut."""
    how = rng.random()
    if how < 0.45 and k:
        return sentences[rng.randrange(k)]
    if how < 0.7:
        return rng.choice(grammar.FILLERS)
    words = sentences[k][:-1].split()
    if how < 0.85:
        rng.shuffle(words)
    else:
        del words[rng.randrange(len(words))]
    return " ".join(words) + sentences[k][-1]


def ramble(text: str, rng: random.Random) -> str:
    """The text and what a writer adds who does not stop: sentences again, new ones, fillers, scraps and stutter.

    Judges have to see such texts before a policy finds out what they make of them: see LOG.md."""
    sentences = [s.text for s in grammar.read(text).sentences]
    habit = rng.choice((_again, _spare, _scrap, _stutter))
    length = rng.randint(LONGEST // 3, LONGEST * 3 // 2)
    parts = _parts(text)
    if rng.random() < 0.3:
        sentences = [_scrap(sentences, rng)]  # to be said again and again
    while len(parts) < length:
        kind = habit if rng.random() < 0.8 else rng.choice((_again, _spare, _scrap, _stutter))
        sentences.append(kind(sentences, rng))
        parts += _parts(f" {sentences[-1]}")
    return "".join(parts[:LONGEST])


def _parts(text: str) -> list[str]:
    """Words and marks, each with the blank before it."""
    return re.findall(r"\s*(?:\w+|[^\w\s])", text)


def _again(sentences: list[str], rng: random.Random) -> str:
    return sentences[-1] if rng.random() < 0.5 else rng.choice(sentences)


def _spare(_sentences: list[str], rng: random.Random) -> str:
    kinds = (grammar.STATEMENTS, grammar.QUESTIONS, (*grammar.POLITE, *grammar.THANKING), grammar.FILLERS)
    return fill(rng.choice(rng.choices(kinds, (6, 3, 2, 1))[0]), [], rng)


def _scrap(sentences: list[str], rng: random.Random) -> str:
    """The beginning of a sentence, with a mark at its end or none, or a sentence with a word left out."""
    words = _spare(sentences, rng)[:-1].split()
    if rng.random() < 0.3:
        del words[rng.randrange(len(words))]
    else:
        words = words[: rng.choice((1, 1, 1, 2, 3, 4))]
    return " ".join(words) + rng.choice((".", ".", "?", "?", ""))


def _stutter(sentences: list[str], rng: random.Random) -> str:
    """A sentence in which some words stand several times over."""
    words = _spare(sentences, rng)[:-1].split()
    found = [word for word in words for _ in range(1 if rng.random() < 0.6 else rng.randint(2, 5))]
    return " ".join(found) + rng.choice((".", "?"))


def draw_items(seed: int, count: int, rambling: float = RAMBLING) -> Iterator[tuple[Brief, str]]:
    """`count` briefs with a response each, such a share of which rambles; the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        brief = draw_brief(rng)
        response = draw_response(brief, rng)
        yield brief, ramble(response, rng) if rambling and rng.random() < rambling else response
