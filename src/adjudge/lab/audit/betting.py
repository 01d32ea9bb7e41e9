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
Ints = NDArray[np.integer]

POINTS = 64
BETS = np.array([0.2, 0.4, 0.6, 0.8])
_LEVELS = (np.arange(POINTS) + 0.5) / POINTS
_AT_ONCE = 64  # recent blocks: what bounds the memory
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
    parts = []
    for first in range(0, len(recent_AM), _AT_ONCE):
        sums_RAM = reference_RM[:, None] + recent_AM[None, first : first + _AT_ONCE]
        parts.append(least(sums_RAM.reshape(-1, POINTS)).reshape(sums_RAM.shape[:2]))
    return np.concatenate(parts, axis=1)


def least(f_NM: Floats) -> Floats:
    """A lower bound, and a close one, of the minimum over [0, 1] of convex functions given at the grid's points."""
    rows_N, at_N = np.arange(len(f_NM)), f_NM.argmin(axis=1)
    far_left, left, lowest, right, far_right = (_beside(f_NM, rows_N, at_N + i) for i in range(-2, 3))
    inside = np.minimum(_meeting(left, lowest, right, far_right), _meeting(right, lowest, left, far_left))
    # from the outermost points to 0 and 1 it is half a cell, where the outermost secants bound it
    outside = np.minimum(1.5 * f_NM[:, 0] - 0.5 * f_NM[:, 1], 1.5 * f_NM[:, -1] - 0.5 * f_NM[:, -2])
    return np.where((at_N == 0) | (at_N == POINTS - 1), np.minimum(inside, outside), inside)


def _beside(f_NM: Floats, rows_N: Ints, places_N: Ints) -> Floats:
    inside_N = (places_N >= 0) & (places_N < POINTS)
    return np.where(inside_N, f_NM[rows_N, np.clip(places_N, 0, POINTS - 1)], _STEEP)


def _meeting(before_N: Floats, here_N: Floats, there_N: Floats, after_N: Floats) -> Floats:
    """How low a convex function can be between two neighbouring points, `here` the lower one: where the secants of the
    cells before and after meet."""
    fall_N, rise_N = before_N - here_N, after_N - there_N
    share_N = np.divide(
        here_N - there_N + rise_N, fall_N + rise_N, out=np.zeros_like(here_N), where=fall_N + rise_N > 0
    )
    lowest_N: Floats = here_N - fall_N * np.clip(share_N, 0.0, 1.0)
    return lowest_N
