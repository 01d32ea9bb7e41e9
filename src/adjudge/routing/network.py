"""The paper's network router: features -> four layers -> probabilities of the arms, trained by primal and dual steps.

On a batch of instances with policy p, r_i(p) and c_i(p) as in problem.py, one step

    1. weighs      q^r_i ~ exp((mean_j r_j - r_i) / tau_r), q^c_i ~ exp((c_i - mean_j c_j) / tau_c), sum 1, held fixed
    2. descends    -q^r.r(p) + lambda q^c.c(p) - beta mean_i H(p_i) by the network's weights (AdamW)
    3. multiplier  lambda = max(0, lambda + dual_rate (cost - budget))

and of all epochs the one of the highest reward on validation instances counts, among those within budget there; where
there is none, the one of the lowest cost, and the router says so (`within`).

Source: Algorithm 1 of arXiv 2605.10805 and its published defaults (`PUBLISHED`): layers 256-128-64, ReLU, AdamW 1e-3
with PyTorch's defaults for all else, batches of 128, 20 epochs, dual rate 1e-2, tau_r 1, tau_c 50, beta 0.005, 20 %
validation; lambda starts at 0 and moves once an epoch by the plain mean of the epoch's costs. Departures: a softmax
over K arms for the sigmoid of two; features are standardised; costs are in mean costs of the cheapest arm that has any.

`SMALL` is for hundreds or a few thousand instances: at least 800 steps, costs in budgets, and the multiplier moves
every step by the worst-case cost that the objective has, so that it can settle.

One network serves one budget; a router holds one for each of a few, and the cheapest arm always, and meets budgets in
between by mixing. Axes: I instances, B those of a batch, D features, K arms; H units of a layer.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from scipy.special import entr
from threadpoolctl import threadpool_limits

from adjudge.errors import ConfigError
from adjudge.routing import ridge
from adjudge.routing.ambiguity import Array, cost_weights, reward_weights
from adjudge.routing.features import checked, checked_finite
from adjudge.routing.ladder import Rung
from adjudge.routing.mlp import AdamW, Layers, backward, first_layers, forward, softmax
from adjudge.routing.ridge import Lens
from adjudge.routing.router import State, still_missing
from adjudge.routing.sample import by_instance
from adjudge.routing.table import Ints, Purchase, Seen, Table

SHARES = (0.15, 0.35, 0.6, 0.85)  # of the way from the cheapest to the dearest arm: budgets when none are given


class Schedule(NamedTuple):
    """How to train. `steps`: at least as many, whatever the epochs; `cost_in_budgets`, `dual_each_step`: see module."""

    rate: float = 1e-3
    dual_rate: float = 1e-2
    batch: int = 128
    epochs: int = 20
    steps: int = 0
    beta: float = 0.005
    validation: float = 0.2
    cost_in_budgets: bool = False
    dual_each_step: bool = False


PUBLISHED = Schedule()
SMALL = Schedule(steps=800, cost_in_budgets=True, dual_each_step=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """`budgets`, in mean costs of the first arm: one network each. Temperatures count where the variant names them;
    that of costs is in mean costs of the cheapest arm. `beta`: entropy weight."""

    variant: Literal["acer", "racer-r", "racer-c", "racer"] = "racer"
    schedule: Literal["published", "small"] = "small"
    budgets: tuple[float, ...] = ()
    temperature_reward: float = 1.0
    temperature_cost: float = 50.0
    beta: float = PUBLISHED.beta

    def temperatures(self) -> tuple[float, float]:
        """(tau_r, tau_c); infinity is the plain mean."""
        if self.variant not in ("acer", "racer-r", "racer-c", "racer"):
            raise ConfigError(f"there is no variant {self.variant!r}; choose acer, racer-r, racer-c or racer")
        tau_r = self.temperature_reward if self.variant in ("racer", "racer-r") else np.inf
        return tau_r, self.temperature_cost if self.variant in ("racer", "racer-c") else np.inf


class Trained(NamedTuple):
    layers: Layers
    multiplier: float  # lambda at the epoch that was taken, in reward per mean cost of the cheapest arm
    reward: float  # on the validation instances
    cost: float  # there, in mean costs of the cheapest arm
    within: bool  # whether that is within budget


@dataclass(frozen=True, slots=True, eq=False)
class NetworkRouter:
    """See the module. Each rung has its net; one of them, without hidden layers, takes the arm of the lowest mean cost
    always. A rung's cost is the mean over all fitting rows, its reward the mean over the validation instances."""

    purchases: tuple[Purchase, ...]
    bundles: tuple[tuple[int, ...], ...]  # of the arms in the order of their names: no order of arms changes a draw
    columns: tuple[str, ...]
    low_D: Array  # features are clipped to the range of the fit, and the nets read what they are above its lower end
    high_D: Array
    nets: tuple[Layers, ...]
    rungs: tuple[Rung, ...]
    within: tuple[bool, ...]  # of each net, whether its cost was within its budget on the validation instances

    def probabilities(self, x_ND: Array, rung: int) -> Array:
        """p_NK, of `bundles`. Raises DataError for features that are not finite, or not those of the fit."""
        checked(x_ND, self.columns)
        above_ND = np.minimum(np.maximum(x_ND, self.low_D), self.high_D) - self.low_D
        return softmax(forward(self.nets[rung], _single(above_ND))[-1])

    def decide(self, seen: Seen, rung: int, draw_N: Array) -> Ints:
        below_NK = np.cumsum(self.probabilities(seen.x_ND, rung), axis=1)[:, :-1] <= draw_N[:, None]
        return still_missing(self.bundles, below_NK.sum(axis=1), seen.bought_NU)

    def weights(self, rung: int) -> Array:  # noqa: ARG002  a single arm speaks
        return np.ones(len(self.purchases))

    def state(self) -> State:
        card: dict[str, Any] = {
            "purchases": [list(p) for p in self.purchases],
            "bundles": [list(b) for b in self.bundles],
            "columns": list(self.columns),
            "rungs": [list(r) for r in self.rungs],
            "within": list(self.within),
            "layers": [len(layers) for layers in self.nets],
        }
        arrays = {"low_D": self.low_D, "high_D": self.high_D}
        for j, layers in enumerate(self.nets):
            for k, (weight, bias) in enumerate(layers):
                arrays |= {f"net{j}.{k}.weight": weight, f"net{j}.{k}.bias": bias}
        return State(card, arrays)


def restore(state: State) -> NetworkRouter:
    """The router that was saved."""
    card, arrays = state
    nets = tuple(
        [(arrays[f"net{j}.{k}.weight"], arrays[f"net{j}.{k}.bias"]) for k in range(count)]
        for j, count in enumerate(card["layers"])
    )
    return NetworkRouter(
        purchases=tuple(Purchase(*p) for p in card["purchases"]),
        bundles=tuple(tuple(b) for b in card["bundles"]),
        columns=tuple(card["columns"]),
        low_D=arrays["low_D"],
        high_D=arrays["high_D"],
        nets=nets,
        rungs=tuple(Rung(*r) for r in card["rungs"]),
        within=tuple(card["within"]),
    )


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> NetworkRouter:
    """One network a budget. Deterministic by seed, which draws validation instances, first weights and batches.

    Raises DataError for features that are not finite.
    """
    checked_finite(table.x_ND, table.features)
    sample = by_instance(table, table.bundles, np.ones(len(table.purchases)))
    cost_IK = sample.costs()
    mean_K = sample.share_I @ cost_IK
    budgets = [budget * float(mean_K[0]) for budget in settings.budgets]
    budgets = budgets or [float(mean_K.min() + share * np.ptp(mean_K)) for share in SHARES]
    unit = float(mean_K[mean_K > 0].min(initial=np.inf))
    unit = unit if np.isfinite(unit) else 1.0
    lens = ridge.focus(sample.x_ID, ("",) * sample.x_ID.shape[1])
    schedule = (PUBLISHED if settings.schedule == "published" else SMALL)._replace(beta=settings.beta)
    held = _held_out(len(cost_IK), schedule.validation, seed)
    z_ID = _single(lens(sample.x_ID))
    order = np.argsort(table.arms)
    reward_IK, cost_IK = sample.reward_IK[:, order], cost_IK[:, order] / unit
    trained = [_always(int(cost_IK.mean(axis=0).argmin()), z_ID, reward_IK[held], cost_IK[held])]
    tau = settings.temperatures()
    with threadpool_limits(1):  # many small products: more threads only wait for each other
        trained += [train(z_ID, reward_IK, cost_IK, b / unit, held, schedule, tau, seed) for b in budgets]
    rungs = [_rung(one, z_ID, cost_IK, sample.share_I, unit) for one in trained]
    rising = sorted(range(len(rungs)), key=lambda k: (rungs[k].cost, rungs[k].reward))
    return NetworkRouter(
        purchases=table.purchases,
        bundles=tuple(table.bundles[k] for k in order),
        columns=table.features,
        low_D=lens.low_D,
        high_D=lens.high_D,
        nets=tuple(_unscaled(trained[k].layers, lens) for k in rising),
        rungs=tuple(rungs[k] for k in rising),
        within=tuple(trained[k].within for k in rising),
    )


def train(
    z_ID: Array,
    reward_IK: Array,
    cost_IK: Array,
    budget: float,
    held: Ints,
    schedule: Schedule,
    temperatures: tuple[float, float],
    seed: int,
) -> Trained:
    """Train one network on the instances that are not held out, and take its best epoch."""
    rng = np.random.default_rng([seed, 1])
    reward_IK, cost_IK = reward_IK.astype(z_ID.dtype), cost_IK.astype(z_ID.dtype)
    rows = np.setdiff1d(np.arange(len(z_ID)), held)
    unit = budget if schedule.cost_in_budgets and budget > 0 else 1.0
    cost_IK, limit, tau_r, tau_c = cost_IK / unit, budget / unit, temperatures[0], temperatures[1] / unit
    layers = first_layers(z_ID.shape[1], reward_IK.shape[1], rng, z_ID.dtype)
    optimiser, multiplier = AdamW(layers, schedule.rate), 0.0
    batches = -(-len(rows) // schedule.batch)
    best = Trained([], 0.0, -np.inf, np.inf, False)
    for _ in range(max(schedule.epochs, -(-schedule.steps // batches))):
        spent = []
        for batch in np.array_split(rng.permutation(rows), batches):
            outputs = forward(layers, _apart(z_ID[batch]))
            p_BK = np.broadcast_to(softmax(outputs[-1]), (len(batch), reward_IK.shape[1]))
            q_r, q_c = batch_weights(p_BK, reward_IK[batch], cost_IK[batch], tau_r, tau_c)
            slope_BK = policy_slope(p_BK, reward_IK[batch], cost_IK[batch], q_r, q_c, multiplier, schedule.beta)
            optimiser.step(layers, backward(layers, outputs, slope_BK if z_ID.shape[1] else slope_BK.sum(axis=0)[None]))
            cost_B = np.einsum("bk,bk->b", p_BK, cost_IK[batch])
            spent.append(float(cost_B.mean()))
            if schedule.dual_each_step:
                multiplier = max(0.0, multiplier + schedule.dual_rate * (float(q_c @ cost_B) - limit))
        if not schedule.dual_each_step:
            multiplier = max(0.0, multiplier + schedule.dual_rate * (float(np.mean(spent)) - limit))
        p_BK = softmax(forward(layers, z_ID[held])[-1])
        reward, cost = (float(np.einsum("bk,bk->b", p_BK, of[held]).mean()) for of in (reward_IK, cost_IK))
        now = Trained(layers, multiplier / unit, reward, cost * unit, cost <= limit * (1 + 1e-9))
        if _better(now, best):
            best = now._replace(layers=[(weight.copy(), bias.copy()) for weight, bias in layers])
    return best


def batch_weights(p_BK: Array, reward_BK: Array, cost_BK: Array, tau_r: float, tau_c: float) -> tuple[Array, Array]:
    """(q^r, q^c), shape (B,) each, of the policy on a batch."""
    reward_B, cost_B = (np.einsum("bk,bk->b", p_BK, of) for of in (reward_BK, cost_BK))
    return reward_weights(reward_B, tau_r), cost_weights(cost_B, tau_c)


def loss(
    p_BK: Array, reward_BK: Array, cost_BK: Array, q_r: Array, q_c: Array, multiplier: float, beta: float
) -> float:
    """-q^r.r(p) + lambda q^c.c(p) - beta mean H(p), the weights being given."""
    reward_B, cost_B = (np.einsum("bk,bk->b", p_BK, of) for of in (reward_BK, cost_BK))
    return float(-q_r @ reward_B + multiplier * (q_c @ cost_B) - beta * entr(p_BK).sum(axis=1).mean())


def policy_slope(
    p_BK: Array, reward_BK: Array, cost_BK: Array, q_r: Array, q_c: Array, multiplier: float, beta: float
) -> Array:
    """Gradient of `loss` by the logits, shape (B, K)."""
    by_p_BK = multiplier * q_c[:, None] * cost_BK - q_r[:, None] * reward_BK
    by_p_BK = by_p_BK + beta / len(p_BK) * np.log(np.maximum(p_BK, np.finfo(p_BK.dtype).tiny))
    return np.asarray(p_BK * (by_p_BK - np.einsum("bk,bk->b", p_BK, by_p_BK)[:, None]))


def _single(x: Array) -> Array:
    """In single precision, which halves the time; types here do not tell precisions apart."""
    return cast(Array, x.astype(np.float32))


def _apart(z_BD: Array) -> Array:
    """The rows that a net can tell apart: one of them where there is no feature."""
    return z_BD if z_BD.shape[1] else z_BD[:1]


def _better(one: Trained, other: Trained) -> bool:
    if one.within != other.within:
        return one.within
    return one.reward > other.reward if one.within else one.cost < other.cost


def _held_out(count: int, share: float, seed: int) -> Ints:
    held = np.random.default_rng([seed, 0]).permutation(count)[: max(round(count * share), 1)]
    return np.sort(held)


def _always(arm: int, z_ID: Array, reward_VK: Array, cost_VK: Array) -> Trained:
    """The net that takes one arm whatever it reads, with its figures on the validation instances."""
    weight, bias = np.zeros((z_ID.shape[1], reward_VK.shape[1])), np.full(reward_VK.shape[1], -np.inf)
    bias[arm] = 0.0
    layers = [(_single(weight), _single(bias))]
    return Trained(layers, np.inf, float(reward_VK[:, arm].mean()), float(cost_VK[:, arm].mean()), True)


def _unscaled(layers: Layers, lens: Lens) -> Layers:
    """The same net for features less the lower end of their range: its first layer takes in the scaling."""
    weight, bias = layers[0]
    bias = bias + (lens.low_D @ lens.matrix_DP + lens.offset_P) @ weight
    return [(_single(lens.matrix_DP @ weight), _single(bias)), *layers[1:]]


def _rung(trained: Trained, z_ID: Array, cost_IK: Array, share_I: Array, unit: float) -> Rung:
    p_IK = softmax(forward(trained.layers, z_ID)[-1])
    cost = float(share_I @ np.einsum("ik,ik->i", p_IK, cost_IK))
    return Rung(trained.multiplier / unit, cost * unit, trained.reward)
