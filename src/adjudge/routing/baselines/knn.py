"""The KNN router of RouterBench (arXiv 2403.12031, section 4.1): what did well on the nearest known rows.

Problem: an arm's predicted reward P_ik on row i is its mean reward over the k known instances of greatest cosine
similarity, its predicted cost the mean cost over them; the arm of the greatest `willingness to pay x P_ik - cost_ik` is
bought. Departures: the willingness to pay is the inverse of the multiplier that meets the budget; cost is predicted by
the neighbours as reward is, since reasoning costs differ by row. A row that is like none (no features, or none that
differ) gets the means of all.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adjudge.routing.ambiguity import Array
from adjudge.routing.baselines.one_shot import OneShot, fit_one_shot, restore_one_shot
from adjudge.routing.router import State
from adjudge.routing.table import Table

AT_ONCE = 512  # rows compared with all neighbours in one go


@dataclass(frozen=True, slots=True)
class Settings:
    """`neighbours`: k, all where there are fewer."""

    neighbours: int = 40
    folds: int = 10


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """unit_ID: scaled features of I instances, at length 1 or 0."""

    kind: ClassVar[str] = "knn"
    unit_ID: Array
    reward_IK: Array
    cost_IK: Array
    count: Array  # k, as an array to be saved with the others

    def predict(self, x_ND: Array) -> tuple[Array, Array]:
        parts = [self._near(x_ND[at : at + AT_ONCE]) for at in range(0, len(x_ND), AT_ONCE)]
        if not parts:
            return np.empty((0, self.reward_IK.shape[1])), np.empty((0, self.reward_IK.shape[1]))
        reward_NK, cost_NK = (np.concatenate(blocks) for blocks in zip(*parts, strict=True))
        return reward_NK, cost_NK

    def arrays(self) -> dict[str, Array]:
        return {
            "unit_ID": self.unit_ID,
            "reward_IK": self.reward_IK,
            "cost_IK": self.cost_IK,
            "count": self.count,
        }

    def _near(self, x_ND: Array) -> tuple[Array, Array]:
        reward_NK = np.tile(self.reward_IK.mean(axis=0), (len(x_ND), 1))
        cost_NK = np.tile(self.cost_IK.mean(axis=0), (len(x_ND), 1))
        known = np.flatnonzero(x_ND.any(axis=1))
        k = int(self.count)
        if k < len(self.unit_ID) and len(known):
            likeness_NI = _unit(x_ND[known]) @ self.unit_ID.T
            near_NJ = np.argpartition(-likeness_NI, k - 1, axis=1)[:, :k]
            reward_NK[known] = self.reward_IK[near_NJ].mean(axis=1)
            cost_NK[known] = self.cost_IK[near_NJ].mean(axis=1)
        return reward_NK, cost_NK


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> OneShot:
    """Remember the rows. The seed deals the folds by which budgets are met."""

    def learn(x_ID: Array, reward_IK: Array, cost_IK: Array) -> Neighbours:
        return Neighbours(_unit(x_ID), reward_IK, cost_IK, np.array(float(settings.neighbours)))

    return fit_one_shot(table, learn, settings.folds, seed)


def restore(state: State) -> OneShot:
    """The router whose state this was."""
    return restore_one_shot(state, Neighbours)


def _unit(x_ND: Array) -> Array:
    length_N = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return np.asarray(x_ND / np.where(length_N > 0, length_N, 1.0))
