"""The any-budget router: predict what every choice earns and costs, and buy the best one at a price of cost.

A choice is a set of purchases: an arm's bundle (`fit`), one of the sets that portfolio.py keeps (`fit_portfolio`), or
any sets given (`fit_choices`). Ridge regressions on what is known before anything is bought predict reward and cost of
each; the policy at a multiplier takes the choice of the greatest predicted reward less multiplier times predicted cost.
Multipliers are set by what their policies really cost on instances that the regressions did not see (folds by
instance), so one fit serves every budget.

A set costs the sum of its purchases, so costs are predicted by purchase, and no set is ever taken for cheaper than a
part of it. Penalties are those of the least leave-one-out error. For rewards it is the error of the differences between
choices that counts: what all choices have in common decides nothing.

Robust variants (source: arXiv 2605.10805) weigh the fits. The exact problem is solved on the out-of-fold predictions,
with the radii given; its worst-case weights of rewards weigh the reward regressions, those of costs the cost
regressions, and a rung's cost and reward are those of the worst mix within the radii, so that a budget holds under any
such shift. Departure from the paper: one router for all budgets, with weights that are the mean of those at a few
budgets (the mean of mixes within a radius is within it), unless a budget is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from adjudge.errors import ConfigError
from adjudge.routing import ridge
from adjudge.routing.ambiguity import Array, Radius, worst_cost, worst_reward
from adjudge.routing.evidence import fit_weights
from adjudge.routing.features import checked, checked_finite
from adjudge.routing.ladder import Rung, best_choice, multipliers
from adjudge.routing.portfolio import candidates
from adjudge.routing.problem import Problem
from adjudge.routing.racer import solve
from adjudge.routing.ridge import Linear
from adjudge.routing.router import State, still_missing
from adjudge.routing.sample import Sample, by_instance, parts
from adjudge.routing.table import Bools, Ints, Purchase, Seen, Table

Variant = Literal["acer", "racer-r", "racer-c", "racer"]
FOLDS = 10
BETA = 0.005  # entropy weight of the exact problem that gives the worst-case weights
SHARES = (0.2, 0.4, 0.6)  # of the way from the cheapest to the dearest policy: the budgets of the weights
CHEAP = 0.05  # quantile of a purchase's costs below which none is predicted: a new domain is not taken for free


@dataclass(frozen=True, slots=True)
class Settings:
    """Radii are in nats and count only where the variant names them. `budget`, in mean costs of the first arm's
    verdict: where worst-case weights are taken; None: at a few budgets."""

    variant: Variant = "acer"
    radius_reward: float = 0.1
    radius_cost: float = 0.1
    budget: float | None = None

    @property
    def reward_set(self) -> Radius:
        return Radius(self.radius_reward if self.variant in ("racer", "racer-r") else 0.0)

    @property
    def cost_set(self) -> Radius:
        return Radius(self.radius_cost if self.variant in ("racer", "racer-c") else 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class ValueRouter:
    """See the module. `bundles`: the K choices. `linear` predicts their rewards, then the costs of purchases."""

    purchases: tuple[Purchase, ...]
    bundles: tuple[tuple[int, ...], ...]
    weight_U: Array
    columns: tuple[str, ...]
    linear: Linear
    part_UK: Array  # 1 where a purchase is part of a choice
    least_cost_U: Array
    most_cost_U: Array
    rungs: tuple[Rung, ...]

    def predict(self, x_ND: Array) -> tuple[Array, Array]:
        """(reward_NK, cost_NK). Raises DataError for features that are not finite, or not those of the fit."""
        checked(x_ND, self.columns)
        both_NM = self.linear(x_ND)
        k = len(self.bundles)
        cost_NU = np.minimum(np.maximum(both_NM[:, k:], self.least_cost_U), self.most_cost_U)
        return both_NM[:, :k], cost_NU @ self.part_UK

    def choose(self, x_ND: Array, rung: int) -> Ints:
        """The place of each row's choice among `bundles`."""
        return best_choice(*self.predict(x_ND), self.rungs[rung].multiplier)

    def decide(self, seen: Seen, rung: int, draw_N: Array) -> Ints:  # noqa: ARG002  nothing is random here
        return still_missing(self.bundles, self.choose(seen.x_ND, rung), seen.bought_NU)

    def weights(self, rung: int) -> Array:  # noqa: ARG002  one weighing for all rungs
        return self.weight_U

    def state(self) -> State:
        card: dict[str, Any] = {
            "purchases": [list(p) for p in self.purchases],
            "bundles": [list(b) for b in self.bundles],
            "columns": list(self.columns),
            "rungs": [list(r) for r in self.rungs],
        }
        arrays = {"weight_U": self.weight_U, "least_cost_U": self.least_cost_U, "most_cost_U": self.most_cost_U}
        return State(card, arrays | self.linear._asdict())


def restore(state: State) -> ValueRouter:
    """The router that was saved."""
    card, arrays = state
    return ValueRouter(
        purchases=tuple(Purchase(*p) for p in card["purchases"]),
        bundles=tuple(tuple(b) for b in card["bundles"]),
        weight_U=arrays["weight_U"],
        columns=tuple(card["columns"]),
        linear=Linear(*(arrays[name] for name in Linear._fields)),
        part_UK=parts(card["bundles"], len(card["purchases"])),
        least_cost_U=arrays["least_cost_U"],
        most_cost_U=arrays["most_cost_U"],
        rungs=tuple(Rung(*r) for r in card["rungs"]),
    )


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> ValueRouter:
    """Choose among the arms. Deterministic by seed, which draws the folds."""
    return fit_choices(table, table.bundles, settings, seed)


def fit_portfolio(table: Table, settings: Settings = Settings(), seed: int = 0) -> ValueRouter:
    """Choose among sets of purchases, see portfolio.py."""
    return fit_choices(table, candidates(table, verdict_weights(table)), settings, seed)


def fit_choices(
    table: Table,
    bundles: Sequence[Sequence[int]],
    settings: Settings = Settings(),
    seed: int = 0,
) -> ValueRouter:
    """Choose among the sets given. Raises DataError for features that are not finite."""
    checked_finite(table.x_ND, table.features)
    if settings.variant not in ("acer", "racer-r", "racer-c", "racer"):
        raise ConfigError(f"there is no variant {settings.variant!r}; choose acer, racer-r, racer-c or racer")
    weight_U = verdict_weights(table)
    sample = by_instance(table, bundles, weight_U)
    weighed = _Weighed(sample, sample.share_I, sample.share_I)
    lens = ridge.focus(sample.x_ID, table.features)
    z_IP = lens(sample.x_ID)
    fold_I = np.random.default_rng(seed).permutation(len(z_IP)) % min(FOLDS, len(z_IP))
    reward_IK, cost_IK = _out_of_fold(z_IP, weighed, fold_I)
    if not (settings.reward_set.is_plain and settings.cost_set.is_plain):
        weighed = _reweighed(table, weighed, settings, reward_IK, cost_IK)
        reward_IK, cost_IK = _out_of_fold(z_IP, weighed, fold_I)
    least_U, most_U = weighed.cost_range()
    return ValueRouter(
        purchases=table.purchases,
        bundles=tuple(tuple(int(u) for u in bundle) for bundle in bundles),
        weight_U=weight_U,
        columns=table.features,
        linear=ridge.folded(lens, *_regress(z_IP, weighed)),
        part_UK=sample.part_UK,
        least_cost_U=least_U,
        most_cost_U=most_U,
        rungs=_ladder(reward_IK, cost_IK, sample, settings),
    )


def verdict_weights(table: Table) -> Array:
    """The weight of each purchase in the verdict, fitted with all of them bought."""
    return fit_weights(table, range(len(table.purchases)))


class _Weighed(NamedTuple):
    """A sample with the weights of the fits to its rewards and to its costs."""

    sample: Sample
    reward_weight_I: Array
    cost_weight_I: Array

    def cost_range(self) -> tuple[Array, Array]:
        """The least and the greatest cost that is predicted for each purchase, shape (U,)."""
        return np.quantile(self.sample.cost_IU, CHEAP, axis=0), self.sample.cost_IU.max(axis=0)


def _out_of_fold(z_IP: Array, weighed: _Weighed, fold_I: Ints) -> tuple[Array, Array]:
    """(reward_IK, cost_IK) as predicted by fits to the other folds."""
    part_UK = weighed.sample.part_UK
    found = np.empty((len(z_IP), sum(part_UK.shape)))
    for fold in range(int(fold_I.max()) + 1):
        held = fold_I == fold
        weight_PM, bias_M = _regress(z_IP, weighed, ~held)
        found[held] = z_IP[held] @ weight_PM + bias_M
    k = part_UK.shape[1]
    return found[:, :k], np.clip(found[:, k:], *weighed.cost_range()) @ part_UK


def _regress(z_IP: Array, weighed: _Weighed, rows: Bools | slice = slice(None)) -> tuple[Array, Array]:
    """(coefficients, intercepts) of the rewards of choices, then of the costs of purchases."""
    reward_IK, cost_IU = weighed.sample.reward_IK[rows], weighed.sample.cost_IU[rows]
    solved = ridge.solve(z_IP[rows], weighed.reward_weight_I[rows])
    apart_IK = reward_IK - reward_IK.mean(axis=1, keepdims=True)
    best = int(ridge.leave_one_out(solved, apart_IK).sum(axis=1).argmin())
    of_reward = ridge.fit(solved, reward_IK, np.full(reward_IK.shape[1], ridge.PENALTIES[best]))
    if weighed.cost_weight_I is not weighed.reward_weight_I:
        solved = ridge.solve(z_IP[rows], weighed.cost_weight_I[rows])
    best_U = ridge.leave_one_out(solved, cost_IU).argmin(axis=0)
    of_cost = ridge.fit(solved, cost_IU, np.array(ridge.PENALTIES)[best_U])
    return np.concatenate([of_reward[0], of_cost[0]], axis=1), np.concatenate([of_reward[1], of_cost[1]])


def _reweighed(table: Table, weighed: _Weighed, settings: Settings, reward_IK: Array, cost_IK: Array) -> _Weighed:
    """The sample with the worst-case weights of the exact problem on the predictions."""
    sets = (settings.reward_set, settings.cost_set)
    free = Problem(np.clip(reward_IK, 0, 1), cost_IK, np.inf, BETA, *sets)
    low, high = free.cheapest_cost, worst_cost(cost_IK.max(axis=1), settings.cost_set).value
    if settings.budget is None:
        budgets = [low + share * (high - low) for share in SHARES]
    else:
        unit = float(table.cost_NU[:, list(table.bundles[0])].sum(axis=1).mean())
        budgets = [max(settings.budget * unit, low)]
    solutions = [solve(Problem(free.reward_NK, free.cost_NK, budget, BETA, *sets)) for budget in budgets]
    q_reward_I = np.mean([solution.q_reward_N for solution in solutions], axis=0)
    q_cost_I = np.mean([solution.q_cost_N for solution in solutions], axis=0)
    share_I = weighed.sample.share_I
    return weighed._replace(reward_weight_I=share_I * q_reward_I, cost_weight_I=share_I * q_cost_I)


def _ladder(predicted_IK: Array, predicted_cost_IK: Array, sample: Sample, settings: Settings) -> tuple[Rung, ...]:
    """The rungs of the policies, with what they really earn and cost in the worst mix of instances."""
    found: dict[bytes, Rung] = {}
    at, cost_IK = np.arange(len(predicted_IK)), sample.costs()
    for multiplier in multipliers(predicted_IK, predicted_cost_IK):
        choice_I = best_choice(predicted_IK, predicted_cost_IK, float(multiplier))
        if choice_I.tobytes() not in found:
            cost = worst_cost(cost_IK[at, choice_I], settings.cost_set).value
            reward = worst_reward(sample.reward_IK[at, choice_I], settings.reward_set).value
            found[choice_I.tobytes()] = Rung(float(multiplier), cost, reward)
    return tuple(sorted(found.values(), key=lambda rung: rung.cost))
