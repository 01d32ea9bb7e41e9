"""Routers that read the features once and then buy one verdict of one arm: what KNN, matrix factorisation and M-IRT
share. They differ in the model alone.

A model predicts the reward and the cost of every arm from features; a rung takes the arm of the greatest predicted
reward less multiplier times predicted cost. Multipliers are tied to budgets by what the policies really cost on rows
that their model was not fitted on. The rows of an instance, one for each order that came first, are one row to a model,
with their mean reward and cost. Features are brought to mean 0 and spread 1 on the fitting rows first; the papers
use embeddings as they come, here lengths and other signals stand among them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from adjudge.errors import DataError
from adjudge.routing.ambiguity import Array
from adjudge.routing.baselines.parts import card_of, folds_of, nested, purchases_in, rungs_in
from adjudge.routing.features import checked_finite
from adjudge.routing.ladder import Rung, best_choice, climb
from adjudge.routing.router import State, bundle_table, still_missing
from adjudge.routing.table import Ints, Purchase, Seen, Table


class Model(Protocol):
    """`kind` names it in a card. Its arrays are all that it is made of."""

    kind: ClassVar[str]

    def predict(self, x_ND: Array) -> tuple[Array, Array]:
        """(reward_NK, cost_NK) of features that were scaled."""
        ...

    def arrays(self) -> dict[str, Array]: ...


class Scale:
    """Mean and spread of each feature on the fitting rows; a feature that never changes there is ignored."""

    def __init__(self, mean_D: Array, spread_D: Array) -> None:
        self.mean_D, self.spread_D = mean_D, spread_D

    @classmethod
    def of(cls, x_ND: Array) -> "Scale":
        spread_D = x_ND.std(axis=0)
        return cls(x_ND.mean(axis=0), np.where(spread_D > 1e-12, spread_D, np.inf))

    def __call__(self, x_ND: Array) -> Array:
        return np.asarray((x_ND - self.mean_D) / self.spread_D)


@dataclass(frozen=True, slots=True, eq=False)
class OneShot:
    """`bundles`: of each arm, what one verdict of it takes. `features`: names, as the table that was fitted on had
    them. Without features every row gets the same arm."""

    purchases: tuple[Purchase, ...]
    rungs: tuple[Rung, ...]
    bundles: tuple[tuple[int, ...], ...]
    features: tuple[str, ...]
    scale: Scale
    model: Model

    @property
    def kind(self) -> str:
        return self.model.kind

    def decide(self, seen: Seen, rung: int, draw_N: Array) -> Ints:  # noqa: ARG002 - nothing is random
        check_features(seen.x_ND, self.features, len(self.scale.mean_D))
        reward_NK, cost_NK = self.model.predict(self.scale(seen.x_ND))
        choice_N = best_choice(reward_NK, cost_NK, self.rungs[rung].multiplier)
        return still_missing(self.bundles, choice_N, seen.bought_NU)

    def weights(self, rung: int) -> Array:  # noqa: ARG002 - the arm bought speaks alone
        return np.ones(len(self.purchases))

    def state(self) -> State:
        card = card_of(self.purchases, self.rungs, bundles=self.bundles, features=self.features)
        scale = {"scale.mean_D": self.scale.mean_D, "scale.spread_D": self.scale.spread_D}
        return State(card, scale | {f"model.{name}": array for name, array in self.model.arrays().items()})


def fit_one_shot(table: Table, learn: Callable[[Array, Array, Array], Model], folds: int, seed: int) -> OneShot:
    """Fit a model with `learn(x_ID, reward_IK, cost_IK)`, on all I instances and, for the rungs, out of fold.

    Raises DataError, with the feature's name, where one is not a number.
    """
    check_features(table.x_ND, table.features, table.x_ND.shape[1])
    reward_NK, cost_NK = bundle_table(table, table.bundles, np.ones(len(table.purchases)))

    def learned(rows: Ints) -> tuple[Scale, Model]:
        _, first_I, at_N = np.unique(table.instance_N[rows], return_index=True, return_inverse=True)
        x_ID = table.x_ND[rows[first_I]]
        scale = Scale.of(x_ID)
        return scale, learn(scale(x_ID), _means(reward_NK[rows], at_N), _means(cost_NK[rows], at_N))

    everything = np.arange(len(table))
    scale, model = learned(everything)
    predicted_reward_NK, predicted_cost_NK = np.empty_like(reward_NK), np.empty_like(cost_NK)
    for fitting, held in folds_of(table, folds, seed) or [(everything, everything)]:
        its_scale, its_model = learned(fitting)
        predicted_reward_NK[held], predicted_cost_NK[held] = its_model.predict(its_scale(table.x_ND[held]))
    rungs = climb(predicted_reward_NK, predicted_cost_NK, reward_NK, cost_NK)
    return OneShot(table.purchases, rungs, table.bundles, table.features, scale, model)


def _means(value_NK: Array, at_N: Ints) -> Array:
    """The mean of each instance's rows, shape (I, K)."""
    total_IK = np.zeros((int(at_N.max()) + 1, value_NK.shape[1]))
    np.add.at(total_IK, at_N, value_NK)
    return np.asarray(total_IK / np.bincount(at_N)[:, None])


def restore_one_shot(state: State, model: Callable[..., Model]) -> OneShot:
    """The router whose state this was; `model` is made of its arrays by name."""
    card, arrays = state
    own: dict[str, Any] = {name.removeprefix("model."): a for name, a in arrays.items() if name.startswith("model.")}
    return OneShot(
        purchases_in(card),
        rungs_in(card),
        nested(card["bundles"]),
        nested(card["features"]),
        Scale(arrays["scale.mean_D"], arrays["scale.spread_D"]),
        model(**own),
    )


def check_features(x_ND: Array, names: Sequence[str], width: int) -> None:
    """Raise DataError where there are more or fewer features than were fitted on, or one is not finite."""
    if x_ND.shape[1] != width:
        raise DataError(
            f"rows have {x_ND.shape[1]} features, the router was fitted on {width}",
            remedy="give the features that it was fitted on",
        )
    checked_finite(x_ND, names)
