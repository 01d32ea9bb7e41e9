"""What was bought -> one verdict: purchases are weighed and added up, never against their own word.

*Verdicts.* Each is worth its strength (see strength.py) times the weight of its arm, for the side that it names; the
sum's sign is the verdict, 0 a tie, and where nothing that was bought gave a verdict there is none. Weights are >= 0: a
negative one would invert a judge, which fails on new domains. They are fitted as the log-odds of a logistic model,
drawn towards equal ones, so that little data keeps them equal.

*Ratings.* The response with the highest weighted mean of its ratings wins. Best-of-n verdicts that name a response are
ratings of 1 and 0, weighed like verdicts, by a multinomial logistic model; true ratings are on one scale already.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.mlp import softmax
from adjudge.routing.table import Bools, Ints, Purchase, Seen, Table

SHRINK = 3.0  # strength of the pull towards equal weights, in units of squared log-odds
NEWTON_STEPS = 30
LEAST_WEIGHT = 1e-3  # an arm below chance in fitting is still heard where nothing else speaks, and moves nothing else
LEVEL = 1e-9  # sums closer than this are level


class Evidence(NamedTuple):
    """What the purchases of N rows say together.

    lead_N: how far the winner is ahead, >= 0: summed weights for verdicts, rating points for ratings (summed over
    draws). wins_NR: who is at the top; of two sides (A, B) for verdicts, of R responses for ratings; nobody where there
    is no verdict. against_N: weight of what speaks against the winner. silent_N: purchases without a verdict.
    """

    lead_N: Array
    wins_NR: Bools
    against_N: Array
    silent_N: Ints

    def reward(self, table: Table) -> Array:
        """1 for the right winner, 1/m where m share the first place, 0 without a verdict; shape (N,)."""
        right = table.gold_index_N if table.gold_index_N is not None else (table.gold_N < 0).astype(int)
        won_N = self.wins_NR[np.arange(len(right)), right]
        return np.asarray(won_N / np.maximum(self.wins_NR.sum(axis=1), 1))


def weigh(seen: Seen, weight_U: Array) -> Evidence:
    """The purchases made, added up."""
    if seen.rating_NUR is not None:
        return _weigh_ratings(seen.rating_NUR, seen.bought_NU, weight_U)
    silent_NU = np.isnan(seen.said_NU)
    worth_NU = np.where(silent_NU, 0.0, seen.said_NU) * weight_U
    heard_N = np.asarray((seen.bought_NU & ~silent_NU).any(axis=1))
    sum_N = worth_NU.sum(axis=1)
    lead_N = np.abs(sum_N)
    wins_NR = np.stack([sum_N >= -LEVEL, sum_N <= LEVEL], axis=1) & heard_N[:, None]
    against_N = (np.abs(worth_NU).sum(axis=1) - lead_N) / 2
    silent_N = (seen.bought_NU & silent_NU).sum(axis=1)
    return Evidence(np.where(lead_N > LEVEL, lead_N, 0.0), wins_NR, against_N, silent_N)


def _weigh_ratings(rating_NUR: Array, bought_NU: Bools, weight_U: Array) -> Evidence:
    """A response that some purchase did not rate is judged by those that did."""
    given_NUR = ~np.isnan(rating_NUR)
    filled_NUR = np.where(given_NUR, rating_NUR, 0.0)
    weight_NR = np.einsum("u,nur->nr", weight_U, given_NUR)
    sum_NR = np.einsum("u,nur->nr", weight_U, filled_NUR)
    mean_NR = np.where(weight_NR > 0, sum_NR / np.maximum(weight_NR, LEVEL), -np.inf)
    order_NR = np.sort(mean_NR, axis=1)
    top_N, next_N = order_NR[:, -1], order_NR[:, -2]
    heard_N = np.isfinite(top_N)
    wins_NR = np.asarray(mean_NR >= np.where(heard_N, top_N, 0.0)[:, None] - LEVEL) & heard_N[:, None]
    bought_N = np.where(bought_NU, weight_U, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        lead_N = np.where(heard_N & np.isfinite(next_N), top_N - next_N, 0.0) * bought_N
    winner_N = wins_NR.argmax(axis=1)
    of_winner_NU = filled_NUR[np.arange(len(winner_N)), :, winner_N]
    against_N = (filled_NUR.max(axis=2) - of_winner_NU) @ weight_U
    silent_N = (bought_NU & ~given_NUR.any(axis=2)).sum(axis=1)
    return Evidence(np.where(lead_N > LEVEL, lead_N, 0.0), wins_NR, against_N, silent_N)


def fit_weights(table: Table, among: Sequence[int]) -> Array:
    """The weight of each purchase, shape (U,), one for all purchases of an arm; fitted where `among` is all bought.

    True ratings weigh 1 each.
    """
    weight_U = np.ones(len(table.purchases))
    if same_weights(table):
        return weight_U
    arms = sorted({table.purchases[u].arm for u in among})
    of_arm_UK = np.array([[table.purchases[u].arm == arm for arm in arms] for u in among], float)
    if table.rating_NUR is not None:
        x_NRK = np.einsum("nur,uk->nrk", np.nan_to_num(table.rating_NUR[:, list(among)]), of_arm_UK)
        right_NK = x_NRK[np.arange(len(table)), table.gold_index_N]
        x_NRK = x_NRK - right_NK[:, None, :]
    else:
        toward_NK = np.nan_to_num(table.said_NU[:, list(among)]) @ of_arm_UK * table.gold_N[:, None]
        x_NRK = np.stack([np.zeros_like(toward_NK), -toward_NK], axis=1)

    w_K = np.maximum(_nonnegative(x_NRK), LEAST_WEIGHT)
    for u, purchase in enumerate(table.purchases):
        if purchase.arm in arms:
            weight_U[u] = w_K[arms.index(purchase.arm)]
    return weight_U


def same_weights(table: Table) -> bool:
    """Whether weights are the same whatever rows they are fitted on: true ratings are on one scale already."""
    return table.rating_NUR is not None and not table.votes


def _nonnegative(x_NRK: Array) -> Array:
    """The weights >= 0 of greatest likelihood, less the pull towards 1: Newton's method on those not held at 0.

    x_NRK: what each weight adds to each answer beyond what it adds to the right one, whose margin so is 0. The problem
    is strictly convex and has a handful of unknowns; a general solver takes ten times as long.
    """
    w_K = np.ones(x_NRK.shape[2])
    x_MK = x_NRK.reshape(-1, len(w_K))
    for _ in range(NEWTON_STEPS):
        p_NR = softmax((x_MK @ w_K).reshape(x_NRK.shape[:2]))
        px_MK = p_NR.reshape(-1, 1) * x_MK
        mean_NK = px_MK.reshape(x_NRK.shape).sum(axis=1)
        slope_K = mean_NK.sum(axis=0) + 2 * SHRINK * (w_K - 1)
        curve_KK = px_MK.T @ x_MK - mean_NK.T @ mean_NK
        free_K = (w_K > 0) | (slope_K < 0)
        change_K = np.zeros_like(w_K)
        within = np.ix_(free_K, free_K)
        change_K[free_K] = np.linalg.solve(curve_KK[within] + 2 * SHRINK * np.eye(free_K.sum()), slope_K[free_K])
        after_K = np.maximum(w_K - change_K, 0.0)
        if np.abs(after_K - w_K).max() < 1e-8:
            break
        w_K = after_K
    return w_K


def following(purchases: Sequence[Purchase], path: Sequence[int]) -> list[int]:
    """The purchases that may come after a path: of each arm, the next order or draw."""
    taken = {purchases[u] for u in path}
    found = []
    for u, purchase in enumerate(purchases):
        if purchase in taken:
            continue
        before = sum(1 for p in taken if p.arm == purchase.arm)
        if purchase.place == before:
            found.append(u)
    return found
