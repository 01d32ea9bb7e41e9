"""Shares, gains and agreements of judges, each with its interval. Arrays in, numbers out; nothing here reads a file.

Axes: N instances, K arms or raters, R resamples, V distinct values. `right_N` counts halves: a right verdict 2, a tie
1, anything else 0, summed over the orders that count; `orders_N` says how many orders count: 0 to 2 of one judgment.

The two orders of one pair are one cluster, not two draws, so every interval here takes the instance as its unit.
"""

from statistics import NormalDist

import krippendorff
import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

FEW = 8


class Estimate(msgspec.Struct, frozen=True):
    """A number with the ends of its interval."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        return not self.low <= value <= self.high


def wilson(share: float, n: float, level: float) -> Estimate:
    """A share of n independent draws with Wilson's score interval (n may be fractional: an effective sample size).

    >>> e = wilson(1.0, 10, 0.95)
    >>> round(e.low, 3), e.high
    (0.722, 1.0)
    """
    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    # At 0 and 1 the interval ends exactly there; rounding must not put the value outside of it.
    return Estimate(share, min(max(0.0, centre - half), share), max(min(1.0, centre + half), share))


def share(right_N: Ints, orders_N: Ints, level: float) -> Estimate | None:
    """Mean reward per order, sum(right) / 2 sum(orders), with Wilson's interval on the effective sample size.

    The effective size is p (1 - p) / var(p), var by linearisation of the ratio over instances: the number of orders
    divided by the design effect (Korn and Graubard 1998; in Wilson's interval: Kott 2017, Survey Methodology 43(2);
    recommended by Franco, Little, Louis and Slud 2019, J. Surv. Stat. Methodol. 7(3):334). It runs from the number of
    instances (orders that always agree) to the number of orders (orders that are independent), and past that where ties
    lower the variance. Departure: p and var are taken with one right and one wrong instance added, so that a sample
    without any variance (all right, all ties) still gets an honest size. None when no order counts.
    """
    ran = orders_N > 0
    right, orders = right_N[ran] / 2.0, orders_N[ran].astype(float)
    n = len(orders)
    if not n:
        return None
    typical = orders.mean()
    p = (right.sum() + typical) / (orders.sum() + 2 * typical)
    residuals = np.square(right - p * orders).sum() + typical**2 * ((1 - p) ** 2 + p**2)
    effective = p * (1 - p) * (orders.sum() + 2 * typical) ** 2 / residuals * n / (n + 2)
    return wilson(float(right.sum() / orders.sum()), float(effective), level)


def paired_gain(
    base: tuple[Ints, Ints], other: tuple[Ints, Ints], *, level: float, resamples: int, seed: int
) -> Estimate | None:
    """Accuracy of `other` minus that of `base`, each (right_N, orders_N), with a paired percentile bootstrap interval.

    Instances are resampled whole. Because an instance takes one of few distinct values, drawing how often each value
    comes from a multinomial is the same as drawing N instances, and its time does not depend on N. The percentiles are
    further out than `level` says, by as much as Student's t with its sqrt(N / (N - 1)) is wider than the normal: the
    expanded percentile interval (Hesterberg, arXiv 1411.5279), since the plain one is too narrow for few instances.
    Of fewer than FEW instances, or where all differ by the same amount, the bootstrap knows too little; there a share
    u = 1 - (alpha/2)^(1/N) of the population may be anywhere in [-1, 1] and still be unseen (Clopper and Pearson),
    which bounds the gain. None when an arm has no order.
    """
    values_4N = np.stack([*base, *other]).astype(np.int64)
    values_4N = values_4N[:, (values_4N[1] > 0) | (values_4N[3] > 0)]
    n = values_4N.shape[1]
    if not n or not values_4N[1].any() or not values_4N[3].any():
        return None
    values_V4, counts_V = _distinct(values_4N)
    gain = float(_gain(counts_V[None, :] @ values_V4)[0])
    sums_R4 = np.random.default_rng(seed).multinomial(n, counts_V / n, size=resamples) @ values_V4
    gain_R = _gain(sums_R4[(sums_R4[:, 1] > 0) & (sums_R4[:, 3] > 0)])
    tail = float(special.ndtr(special.stdtrit(n - 1, (1 - level) / 2) * np.sqrt(n / (n - 1)))) if n > 1 else 0.0
    low, high = (float(q) for q in np.quantile(gain_R, [tail, 1 - tail]))
    if n < FEW or high - low < 1e-12:
        unseen = 1 - ((1 - level) / 2) ** (1 / n)
        low, high = min(low, gain - (gain + 1) * unseen), max(high, gain + (1 - gain) * unseen)
    return Estimate(gain, low, high)


def _gain(sums_R4: Ints) -> Floats:
    return sums_R4[:, 2] / (2.0 * sums_R4[:, 3]) - sums_R4[:, 0] / (2.0 * sums_R4[:, 1])


def _distinct(values_KN: Ints) -> tuple[Ints, Ints]:
    """The distinct columns (V, K) of whole numbers >= 0, and how often each stands."""
    code_N = np.zeros(values_KN.shape[1], dtype=np.int64)
    for row in values_KN:
        code_N = code_N * (int(row.max()) + 1) + row
    _, first_V, counts_V = np.unique(code_N, return_index=True, return_counts=True)
    return values_KN[:, first_V].T, counts_V


def mcnemar(only_base: int, only_other: int) -> float:
    """Exact two-sided p of McNemar's test: the smaller discordant count under Binomial(sum, 1/2); 1 without any.

    >>> round(mcnemar(2, 10), 4)
    0.0386
    """
    few, total = min(only_base, only_other), only_base + only_other
    return 1.0 if 2 * few >= total else min(1.0, 2 * float(special.bdtr(few, total, 0.5)))


def kappa(x_N: Ints, y_N: Ints) -> float | None:
    """Cohen's kappa (1960) of two raters' categories, whole numbers >= 0; None when chance alone would agree always."""
    if not len(x_N):
        return None
    size = int(max(x_N.max(), y_N.max())) + 1
    table = np.bincount(x_N * size + y_N, minlength=size * size).reshape(size, size) / len(x_N)
    chance = float(table.sum(axis=0) @ table.sum(axis=1))
    return None if chance >= 1 else (float(np.trace(table)) - chance) / (1 - chance)


def alpha(ratings_KN: Ints) -> float | None:
    """Krippendorff's alpha, nominal, of K raters; a rating below 0 is missing.

    None without two categories or without a unit rated twice: agreement beyond chance has no meaning then.
    """
    size = int(ratings_KN.max(initial=-1)) + 1
    counts_NV = np.stack([(ratings_KN == v).sum(axis=0) for v in range(size)], axis=1) if size else np.empty((0, 0))
    counts_NV = counts_NV[counts_NV.sum(axis=1) > 1]
    counts_NV = counts_NV[:, counts_NV.sum(axis=0) > 0]
    if not len(counts_NV) or counts_NV.shape[1] < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts_NV, level_of_measurement="nominal"))


def interval_alpha(x_N: Floats, y_N: Floats) -> float | None:
    """Krippendorff's alpha, interval scale, of two raters who rated every item: 1 - D_o / D_e, in closed form.

    None for fewer than two items, or where all ratings are equal.

    >>> interval_alpha(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    1.0
    """
    if len(x_N) < 2:
        return None
    pooled = np.concatenate([x_N, y_N]).astype(float)
    expected = 2 * float(pooled.var()) * len(pooled) / (len(pooled) - 1)
    if expected == 0:
        return None
    return float(1 - np.square(np.asarray(x_N, dtype=float) - y_N).mean() / expected)


def mean_interval(values_N: Floats, level: float) -> Estimate:
    """The mean with Student's interval; no width is known of one value, and all its ends are the value."""
    center = float(np.mean(values_N))
    if len(values_N) < 2:
        return Estimate(center, center, center)
    wide = float(special.stdtrit(len(values_N) - 1, (1 + level) / 2) * np.std(values_N, ddof=1) / len(values_N) ** 0.5)
    return Estimate(center, center - wide, center + wide)


def mean(values_N: Floats) -> float | None:
    """The mean of what is known (not NaN); None when nothing is."""
    known = values_N[~np.isnan(values_N)]
    return float(known.mean()) if len(known) else None
