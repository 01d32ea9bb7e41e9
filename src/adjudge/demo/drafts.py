"""What every maker of demo pairs gives: a prompt with a right and a wrong answer, both written like short replies."""

from random import Random
from typing import NamedTuple


class Draft(NamedTuple):
    """`proof` says how it is known which answer is right."""

    prompt: str
    right: str
    wrong: str
    proof: str


def said(rng: Random, steps: list[str], answer: str) -> str:
    """A worked answer, its wording drawn: the steps, and the answer before or after them.

    >>> said(Random(1), ["2 + 2 = 4"], "4")
    'Step by step: 2 + 2 = 4. Answer: 4'
    """
    work = "; ".join(steps)
    begun = work[0].upper() + work[1:]
    return rng.choice(
        (
            f"{begun}. So the answer is {answer}.",
            f"Step by step: {work}. Answer: {answer}",
            f"The answer is {answer}, because {work}.",
            f"Let's work it out. {begun}. The result is {answer}.",
            f"{answer}. Here is the working: {work}.",
        )
    )


def one_of(rng: Random, *wordings: str) -> str:
    return rng.choice(wordings)
