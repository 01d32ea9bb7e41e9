"""What the text of a recorded verdict says beyond the side that won: how sure it was, ratings, which response it named.
Never changes which side won.

Read are, of each presentation order: the five-step label (`[[A>>B]]` 1, `[[A>B]]` one half), the distance of two scores
that the judge wrote as JSON (`"score": 0.9` for each response, on any scale up to 1 or 10), and, where only one order
was run, `p_a`. A verdict that says no more is as sure as its arm is on average, which `evidence` weighs: 1.
"""

import re
from typing import Literal

from adjudge.judging.fencing import MARK, normal_label
from adjudge.judging.reading import read_recorded_scores, split_reasoning
from adjudge.types import Judgment

_STEPS = {"A>>B": 1.0, "B>>A": 1.0, "A>B": 0.5, "B>A": 0.5}
_SCORE = re.compile(r'"score"\s*:\s*"?(-?[0-9]{1,3}(?:\.[0-9]{1,6})?)')
_LETTER = re.compile(r"\[\[[ \t]{0,4}([A-H])[ \t]{0,4}\]\]")
LEAST = 0.05  # a verdict was given, so it is worth something


def strength(judgment: Judgment, order: Literal["ab", "ba"]) -> float:
    """In (0, 1], for an order that gave A or B.

    >>> from adjudge.types import Outcome
    >>> strength(Judgment(arm="x", ab=Outcome.A, completion_ab="Better, barely. [[A>B]]"), "ab")
    0.5
    >>> strength(Judgment(arm="x", ab=Outcome.A, completion_ab='{"score": 0.9} {"score": 0.6}'), "ab")
    0.3
    """
    text = _content(judgment, order)
    steps = [s for m in MARK.finditer(text) if (s := _STEPS.get(normal_label(m["label"]))) is not None]
    if steps:
        return steps[-1]
    scores = [float(found) for found in _SCORE.findall(text)]
    if len(scores) == 2:
        scale = 1.0 if max(map(abs, scores)) <= 1 else 10.0
        return round(min(max(abs(scores[0] - scores[1]) / scale, LEAST), 1.0), 6)
    if len(judgment.orders) == 1 and judgment.p_a is not None:
        return max(abs(2 * judgment.p_a - 1), LEAST)
    return 1.0


def ratings(judgment: Judgment) -> tuple[tuple[float, ...], ...]:
    """Per response the ratings that were read, one per draw (none where a draw could not be); empty for an arm that
    does not rate responses one by one."""
    found = judgment.scores or read_recorded_scores(judgment.completion_ab or "")
    return found if found and len(found) > 1 else ()


def named(judgment: Judgment, order: Literal["ab", "ba"]) -> int | None:
    """The place of the response that a best-of-n verdict names, as `[[C]]`: the first mark of a text that begins with
    one, else the last; None without one.

    >>> from adjudge.types import Outcome
    >>> named(Judgment(arm="x", ab=Outcome.A, completion_ab="B is close. [[C]]"), "ab")
    2
    """
    text = _content(judgment, order)
    marks = list(_LETTER.finditer(text))
    if not marks:
        return None
    return ord((marks[0] if marks[0].start() == 0 else marks[-1])[1]) - ord("A")


def _content(judgment: Judgment, order: Literal["ab", "ba"]) -> str:
    """The completion without reasoning that is written into it."""
    text = (judgment.completion_ab if order == "ab" else judgment.completion_ba) or ""
    split = split_reasoning(text)
    return text[split.start : split.end].strip()
