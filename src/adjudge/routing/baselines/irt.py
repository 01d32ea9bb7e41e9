"""M-IRT routing: multidimensional item response theory (IRT-Router, arXiv 2506.01048, section 3).

Problem: arm k has an ability theta_k in F dimensions; a row has a discrimination a(x) >= 0 in each of them and a
difficulty d(x), both read from its features. P(k is right on x) = sigmoid(a(x) . theta_k - d(x)), of the greatest
likelihood for the recorded rewards. The arm of the greatest alpha P_k - (1 - alpha) cost_k is bought, alpha being what
meets the budget and cost_k the mean cost of the arm.

Departures. The paper reads abilities from a text that describes each model; judges are few and every row has a reward
of each, so abilities are free. Rewards of one half count as half right. Discriminations are log(1 + exp(A x + a_0)), d
is linear. L-BFGS with a penalty on weights takes the place of mini-batches. The warm-up of cold queries is left out.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from adjudge.routing.ambiguity import Array
from adjudge.routing.baselines.one_shot import OneShot, fit_one_shot, restore_one_shot
from adjudge.routing.router import State
from adjudge.routing.table import Table


@dataclass(frozen=True, slots=True)
class Settings:
    """`penalty`: half of it times the squared weights is added to the mean loss of a row."""

    dimensions: int = 25
    penalty: float = 0.03
    steps: int = 60
    folds: int = 5


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """item_GE: F rows of discrimination and one of difficulty, with their constants as last column, E = D + 1.
    ability_KF: theta. cost_K: mean cost of each arm."""

    kind: ClassVar[str] = "m-irt"
    item_GE: Array
    ability_KF: Array
    cost_K: Array

    def predict(self, x_ND: Array) -> tuple[Array, Array]:
        return chance(x_ND, self.item_GE, self.ability_KF), np.tile(self.cost_K, (len(x_ND), 1))

    def arrays(self) -> dict[str, Array]:
        return {"item_GE": self.item_GE, "ability_KF": self.ability_KF, "cost_K": self.cost_K}


def chance(x_ND: Array, item_GE: Array, ability_KF: Array) -> Array:
    """Probability that each arm is right, shape (N, K)."""
    item_NG = x_ND @ item_GE[:, :-1].T + item_GE[:, -1]
    return np.asarray(expit(np.logaddexp(0, item_NG[:, :-1]) @ ability_KF.T - item_NG[:, -1:]))


def loss(
    x_ND: Array, reward_NK: Array, item_GE: Array, ability_KF: Array, penalty: float
) -> tuple[float, Array, Array]:
    """(cross-entropy summed over arms, mean over rows, with the penalty; its gradients in item_GE and ability_KF)."""
    n = len(x_ND)
    item_NG = x_ND @ item_GE[:, :-1].T + item_GE[:, -1]
    keen_NF = np.logaddexp(0, item_NG[:, :-1])
    logit_NK = keen_NF @ ability_KF.T - item_NG[:, -1:]
    value = float((np.logaddexp(0, logit_NK) - reward_NK * logit_NK).sum()) / n
    slope_NK = (expit(logit_NK) - reward_NK) / n
    slope_NF = slope_NK @ ability_KF * expit(item_NG[:, :-1])
    slope_NG = np.column_stack([slope_NF, -slope_NK.sum(axis=1)])
    slope_GE = np.column_stack([slope_NG.T @ x_ND, slope_NG.sum(axis=0)])
    value += penalty / 2 * float((item_GE**2).sum() + (ability_KF**2).sum())
    return value, slope_GE + penalty * item_GE, slope_NK.T @ keen_NF + penalty * ability_KF


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> OneShot:
    """The seed draws where discriminations start, and deals the folds by which budgets are met."""

    def learn(x_ID: Array, reward_IK: Array, cost_IK: Array) -> Items:
        width, arms = x_ID.shape[1] + 1, reward_IK.shape[1]
        start_GE = np.random.default_rng(seed).normal(0, 0.5 / np.sqrt(width), (settings.dimensions + 1, width))
        start_GE[-1] = 0.0
        cut = start_GE.size

        def both(flat: Array) -> tuple[float, Array]:
            item_GE, ability_KF = flat[:cut].reshape(-1, width), flat[cut:].reshape(arms, -1)
            value, by_item, by_arm = loss(x_ID, reward_IK, item_GE, ability_KF, settings.penalty)
            return value, np.concatenate([by_item.ravel(), by_arm.ravel()])

        start = np.concatenate([start_GE.ravel(), np.zeros(arms * settings.dimensions)])
        found = minimize(both, start, jac=True, method="L-BFGS-B", options={"maxiter": settings.steps, "ftol": 1e-6}).x
        return Items(found[:cut].reshape(-1, width), found[cut:].reshape(arms, -1), cost_IK.mean(axis=0))

    return fit_one_shot(table, learn, settings.folds, seed)


def restore(state: State) -> OneShot:
    """The router whose state this was."""
    return restore_one_shot(state, Items)
