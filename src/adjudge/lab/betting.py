"""Capital won by betting that one block of bounded values has a lower mean than an earlier one, by more than a margin.

Problem. x in [0, 1] comes in looks; the mean of a value given the past may differ from look to look. `R` is a block of
looks, `A` one after it; mean(R) and mean(A) are the averages of their values' means. Null: mean(A) >= mean(R) - margin.
If it holds, then with m = mean(A) both of "mean(R) <= m + margin" and "mean(A) >= m" do, and a gambler who bets

    on R above c = m + margin:   prod_R (1 + u (x - c) / c)            u in BETS
    on A below m:                prod_A (1 + u (m - x) / (1 - m))

each averaged over u, gains nothing on average. m is not known, so the evidence is the least product over all m:

    E(R, A) = min_m  capital_R(m + margin) capital_A(m)

A single u is kept through a block: prod (1 + u (mu - c) / c) <= exp(sum u (mu - c) / c) <= 1 when the *average* of the
means mu is at most c, so what is tested is the average over the block, however the mean moves inside it.

Source: betting for the mean of bounded values, Waudby-Smith and Ramdas, arXiv 2010.09686, section 4, with a fixed grid
of bets. Departures: two blocks, the level between them being minimised out; in place of the minimum over all m stands
one that is never larger (capital_R falls and capital_A rises in m, so each cell of a grid is bounded by its ends).

Axes: N values, U bets, M cells of the level m, T looks.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELLS = 100
BETS = np.array([0.2, 0.4, 0.6, 0.8])
_EDGES = np.arange(CELLS + 1) / CELLS


def gains(x_N: Floats, margin: float) -> tuple[Floats, Floats]:
    """Log capital (U, M) that values within [0, 1] add where they stand in R, and where they stand in A; 0 without
    values."""
    above_M = np.minimum(_EDGES[1:] + margin, 1.0)
    below_M = 1.0 - _EDGES[:-1]
    return _log_capital(x_N, above_M), _log_capital(1.0 - x_N, below_M)


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
    return np.stack([(reference_RM + recent_M).min(axis=-1) for recent_M in recent_AM], axis=-1)
