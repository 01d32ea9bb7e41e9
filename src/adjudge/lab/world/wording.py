"""The plain texts that the small models of the controlled world read and write, one form for each task.

    Brief: Mention the tea. Write 2 sentences.
    Response: One I saw a tea. Two My hat is new.
    Reason: One I saw a tea One . fine 0 Two My hat Two is new . fine 0 | mention tea One yes 1 | ... | 2 of 2 less 0
    Score: 9

Judges read a response with its sentences numbered, whatever their mode: a small model can then say which one it means.

A judge is asked by the word that ends its prompt: `Score` for the score at once, one of the efforts for a trace first.
"""

import random
from typing import Literal

from adjudge.lab.scoring import TOP
from adjudge.lab.world import grammar
from adjudge.lab.world.grammar import NOUNS, numbered, read
from adjudge.lab.world.items import Brief
from adjudge.lab.world.program_gold import NONE, Checked, trace

Mode = Literal["direct", "low", "medium", "high"]
ASKS: dict[Mode, str] = {"direct": "Score:", "low": "Glance:", "medium": "Check:", "high": "Reason:"}
SCORE = "\nScore:"


def policy_prompt(brief: str) -> str:
    return f"Brief: {brief}\nResponse:"


def judge_prompt(brief: str, response: str, mode: Mode, rubric: str = "") -> str:
    guide = f"\nRubric: {rubric}" if rubric else ""
    return f"Brief: {brief}\nResponse: {numbered(read(response))}{guide}\n{ASKS[mode]}"


def judge_completion(reasoning: str, score: int, mode: Mode) -> str:
    """What a judge of this mode writes; it ends with the score.

    >>> judge_completion("| 2 of 2 less 0", 9, "low")
    ' | 2 of 2 less 0\\nScore: 9'
    """
    return f" {score}" if mode == "direct" else f" {reasoning}{SCORE} {score}"


def read_score(completion: str, mode: Mode) -> int | None:
    """The score that ends a judge's completion; None where there is none, or more than one.

    >>> read_score(" | 2 of 2 less 0\\nScore: 9", "low"), read_score(" 12", "direct")
    (9, None)
    """
    _, mark, tail = ("", SCORE, completion) if mode == "direct" else completion.partition(SCORE)
    said = tail.strip()
    return (
        int(said) if mark and SCORE not in tail and said.isdecimal() and int(said) <= TOP and said.isascii() else None
    )


def rubric(brief: Brief) -> str:
    """The brief's checks in the words of a trace: what gold would look for, written before any response."""
    parts = [" ".join([r.kind, *r.words, *([str(r.number)] if r.number else [])]) for r in brief.requirements]
    return f"{len(parts)} checks: {', '.join(parts)}"


def search(checked: Checked, words: int, rng: random.Random) -> tuple[str, str]:
    """The auxiliary task (prompt, completion): the response again as in a trace, then of each of so many words, half of
    them in it, which sentence has it first. Its prompt ends with a word of its own, so that a judge who is asked to
    reason does not wander into it."""
    copied = trace(checked, "high").partition(" | ")[0]
    first: dict[str, str] = {}
    for place, sentence in enumerate(checked.text.sentences):
        for word in sentence.marked:
            first.setdefault(word, grammar.ordinal(place))
    there = list(first)
    asked = [rng.choice(there) if there and rng.random() < 0.5 else rng.choice(NOUNS) for _ in range(words)]
    completion = " ".join(["", copied, *(f"| {word} {first.get(word, NONE)}" for word in asked)])
    return f"Words: {' '.join(asked)}\nResponse: {numbered(checked.text)}\nFind:", completion
