"""Capital won by betting that one block of bounded values has a lower mean than an earlier one, by more than a margin.

Problem. x in [0, 1] comes in looks; the mean of a value may differ from look to look. `R` is a block of looks, `A` one
after it that may still grow; mean(R) and mean(A) are the averages of their values' means. Null: mean(A) >= mean(R) -
margin. Where it holds, so do "mean(R) <= m + margin" and "mean(A) >= m" for m = mean(R) - margin (or 0), a level that
does not change as A grows, and a gambler who bets

    on R above c = m + margin:   prod_R (1 + u (x - c) / c)            u in BETS
    on A below m:                prod_A (1 + u (m - x) / (1 - m))

each averaged over u, gains nothing on average. m is not known, so the evidence is the least product over all m:

    E(R, A) = min_m  capital_R(m + margin) capital_A(m)

A single u is kept through a block: prod (1 + u (mu - c) / c) <= exp(sum u (mu - c) / c) <= 1 when the *average* of the
means mu is at most c, so what is tested is the average over the block, however the mean moves inside it.

The logarithm of each capital is convex in m: log (1 - u + u x / c) is convex and falls in log c, which is concave in c;
a mean over bets keeps that. So values on a grid bound the minimum between its points from below, by the secants of the
neighbouring cells, and what is used is never more than E and very close to it.

Source: betting for the mean of bounded values, Waudby-Smith and Ramdas, arXiv 2010.09686, section 4, with a fixed grid
of bets. Departure: two blocks, the level between them being minimised out.

Axes: N values, U bets, M grid points of the level m, T looks; R reference blocks, A recent ones.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POINTS = 64
BETS = np.array([0.2, 0.4, 0.6, 0.8])
_LEVELS = (np.arange(POINTS) + 0.5) / POINTS
_STEEP = 1e9  # the slope where a cell has no neighbour: it bounds nothing


def gains(x_N: Floats, margin: float) -> tuple[Floats, Floats]:
    """Log capital (U, M) that values within [0, 1] add where they stand in R, and where they stand in A; 0 without
    values."""
    return _log_capital(x_N, np.minimum(_LEVELS + margin, 1.0)), _log_capital(1.0 - x_N, 1.0 - _LEVELS)


def _log_capital(x_N: Floats, mean_M: Floats) -> Floats:
    stakes_UM = BETS[:, None] / mean_M
    summed: Floats = np.log(stakes_UM * x_N[:, None, None] + (1.0 - BETS)[:, None]).sum(axis=0)
    return summed


def log_mixture(summed_UM: Floats) -> Floats:
    """Log of the capital averaged over bets: (.., U, M) in, (.., M) out."""
    most = summed_UM.max(axis=-2, keepdims=True)
    mean: Floats = np.log(np.exp(summed_UM - most).mean(axis=-2)) + most[..., 0, :]
    return mean


def log_evidence(reference_RM: Floats, recent_AM: Floats) -> Floats:
    """log E (R, A) of every reference block with every recent one, from their log capitals."""
    return np.stack([least(reference_RM + recent_M) for recent_M in recent_AM], axis=-1)


def least(f_RM: Floats) -> Floats:
    """A lower bound, and a close one, of the minimum over [0, 1] of convex functions given at the grid's points."""
    rows_R, at_R = np.arange(len(f_RM)), f_RM.argmin(axis=1)
    padded = np.pad(f_RM, ((0, 0), (2, 2)), constant_values=_STEEP)
    far_left, left, lowest, right, far_right = (padded[rows_R, at_R + i] for i in range(5))
    inside = np.minimum(_meeting(left, lowest, right, far_right), _meeting(right, lowest, left, far_left))
    # from the outermost points to 0 and 1 it is half a cell, where the outermost secants bound it
    outside = np.minimum(1.5 * f_RM[:, 0] - 0.5 * f_RM[:, 1], 1.5 * f_RM[:, -1] - 0.5 * f_RM[:, -2])
    return np.where((at_R == 0) | (at_R == POINTS - 1), np.minimum(inside, outside), inside)


def _meeting(before_R: Floats, here_R: Floats, there_R: Floats, after_R: Floats) -> Floats:
    """How low a convex function can be between two neighbouring points, `here` the lower one: where the secants of the
    cells before and after meet."""
    fall_R, rise_R = before_R - here_R, after_R - there_R
    share_R = np.divide(
        here_R - there_R + rise_R, fall_R + rise_R, out=np.zeros_like(here_R), where=fall_R + rise_R > 0
    )
    return here_R - fall_R * np.clip(share_R, 0.0, 1.0)
