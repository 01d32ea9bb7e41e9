"""Comparisons within a group -> for each response the share of the others that it beats. Pure.

arXiv 2603.12246: the reward of y_i is the mean over j != i of 1[J(y_i, y_j) = y_i]. Here a tie, two orders that
disagree included, is half a win, so that the rewards of a group whose comparisons are all read have the mean 0.5.
Whether both orders are asked the paper does not say; the judge's arm does (`orders`, both by default).
"""

from collections.abc import Mapping, Sequence

from adjudge.types import Outcome

Comparisons = Mapping[tuple[int, int], Outcome]
"""(i, j) with i < j -> who won, A for i and B for j, or why there is no verdict."""


def win_rates(found: Comparisons, copies: Sequence[int]) -> list[float | None]:
    """One share per distinct response; `copies[i]`: how often response i stands in the group.

    Copies of a response tie with each other. A comparison without a verdict counts for neither side; None for a
    response of which no comparison was read.

    >>> win_rates({(0, 1): Outcome.A, (0, 2): Outcome.TIE, (1, 2): Outcome.UNREAD}, [1, 1, 1])
    [0.75, 0.0, 0.5]
    >>> win_rates({(0, 1): Outcome.A}, [2, 2])
    [0.8333333333333334, 0.16666666666666666]
    """
    won = [0.5 * (n - 1) for n in copies]
    met = [n - 1 for n in copies]
    for (i, j), outcome in found.items():
        if not outcome.is_verdict:
            continue
        share = 0.5 if outcome is Outcome.TIE else float(outcome is Outcome.A)
        won[i] += share * copies[j]
        won[j] += (1 - share) * copies[i]
        met[i] += copies[j]
        met[j] += copies[i]
    return [w / m if m else None for w, m in zip(won, met, strict=True)]
