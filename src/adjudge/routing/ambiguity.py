"""How the mix of instances may shift, and the worst that it can do: KL balls around the uniform mix.

Values v_1..v_N belong to instances that are equally likely on the fitting data. A shift reweighs them with q, at a
distance KL(q || uniform) = sum_i q_i log(N q_i), in nats. The worst mean of a cost is the largest, of a reward the
smallest; its weights are exponential tilts (Theorem 3.1 of arXiv 2605.10805):

    cost    q_i proportional to exp((v_i - s) / tau)
    reward  q_i proportional to exp((s - v_i) / tau)        s: any constant, it cancels

tau, the temperature, has the unit of the values: small is extreme. There are two forms, kept apart by their types:

- `Radius(rho)`: the worst mean over all q with KL <= rho. tau is whatever makes KL equal to rho.
- `Temperature(tau)`: the soft maximum tau log mean exp(v / tau), which is max over q of q.v - tau KL(q || uniform).

They share their weights where KL(q_tau || uniform) = rho; there the soft maximum is lower than the worst mean by tau
rho. A radius of log(N / m) or more, m the number of instances that share the largest value, is unreachable by any tau >
0: the worst mean is then the maximum itself, tau = 0, and q is uniform over those m.

Departure from the paper: it fixes tau by grid and leaves open how its radius relates to it; here a radius is solved
for.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import kl_div

from adjudge.errors import ConfigError

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Radius:
    """All mixes within `rho` nats of the uniform one; 0 is the plain mean."""

    rho: float = 0.0

    def __post_init__(self) -> None:
        if not self.rho >= 0:
            raise ConfigError(f"radius {self.rho} must be 0 (the plain mean) or more, in nats")

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the plain mean is meant."""
        return self.rho == 0


@dataclass(frozen=True, slots=True)
class Temperature:
    """The soft maximum at `tau`, in the unit of the values; infinity is the plain mean."""

    tau: float = math.inf

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ConfigError(f"temperature {self.tau} must be above 0; for the maximum itself use a large radius")

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the plain mean is meant."""
        return self.tau == math.inf


Ambiguity: TypeAlias = Radius | Temperature
PLAIN = Radius(0)  # the plain mean: no shift at all


class Worst(NamedTuple):
    value: float  # worst mean (Radius) or soft maximum (Temperature), in the unit of the values
    q_N: Array  # weights that attain it; they sum to one
    tau: float  # their temperature: 0 for the maximum itself, infinity for the plain mean


def worst_cost(cost_N: Array, ambiguity: Ambiguity) -> Worst:
    """The largest mean cost that the ambiguity allows.

    >>> worst = worst_cost(np.array([1.0, 1.0, 4.0]), Radius(math.log(3)))
    >>> worst.value, worst.tau, worst.q_N.tolist()
    (4.0, 0.0, [0.0, 0.0, 1.0])
    >>> round(worst_cost(np.array([0.0, math.log(3)]), Temperature(1)).value, 6)  # log of the mean of 1 and 3
    0.693147
    """
    if isinstance(ambiguity, Temperature):
        q_N = cost_weights(cost_N, ambiguity.tau)
        return Worst(soft_maximum(cost_N, ambiguity.tau), q_N, ambiguity.tau)
    tau = temperature_at(cost_N, ambiguity.rho)
    q_N = cost_weights(cost_N, tau)
    return Worst(float(q_N @ cost_N), q_N, tau)


def worst_reward(reward_N: Array, ambiguity: Ambiguity) -> Worst:
    """The smallest mean reward that the ambiguity allows.

    >>> worst_reward(np.array([1.0, 0.0, 0.5, 0.5]), Radius(0)).value
    0.5
    """
    worst = worst_cost(-reward_N, ambiguity)
    return worst._replace(value=-worst.value)


def cost_weights(cost_N: Array, tau: float) -> Array:
    """Worst-case weights of costs at temperature tau: q_i proportional to exp(cost_i / tau), summing to one.

    tau 0 gives equal weight to all that share the largest cost, infinity to all instances.

    >>> cost_weights(np.array([0.0, 2 * math.log(3)]), 2.0).round(6).tolist()  # odds 1 : 3
    [0.25, 0.75]
    >>> cost_weights(np.array([1e6, 1e6, 0.0]), 1e-3).tolist()
    [0.5, 0.5, 0.0]
    """
    w_N = np.exp(_exponent(cost_N, tau))
    return np.asarray(w_N / w_N.sum())


def reward_weights(reward_N: Array, tau: float) -> Array:
    """Worst-case weights of rewards at temperature tau: q_i proportional to exp(-reward_i / tau), summing to one.

    >>> reward_weights(np.array([0.0, math.log(4)]), 1.0).round(6).tolist()  # odds 4 : 1
    [0.8, 0.2]
    """
    return cost_weights(-reward_N, tau)


def soft_maximum(value_N: Array, tau: float) -> float:
    """tau log mean exp(value / tau): the mean at infinite tau, the maximum at 0, without overflow in between."""
    if tau == 0:
        return float(value_N.max())
    if tau == math.inf:
        return float(value_N.mean())
    middle = value_N.mean()
    x_N = (value_N - middle) / tau
    if abs(x_N).max() < 1:  # a logarithm of nearly one would lose the small differences
        return float(middle + tau * np.log1p(np.expm1(x_N).mean()))
    return float(value_N.max() + tau * np.log(np.exp(_exponent(value_N, tau)).mean()))


def divergence(q_N: Array) -> float:
    """KL(q || uniform) in nats, of weights that sum to one.

    >>> divergence(np.array([0.0, 1.0])) == math.log(2)
    True
    """
    return float(kl_div(q_N * len(q_N), 1.0).mean())


def radius_at(cost_N: Array, tau: float) -> float:
    """Radius that the worst-case weights of costs at temperature tau lie at; for rewards give their negatives.

    >>> radius_at(np.array([0.0, 1.0]), 0.0) == math.log(2), radius_at(np.array([0.0, 1.0]), math.inf)
    (True, 0.0)
    """
    return divergence(cost_weights(cost_N, tau))


def temperature_at(cost_N: Array, rho: float) -> float:
    """Temperature whose worst-case weights of costs lie at radius rho: the inverse of `radius_at`.

    0 where the radius cannot be reached, that is from log(N / m) on with m instances at the largest cost; infinity for
    rho = 0. Falls as rho grows.

    >>> costs = np.array([1.0, 2.0, 5.0])
    >>> tau = temperature_at(costs, 0.3)
    >>> abs(radius_at(costs, tau) - 0.3) < 1e-12, temperature_at(costs, math.log(3))
    (True, 0.0)
    """
    if rho == 0:
        return math.inf
    top = cost_N.max()
    if rho >= math.log(len(cost_N) / np.count_nonzero(cost_N == top)):
        return 0.0
    spread = float(top - cost_N.min())
    below_N = (cost_N - top) / spread  # from -1 to 0, however close the costs are

    def excess(log_tau: float) -> float:
        return radius_at(below_N, math.exp(log_tau)) - rho

    # to second order KL = var / (2 tau^2); from there outwards until the root is between
    guess = math.log(float(below_N.std())) - math.log(2 * rho) / 2
    low, high = guess - 0.5, guess + 0.5
    while excess(low) < 0:
        low -= 2
    while excess(high) > 0:
        high += 2
    return spread * math.exp(brentq(excess, low, high, xtol=1e-15, rtol=1e-14))


def _exponent(cost_N: Array, tau: float) -> Array:
    """(cost - largest cost) / tau, at both ends of tau too."""
    below_N = cost_N - cost_N.max()
    if tau == 0:
        return np.where(below_N == 0, 0.0, -np.inf)
    with np.errstate(over="ignore"):
        return np.asarray(below_N / tau)
