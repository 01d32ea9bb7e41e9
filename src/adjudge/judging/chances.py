"""Probabilities of a judge's labels, read from the log-probabilities of the token that holds its answer.

The candidates of a position come from `Reply.top_logprobs`, the token that was drawn first. Servers report them for the
unrestricted model, so they are renormalised over the labels that would have been an answer; spellings of one label
(`A`, ` A`, `[[A`) are added up.
"""

import math
from collections.abc import Collection

from adjudge.types import Reply, TokenChance

AMBIGUOUS_MASS = 1e-3
"""Largest share of a token that may stand for two ratings ("1" or "10") before the text is used instead."""


def label_chances(reply: Reply, at: int, labels: Collection[str]) -> dict[str, float] | None:
    """p(label) of the token that covers character `at` of `reply.text`, summing to 1 over the labels seen.

    None where there are no log-probabilities, where they do not line up with the text, or where no label is among the
    candidates.

    >>> top = ((TokenChance("[[", 0.0),), (TokenChance("A", math.log(0.6)), TokenChance(" B", math.log(0.2))))
    >>> chances = label_chances(Reply(text="[[A", top_logprobs=top), 2, ("A", "B", "C"))
    >>> {label: round(p, 6) for label, p in chances.items()}
    {'A': 0.75, 'B': 0.25}
    """
    position = _position(reply, at)
    return None if position is None else _over(reply.top_logprobs[position], labels)


def expected_score(reply: Reply, at: int, scale: tuple[int, int]) -> float | None:
    """sum of s p(s) over the ratings of the scale, from the token that covers character `at` of `reply.text`.

    None like `label_chances`, and where the tokens cannot tell a rating from the beginning of a longer one: "1" may go
    on to "10" unless the tokenizer writes "10" as one token. Where such a token holds less than AMBIGUOUS_MASS it is
    counted as the short rating, an error of at most AMBIGUOUS_MASS times the scale.

    >>> top = ((TokenChance("7", math.log(0.5)), TokenChance("8", math.log(0.25)), TokenChance("the", -1.0)),)
    >>> round(expected_score(Reply(text="7", top_logprobs=top), 0, (0, 9)), 6)
    7.333333
    """
    labels = [str(score) for score in range(scale[0], scale[1] + 1)]
    chances = label_chances(reply, at, labels)
    if chances is None:
        return None
    if not any(len(label) > 1 for label in chances):
        ambiguous = sum(p for s, p in chances.items() if any(s != label and label.startswith(s) for label in labels))
        if ambiguous > AMBIGUOUS_MASS:
            return None
    return math.fsum(int(label) * p for label, p in chances.items())


def _position(reply: Reply, at: int) -> int | None:
    """The position whose token covers character `at`; read from the end, since reasoning may come before the text."""
    text = reply.text.rstrip()
    end = len(text)
    for position in range(len(reply.top_logprobs) - 1, -1, -1):
        candidates = reply.top_logprobs[position]
        token = candidates[0].token if candidates else ""
        if end == len(text):
            token = token.rstrip()
            if not token or not text.endswith(token):
                continue  # the end-of-turn token, or white space that the server cut off
        elif not text.endswith(token, 0, end):
            return None
        end -= len(token)
        if end <= at:
            return position if candidates else None
    return None


def _over(candidates: tuple[TokenChance, ...], labels: Collection[str]) -> dict[str, float] | None:
    if candidates[0].token.strip().strip("[]") not in labels:
        return None  # the drawn token holds more or less than the label: its rivals are not spelled alike
    mass: dict[str, float] = {}
    for token, logprob in candidates:
        label = token.strip().strip("[]")
        if label in labels and logprob <= 1e-6:  # a positive "log-probability" is nonsense
            mass[label] = mass.get(label, 0.0) + math.exp(logprob)
    total = math.fsum(mass.values())
    return {label: m / total for label, m in mass.items()} if total > 0 else None
