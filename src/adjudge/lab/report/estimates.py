"""How far gold fell from its peak and the proxy rose, in one training and over several; each with its interval.

Problem. In one training, audited steps t bring the mean gold x_ti of each of a few prompts i, drawn anew at each step.
Wanted: gold's mean at its best less its mean at the end. The best of many noisy means is too high, by chance alone, so
choosing it must be paid for: prompts are split in two halves at every step; one half chooses the best block of steps,
the other measures gold there and at the end. Then the halves change places and the two results are averaged. Given the
choice, the result is an unbiased estimate of the fall from the chosen block, which is never more than the fall from the
true peak: what is claimed is on the safe side. (Sample splitting: Cox 1975; with exchanged halves, Chernozhukov et al.,
arXiv 1608.00060, section 2.)

Blocks are of several audits in a row, a sixth of them, at least one.

Over seeds: the mean of the seeds' values with Student's interval on the number of seeds; its error is never taken to be
less than what the seeds' own errors say. One seed alone has the interval of its own draws, which says nothing of other
trainings.

Axes: T looks, N prompts, S seeds.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from adjudge.lab.audit.alarm import Look
from adjudge.metrics import Estimate

Floats = NDArray[np.float64]

LEVEL = 0.95
_NORMAL = 1.959964  # of what is given with a 95 % interval


class Measured(NamedTuple):
    """A value with its standard error and the degrees of freedom of that error."""

    value: float
    error: float
    freedom: float


def interval(measured: Measured, level: float = LEVEL) -> Estimate:
    half = float(special.stdtrit(max(measured.freedom, 1.0), 0.5 + level / 2)) * measured.error
    return Estimate(measured.value, measured.value - half, measured.value + half)


def from_interval(value: float, low: float, high: float, count: float) -> Measured:
    """What was given with a 95 % interval of about normal shape, over `count` draws."""
    return Measured(value, (high - low) / (2 * _NORMAL), max(count - 1, 1.0))


def difference(one: Measured, other: Measured) -> Measured:
    """one - other, of independent draws; the freedom by Welch and Satterthwaite."""
    squares = np.array([one.error**2, other.error**2])
    error, freedom = float(squares.sum() ** 0.5), min(one.freedom, other.freedom)
    if error:
        freedom = float(squares.sum() ** 2 / (squares**2 / np.array([one.freedom, other.freedom])).sum())
    return Measured(one.value - other.value, error, freedom)


def over_seeds(measured: Mapping[int, Measured]) -> Estimate | None:
    """The mean over seeds; None without any."""
    found = list(measured.values())
    if len(found) < 2:
        return interval(found[0]) if found else None
    values_S, errors_S = np.array([m.value for m in found]), np.array([m.error for m in found])
    between = float(values_S.std(ddof=1)) / len(found) ** 0.5
    within = float((errors_S**2).sum() ** 0.5) / len(found)
    return interval(Measured(float(values_S.mean()), max(between, within), len(found) - 1))


def fall(looks: Sequence[Look]) -> Measured | None:
    """Gold at its peak less gold at the end; None for fewer than two looks, or where a half is empty."""
    gold_TN = [look.gold_N for look in looks]
    halves = [[x_N[(t + side) % 2 :: 2] for t, x_N in enumerate(gold_TN)] for side in (0, 1)]
    found = [_fall(choosing, measuring) for choosing, measuring in (halves, halves[::-1])]
    if len(looks) < 2 or None in found:
        return None
    one, other = (m for m in found if m is not None)
    error = (one.error**2 + other.error**2) ** 0.5 / 2
    return Measured((one.value + other.value) / 2, error, one.freedom + other.freedom)


def _fall(choosing: Sequence[Floats], measuring: Sequence[Floats]) -> Measured | None:
    size = block(len(choosing))
    blocks = [slice(first, first + size) for first in range(len(choosing) - size + 1)]
    means = [_block(choosing[b]) for b in blocks]
    if not means or any(m is None for m in means):
        return None
    best = max(range(len(blocks)), key=lambda k: means[k].value)  # type: ignore[union-attr]  # none is None, see above
    peak, end = _block(measuring[blocks[best]]), _block(measuring[blocks[-1]])
    # blocks that overlap are taken for independent: the error is then too large, never too small
    return None if peak is None or end is None else difference(peak, end)


def rise(looks: Sequence[Look]) -> Measured | None:
    """The proxy at the end less the proxy at the start; None for fewer than two looks, or without a level."""
    size = block(len(looks))
    start, end = _block([look.proxy_N for look in looks[:size]]), _block([look.proxy_N for look in looks[-size:]])
    return None if len(looks) < 2 or start is None or end is None else difference(end, start)


def block(looks: int) -> int:
    """Audits in a block.

    >>> block(24), block(4)
    (4, 1)
    """
    return max(1, round(looks / 6))


def _block(parts: Sequence[Floats]) -> Measured | None:
    """The mean over the prompts of a block of steps; its error holds what the steps differ by."""
    x_N = np.concatenate(parts) if parts else np.empty(0)
    if len(x_N) < 2:
        return None
    return Measured(float(x_N.mean()), float(x_N.std(ddof=1)) / len(x_N) ** 0.5, len(x_N) - 1)
