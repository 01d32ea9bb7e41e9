"""How far traffic has moved from the data that a router was fitted on, in the unit of its radius: nats of KL.

A router that is fitted for a radius rho holds for every mix q of the fitting instances with KL(q || uniform) <= rho. Of
the traffic only features are known, no instance of the fit. So the question is put the other way round: what is the
least KL of a reweighting of the fitting instances that has the traffic's mean features?

    min_q KL(q || uniform)  subject to  sum_i q_i z_i = m

z_i are the features of fitting instance i, m the traffic's mean. The solution is an exponential tilt, q_i proportional
to exp(t . z_i), of the family that the worst case has (ambiguity.py); the value is max_t t . m - log mean exp(t . z_i)
(Csiszar 1975; as a way to balance samples: Hainmueller 2012). It is a lower bound: a shift that leaves these means
alone is not seen. A mean that no reweighting has, outside of the convex hull of the z_i, is as far as can be: log N.

Features are standardised and projected on their first principal components, few enough for their mean to be known from
a few hundred pairs. Chance alone makes the value about chi2_C / 2 (1/n + 1/N); `least` takes its 99 % quantile off.

Axes: N fitting instances, D features, C components; n, the pairs that the traffic's mean is over.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.stats import chi2

from adjudge.routing.ambiguity import Array

COMPONENTS = 6
MOST_ROWS = 1000
STEEPEST = 30.0  # of the tilt, per standard deviation of a component: beyond it lies the edge of the hull
CHANCE = 0.99


class Reference(NamedTuple):
    """The fitting data in components. A feature d counts as (x_d - mean_D) @ axes_DC, which has spread 1 in each."""

    mean_D: Array
    axes_DC: Array
    z_NC: Array

    def components(self, x_ND: Array) -> Array:
        return np.asarray((x_ND - self.mean_D) @ self.axes_DC)


class Shift(NamedTuple):
    """`kl`: least KL in nats between fitting data and traffic; `least`: that less what chance makes of it, 0 or more;
    `pairs`: what the traffic's mean is over."""

    kl: float
    least: float
    pairs: float


def reference(x_ND: Array) -> Reference | None:
    """The fitting data to compare traffic with; None where it has no features that differ."""
    mean_D, scale_D = x_ND.mean(axis=0), x_ND.std(axis=0)
    varying = scale_D > 1e-9 * np.maximum(np.abs(mean_D), 1.0)
    if len(x_ND) < 2 or not varying.any():
        return None
    weight_D = np.where(varying, 1.0 / np.where(varying, scale_D, 1.0), 0.0)
    _, spread, axes_CD = np.linalg.svd((x_ND - mean_D) * weight_D, full_matrices=False)
    kept = min(COMPONENTS, int((spread > 1e-6 * spread[0]).sum()))
    axes_DC = weight_D[:, None] * axes_CD[:kept].T * (len(x_ND) ** 0.5 / spread[:kept])
    rows = np.linspace(0, len(x_ND) - 1, min(len(x_ND), MOST_ROWS)).astype(int)
    return Reference(mean_D, axes_DC, (x_ND[rows] - mean_D) @ axes_DC)


def shift(fitted: Reference, mean_C: Array, pairs: float) -> Shift:
    """How far traffic is whose components have this mean over so many pairs."""
    count, size = fitted.z_NC.shape
    centred_NC = fitted.z_NC - mean_C

    def dual(tilt_C: Array) -> tuple[float, Array]:
        exponent_N = centred_NC @ tilt_C
        top = float(exponent_N.max())
        weight_N = np.exp(exponent_N - top)
        total = float(weight_N.sum())
        return top + math.log(total / count), np.asarray(weight_N @ centred_NC / total)

    bounds = [(-STEEPEST, STEEPEST)] * size
    found = minimize(dual, np.zeros(size), jac=True, method="L-BFGS-B", bounds=bounds)
    kl = min(max(0.0, -float(found.fun)), math.log(count))
    chance = float(chi2.ppf(CHANCE, size)) / 2 * (1 / max(pairs, 1.0) + 1 / count)
    return Shift(kl, max(0.0, kl - chance), pairs)


class Traffic(NamedTuple):
    """The mean components of what came, the older ones fading: `memory` pairs count."""

    sum_C: Array
    weight: float = 0.0
    squares: float = 0.0

    def seen(self, z_C: Array, memory: int) -> "Traffic":
        keep = 1 - 1 / memory
        return Traffic(keep * self.sum_C + z_C, keep * self.weight + 1, keep * keep * self.squares + 1)

    @property
    def mean(self) -> Array:
        return np.asarray(self.sum_C / max(self.weight, 1e-12))

    @property
    def pairs(self) -> float:
        """How many pairs of equal weight would tell as much."""
        return self.weight**2 / self.squares if self.squares else 0.0


def nothing(fitted: Reference) -> Traffic:
    return Traffic(np.zeros(fitted.z_NC.shape[1]))


def arrays(fitted: Reference) -> dict[str, Array]:
    """To be kept in a file; `restored` reads them."""
    return {name: np.asarray(value, dtype=np.float32) for name, value in fitted._asdict().items()}


def restored(kept: Mapping[str, Array]) -> Reference | None:
    """What `arrays` gave; None where a part is missing."""
    if not all(name in kept for name in Reference._fields):
        return None
    return Reference(*(np.asarray(kept[name], dtype=np.float64) for name in Reference._fields))
