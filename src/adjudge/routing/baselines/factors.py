"""The matrix factorisation router of RouteLLM (arXiv 2406.18665, section 4.2): which arm would win on this row?

Problem: a hidden scoring function delta(k, x) = w . (v_k * (W x + b)) of arm k and features x, with
P(k beats j | x) = sigmoid(delta(k, x) - delta(j, x)), of the greatest likelihood for comparisons of which the winner is
known. Between a weak and a strong arm the strong one is bought where P(strong beats weak | x) is at least a threshold,
calibrated for the budget.

Departures. Comparisons are made of recorded rewards: of two arms on a row the one with the greater reward won, with the
difference as weight, and level ones say nothing (the paper leaves ties out too). For K arms an arm's reward is its mean
probability to beat another one and its cost its mean cost, which is the paper's threshold where K is 2. `w` is part of
v_k: the functions are the same. Instead of Adam with noise on the embeddings, the objective with a penalty on weights
is brought to its optimum (L-BFGS); 32 factors, for hundreds of rows and not the paper's 65,000.
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

    factors: int = 32
    penalty: float = 0.03
    steps: int = 100
    folds: int = 5


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """text_FE: W with b as its last column, E = D + 1. arm_KF: v. cost_K: mean cost of each arm."""

    kind: ClassVar[str] = "mf"
    text_FE: Array
    arm_KF: Array
    cost_K: Array

    def predict(self, x_ND: Array) -> tuple[Array, Array]:
        delta_NK = scores(x_ND, self.text_FE, self.arm_KF)
        beats_NKK = expit(delta_NK[:, :, None] - delta_NK[:, None, :])
        others = len(self.cost_K) - 1
        reward_NK = (beats_NKK.sum(axis=2) - 0.5) / others  # 0.5: each arm against itself
        return reward_NK, np.tile(self.cost_K, (len(x_ND), 1))

    def arrays(self) -> dict[str, Array]:
        return {"text_FE": self.text_FE, "arm_KF": self.arm_KF, "cost_K": self.cost_K}


def scores(x_ND: Array, text_FE: Array, arm_KF: Array) -> Array:
    """delta, shape (N, K)."""
    return np.asarray((x_ND @ text_FE[:, :-1].T + text_FE[:, -1]) @ arm_KF.T)


def loss(x_ND: Array, reward_NK: Array, text_FE: Array, arm_KF: Array, penalty: float) -> tuple[float, Array, Array]:
    """(mean loss of a row with the penalty, its gradients in text_FE and arm_KF).

    A row's loss is the sum over pairs of arms of (r_k - r_j)+ log(1 + exp(delta_j - delta_k)).
    """
    n = len(x_ND)
    hidden_NF = x_ND @ text_FE[:, :-1].T + text_FE[:, -1]
    delta_NK = hidden_NF @ arm_KF.T
    behind_NKK = delta_NK[:, None, :] - delta_NK[:, :, None]
    won_NKK = np.maximum(reward_NK[:, :, None] - reward_NK[:, None, :], 0.0)
    value = float((won_NKK * np.logaddexp(0, behind_NKK)).sum()) / n
    pull_NKK = won_NKK * expit(behind_NKK) / n
    slope_NK = pull_NKK.sum(axis=1) - pull_NKK.sum(axis=2)
    slope_NF = slope_NK @ arm_KF
    slope_FE = np.column_stack([slope_NF.T @ x_ND, slope_NF.sum(axis=0)])
    value += penalty / 2 * float((text_FE**2).sum() + (arm_KF**2).sum())
    return value, slope_FE + penalty * text_FE, slope_NK.T @ hidden_NF + penalty * arm_KF


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> OneShot:
    """The seed draws where W starts, and deals the folds by which budgets are met."""

    def learn(x_ID: Array, reward_IK: Array, cost_IK: Array) -> Factors:
        width, arms = x_ID.shape[1] + 1, reward_IK.shape[1]
        start_FE = np.random.default_rng(seed).normal(0, 0.5 / np.sqrt(width), (settings.factors, width))
        start_FE[:, -1] = np.sqrt(1 / settings.factors)  # so that arms can differ as a whole from the first step on
        cut = start_FE.size

        def both(flat: Array) -> tuple[float, Array]:
            text_FE, arm_KF = flat[:cut].reshape(-1, width), flat[cut:].reshape(arms, -1)
            value, by_text, by_arm = loss(x_ID, reward_IK, text_FE, arm_KF, settings.penalty)
            return value, np.concatenate([by_text.ravel(), by_arm.ravel()])

        start = np.concatenate([start_FE.ravel(), np.zeros(arms * settings.factors)])
        found = minimize(both, start, jac=True, method="L-BFGS-B", options={"maxiter": settings.steps, "ftol": 1e-6}).x
        return Factors(found[:cut].reshape(-1, width), found[cut:].reshape(arms, -1), cost_IK.mean(axis=0))

    return fit_one_shot(table, learn, settings.folds, seed)


def restore(state: State) -> OneShot:
    """The router whose state this was."""
    return restore_one_shot(state, Factors)
