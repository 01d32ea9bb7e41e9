"""When to stop buying along a path of purchases: as soon as what going on promises is not worth the next price.

A path is an order in which purchases may be made. After each one a linear model of the evidence so far predicts the
**gain**: the reward of the verdict at the path's end less the reward of stopping here. The policy goes on while

    gain  >  multiplier * (mean cost of the next purchase)

so one number, the multiplier, leads from buying one verdict to buying them all, and a dear purchase has to promise more
than a cheap one. The model is one for all lengths of the path: it is fitted on a path's length times as many rows as
there are instances. Two others were tried on the recorded judgments: regressing the value of going on backwards from
the end (Longstaff and Schwartz 2001) needs a model for each length and stops too early; the probability of being wrong
also counts what no further purchase will mend, and is worse where arms fail together.

Axes: T purchases of the path, F features, M rows of all lengths together. Costs are in the table's unit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.evidence import Evidence, weigh
from adjudge.routing.table import Ints, Seen, Table

PENALTY = 5.0  # ridge, in instances, on standardised features of the evidence
TEXT_PENALTY = 1000.0  # the same for features of the texts, of which most say nothing
_LEADS = (0.3, 0.8, 1.6)
_POINTS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0)


class Gain(NamedTuple):
    """The model: (f - mean_F) / scale_F @ coef_F + intercept, in reward."""

    mean_F: Array
    scale_F: Array
    coef_F: Array
    intercept: float

    def predict(self, f_NF: Array) -> Array:
        """Shape (N,), at least 0."""
        slope_F = self.coef_F / self.scale_F
        return np.asarray(np.maximum(f_NF @ slope_F + (self.intercept - self.mean_F @ slope_F), 0.0))


class Step(NamedTuple):
    """What is known after so many purchases of a path: the reward of stopping here, and the features."""

    reward_N: Array
    f_NF: Array

    def at(self, rows: Ints) -> "Step":
        return Step(self.reward_N[rows], self.f_NF[rows])


class Way(NamedTuple):
    """A path on rows where everything is known: after each purchase the reward of stopping and what is spent, and the
    greatest multiplier at which the row goes on (`worth`)."""

    reward_NT: Array
    spent_NT: Array
    worth_NT: Array


def features(seen: Seen, path: Sequence[int], weight_U: Array) -> tuple[Evidence, Array]:
    """The evidence of the purchases of `path`, all made, and what a policy sees of it; shape (N, F)."""
    columns = list(path)
    rating = None if seen.rating_NUR is None else seen.rating_NUR[:, columns]
    bought = np.ones((len(seen.x_ND), len(columns)), bool)
    part = Seen(seen.x_ND, bought, seen.said_NU[:, columns], rating, seen.cost_NU[:, columns])
    evidence = weigh(part, weight_U[columns])
    lead_N = evidence.lead_N
    count_N = np.full(len(lead_N), float(len(columns)))
    known = [lead_N <= 0, evidence.against_N, evidence.silent_N, count_N]
    if rating is None:
        known += [np.minimum(lead_N, knot) for knot in _LEADS]
    else:
        known += [np.minimum(lead_N, knot) for knot in _POINTS]
        known += [np.sqrt(count_N), evidence.wins_NR.sum(axis=1)]
    return evidence, np.column_stack([*known, seen.x_ND])


def steps(table: Table, path: Sequence[int], weight_U: Array, begun: Sequence[Step] = ()) -> list[Step]:
    """What is known after each purchase of the path, on the rows of a table that knows everything. `begun`: its first
    steps, where they are at hand for the same weights."""
    seen = Seen(table.x_ND, np.ones_like(table.cost_NU, bool), table.said_NU, table.rating_NUR, table.cost_NU)
    found = list(begun)
    for t in range(len(begun) + 1, len(path) + 1):
        evidence, f_NF = features(seen, path[:t], weight_U)
        found.append(Step(evidence.reward(table), f_NF))
    return found


def fit_gain(known: Sequence[Step], texts: int) -> Gain:
    """Ridge regression over all steps but the last together. The last `texts` features are the texts'."""
    before = known[:-1] or known
    f_MF = np.concatenate([step.f_NF for step in before])
    target_M = np.concatenate([known[-1].reward_N - step.reward_N for step in before])
    intercept = float(target_M.mean())
    mean_F = f_MF.mean(axis=0)
    f_MF -= mean_F
    curve_FF = f_MF.T @ f_MF
    scale_F = np.sqrt(np.diag(curve_FF) / len(f_MF))
    varies_F = scale_F > 1e-9
    penalty_F = np.full(len(scale_F), PENALTY)
    penalty_F[len(scale_F) - texts :] = TEXT_PENALTY
    scale_V, within = scale_F[varies_F], np.ix_(varies_F, varies_F)
    curve_VV = curve_FF[within] / np.outer(scale_V, scale_V) + np.diag(len(before) * penalty_F[varies_F])
    coef_F = np.zeros(len(scale_F))
    coef_F[varies_F] = np.linalg.solve(curve_VV, (target_M - intercept) @ f_MF[:, varies_F] / scale_V)
    return Gain(mean_F, np.where(varies_F, scale_F, 1.0), coef_F, intercept)


def worth(known: Sequence[Step], price_T: Array, gain: Gain) -> Array:
    """The greatest multiplier at which each row goes on after each step but the last, shape (N, T-1)."""
    if len(known) == 1:
        return np.empty((len(known[0].reward_N), 0))
    gain_NT = np.stack([gain.predict(step.f_NF) for step in known[:-1]], axis=1)
    return np.minimum.accumulate(gain_NT / np.maximum(price_T[1:], 1e-12), axis=1)


def way(known: Sequence[Step], cost_NT: Array, price_T: Array, gain: Gain) -> Way:
    """The path under a model of the gain. cost_NT: of each purchase on each row; price_T: what it is taken to cost."""
    reward_NT = np.stack([step.reward_N for step in known], axis=1)
    return Way(reward_NT, np.cumsum(cost_NT, axis=1), worth(known, price_T, gain))


def outcomes(path: Way, multiplier: float) -> tuple[Array, Array]:
    """(reward_N, cost_N) of the policy at a multiplier."""
    last_N: Ints = (path.worth_NT > multiplier).sum(axis=1)
    rows = np.arange(len(last_N))
    return path.reward_NT[rows, last_N], path.spent_NT[rows, last_N]


def multipliers(worth_NT: Array, count: int = 24) -> list[float]:
    """Multipliers from the one at which no row goes on down to 0: the levels that part the rows evenly."""
    if not worth_NT.size:
        return [0.0]
    levels = np.quantile(worth_NT[:, 0], np.linspace(1, 0, count))
    return sorted({*(float(level) for level in levels), float(worth_NT.min()), 0.0}, reverse=True)
