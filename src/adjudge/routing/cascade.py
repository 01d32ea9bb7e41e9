"""The router that buys step by step: `racer`, the best that this project ships.

A rung is a path of purchases (see paths.py) with the model that says what going on promises, and a multiplier that
says what it has to (see stopping.py). Which paths are worth having is searched on the fitting rows; what each of
them costs and earns at each multiplier is measured out of fold, on instances that its model and weights were not fitted
on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from adjudge.routing.ambiguity import Array, Radius, worst_cost, worst_reward
from adjudge.routing.evidence import fit_weights, same_weights
from adjudge.routing.features import checked, checked_finite
from adjudge.routing.ladder import Rung, upper_hull
from adjudge.routing.paths import Search, search
from adjudge.routing.router import STOP, State
from adjudge.routing.stopping import Gain, Step, Way, features, fit_gain, multipliers, outcomes, steps, way
from adjudge.routing.table import Ints, Purchase, Seen, Table

FOLDS = 5
DEFAULT_SEARCH = Search()


@dataclass(frozen=True, slots=True)
class Settings:
    """`observe`: the arm whose verdict is bought first; the search chooses without. `text`: whether features of the
    texts count, or the evidence alone. Radii in nats: budgets then hold, and rewards are compared, for the worst
    mixture of instances within them; pacing holds a budget at less cost, so they are 0 where nothing is said."""

    observe: str = ""
    text: bool = True
    radius_reward: float = 0.0
    radius_cost: float = 0.0
    search: Search = DEFAULT_SEARCH


class Plan(NamedTuple):
    """One rung's policy."""

    path: tuple[int, ...]
    weight_U: Array
    gain: Gain
    price_T: Array  # mean cost of each purchase of the path


class Cascade:
    """See the module."""

    def __init__(
        self,
        purchases: tuple[Purchase, ...],
        rungs: tuple[Rung, ...],
        plans: tuple[Plan, ...],
        features: tuple[str, ...],
        text: bool,
    ) -> None:
        self.purchases = purchases
        self.rungs = rungs
        self.plans = plans
        self.features = features
        self.text = text

    def decide(self, seen: Seen, rung: int, draw_N: Array) -> Ints:  # noqa: ARG002 -- nothing in it is random
        path, weight_U, gain, price_T = self.plans[rung]
        multiplier = self.rungs[rung].multiplier
        checked(seen.x_ND, self.features)
        if not self.text:
            seen = replace(seen, x_ND=seen.x_ND[:, :0])
        next_N = np.full(len(seen.x_ND), path[0])
        made_N = seen.bought_NU[:, list(path)].sum(axis=1)
        for t in np.unique(made_N[made_N > 0]):
            rows = np.flatnonzero(made_N == t)
            if t == len(path):
                next_N[rows] = STOP
                continue
            _, f_NF = features(seen.at(rows), path[:t], weight_U)
            next_N[rows] = np.where(gain.predict(f_NF) > multiplier * price_T[t], path[t], STOP)
        return next_N

    def weights(self, rung: int) -> Array:
        return self.plans[rung].weight_U

    def state(self) -> State:
        card: dict[str, Any] = {
            "purchases": [list(p) for p in self.purchases],
            "rungs": [list(r) for r in self.rungs],
            "paths": [list(plan.path) for plan in self.plans],
            "features": list(self.features),
            "text": self.text,
        }
        arrays: dict[str, Array] = {}
        for k, plan in enumerate(self.plans):
            mean_F, scale_F, coef_F, intercept = plan.gain
            arrays[f"{k}.weight"] = plan.weight_U
            arrays[f"{k}.price"] = plan.price_T
            arrays[f"{k}.gain"] = np.append(np.concatenate([mean_F, scale_F, coef_F]), intercept)
        return State(card, arrays)


def restore(state: State) -> Cascade:
    """The router that `state` was taken of."""
    plans = []
    for k, path in enumerate(state.card["paths"]):
        flat = state.arrays[f"{k}.gain"]
        mean_F, scale_F, coef_F = flat[:-1].reshape(3, -1)
        gain = Gain(mean_F, scale_F, coef_F, float(flat[-1]))
        plans.append(Plan(tuple(path), state.arrays[f"{k}.weight"], gain, state.arrays[f"{k}.price"]))
    purchases = tuple(Purchase(*p) for p in state.card["purchases"])
    return Cascade(
        purchases,
        tuple(Rung(*r) for r in state.card["rungs"]),
        tuple(plans),
        tuple(state.card["features"]),
        state.card["text"],
    )


def fit(table: Table, settings: Settings | None = None, seed: int = 0) -> Cascade:
    """Fit on all rows of the table. Raises ConfigError for an arm to observe that is none of the table's."""
    settings = settings or Settings()
    checked_finite(table.x_ND, table.features)
    text = settings.text and bool((table.x_ND != table.x_ND[:1]).any())
    if not text:
        table = replace(table, x_ND=table.x_ND[:, :0])
    with threadpool_limits(1):  # many small products: more threads only wait for each other
        known = _Known(table)
        paths = search(table, seed, observe=settings.observe, settings=settings.search)
        fold_N = folds(table, FOLDS, seed)
        measured = [(path, rung) for path in paths for rung in _out_of_fold(known, path, fold_N, settings)]
        chosen = [measured[k] for k in upper_hull(tuple(rung for _, rung in measured))]
        plans = {path: known.plan(path) for path in {path for path, _ in chosen}}
        ways = {path: known.way(plan) for path, plan in plans.items()}
        # What was chosen for its figures looks better than it is: it is measured again, on other folds. A budget is to
        # hold on the fitting rows too.
        again_N = folds(table, FOLDS, seed + 1)
        measured = []
        for path, rung in chosen:
            again = _out_of_fold(known, path, again_N, settings, [rung.multiplier])[0]
            _, cost_N = outcomes(ways[path], rung.multiplier)
            fitted = worst_cost(cost_N, Radius(settings.radius_cost)).value
            measured.append((path, again._replace(cost=max(again.cost, fitted))))
        kept = upper_hull(tuple(rung for _, rung in measured))
    rungs = tuple(measured[k][1] for k in kept)
    return Cascade(table.purchases, rungs, tuple(plans[measured[k][0]] for k in kept), table.features, text)


def folds(table: Table, count: int, seed: int) -> Ints:
    """A fold for each row, the same for all rows of an instance; as even as may be."""
    instances, at_N = np.unique(table.instance_N, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(instances))
    return np.asarray((order % count)[at_N])


class _Known:
    """What is known along paths, on rows of one table. Where all weights are the same it is found once for a path."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._steps: dict[tuple[int, ...], list[Step]] = {}

    def plan(self, path: tuple[int, ...], rows: Ints | None = None) -> Plan:
        """The plan fitted on some rows, or on all."""
        part = self.table if rows is None else self.table.at(rows)
        weight_U = fit_weights(part, path)
        gain = fit_gain(self._at(path, weight_U, rows), part.x_ND.shape[1])
        return Plan(path, weight_U, gain, part.cost_NU[:, list(path)].mean(axis=0))

    def way(self, plan: Plan, rows: Ints | None = None) -> Way:
        """A plan played on some rows, or on all."""
        cost_NU = self.table.cost_NU if rows is None else self.table.cost_NU[rows]
        return way(self._at(plan.path, plan.weight_U, rows), cost_NU[:, list(plan.path)], plan.price_T, plan.gain)

    def _at(self, path: tuple[int, ...], weight_U: Array, rows: Ints | None) -> list[Step]:
        if not same_weights(self.table):
            return steps(self.table if rows is None else self.table.at(rows), path, weight_U)
        if path not in self._steps:
            self._steps[path] = steps(self.table, path, weight_U)
        found = self._steps[path]
        return found if rows is None else [step.at(rows) for step in found]


def _out_of_fold(
    known: _Known, path: tuple[int, ...], fold_N: Ints, settings: Settings, at: Sequence[float] = ()
) -> list[Rung]:
    """A rung for each multiplier (worth having, where none are given), each row's by a model fitted on the other folds;
    means, or the worst of them within the radii."""
    ways = []
    for fold in range(int(fold_N.max()) + 1):
        plan = known.plan(path, np.flatnonzero(fold_N != fold))
        ways.append(known.way(plan, np.flatnonzero(fold_N == fold)))
    together = Way(*(np.concatenate(parts) for parts in zip(*ways, strict=True)))
    rungs = []
    for multiplier in at or multipliers(together.worth_NT):
        reward_N, cost_N = outcomes(together, multiplier)
        cost = worst_cost(cost_N, Radius(settings.radius_cost)).value
        rungs.append(Rung(multiplier, cost, worst_reward(reward_N, Radius(settings.radius_reward)).value))
    return rungs
