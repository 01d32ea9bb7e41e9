"""Ridge regression of many targets at once, with weighted instances and its leave-one-out errors in closed form.

A `Lens` first turns raw features into what the regression reads: clipped to the range that was seen in fitting (a new
domain is not extrapolated to), centred, scaled, and embeddings reduced to their first principal components. All that is
linear but for the clipping, so lens and regression fold into one matrix: predicting is one product.

Axes: I instances, D raw features, P read ones, M targets, A penalties. Penalties are shares of the summed weights, so
that 1 halves the coefficient of a standardised feature; infinity leaves the mean alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.utils.extmath import randomized_svd

from adjudge.routing.ambiguity import Array
from adjudge.routing.features import is_embedded

PENALTIES = (*(float(p) for p in np.geomspace(1e-3, 1e2, 16)), np.inf)
COMPONENTS = 32  # of embeddings; more gained nothing
TOGETHER = 1024  # rows that are clipped at once: few enough to stay in the processor's cache
SAME = 1e-9  # a column that varies less than this share of its size is constant


class Lens(NamedTuple):
    low_D: Array
    high_D: Array
    matrix_DP: Array
    offset_P: Array

    def __call__(self, x_ID: Array) -> Array:
        return np.asarray(np.clip(x_ID, self.low_D, self.high_D) @ self.matrix_DP + self.offset_P)


class Linear(NamedTuple):
    """Raw features -> targets. `low_D`, `high_D`: as the lens."""

    low_D: Array
    high_D: Array
    matrix_DM: Array
    bias_M: Array

    def __call__(self, x_ND: Array) -> Array:
        if len(x_ND) <= TOGETHER:
            return np.asarray(np.minimum(np.maximum(x_ND, self.low_D), self.high_D) @ self.matrix_DM + self.bias_M)
        return np.concatenate([self(x_ND[k : k + TOGETHER]) for k in range(0, len(x_ND), TOGETHER)])


class Solved(NamedTuple):
    """The spectrum of one weighted table of features, from which every penalty's fit follows."""

    z_IP: Array  # centred by weight
    mean_P: Array
    weight_I: Array  # they sum to one
    value_P: Array  # eigenvalues of z' diag(weight) z
    vector_PP: Array


def focus(x_ID: Array, columns: Sequence[str], components: int = COMPONENTS) -> Lens:
    """The lens of a table of finite features. Labels play no part."""
    low_D, high_D = x_ID.min(axis=0), x_ID.max(axis=0)
    mean_D, sd_D = x_ID.mean(axis=0), x_ID.std(axis=0)
    embedded_D = is_embedded(columns)
    varies_D = high_D - low_D > SAME * np.maximum(np.abs(low_D), np.abs(high_D))
    plain = np.flatnonzero(varies_D & ~embedded_D)
    matrix_DP = np.zeros((x_ID.shape[1], len(plain)))
    matrix_DP[plain, np.arange(len(plain))] = 1 / sd_D[plain]
    dims = np.flatnonzero(varies_D & embedded_D)
    if len(dims):
        centred = x_ID[:, dims] - mean_D[dims]
        count = min(components, *centred.shape)
        _, size, axes = randomized_svd(centred, count, random_state=0)
        matrix = np.zeros((x_ID.shape[1], count))
        matrix[dims] = axes.T * np.sqrt(len(x_ID)) / size[0]  # the first has unit variance, the others less
        matrix_DP = np.concatenate([matrix_DP, matrix], axis=1)
    return Lens(low_D, high_D, matrix_DP, -mean_D @ matrix_DP)


def solve(z_IP: Array, weight_I: Array) -> Solved:
    share_I = weight_I / weight_I.sum()
    mean_P = share_I @ z_IP
    z_IP = z_IP - mean_P
    value_P, vector_PP = np.linalg.eigh((z_IP * share_I[:, None]).T @ z_IP)
    return Solved(z_IP, mean_P, share_I, np.maximum(value_P, 0.0), vector_PP)


def fit(solved: Solved, y_IM: Array, penalty_M: Array) -> tuple[Array, Array]:
    """(coefficients, shape (P, M), intercepts, shape (M,)) with one penalty a target."""
    mean_M = solved.weight_I @ y_IM
    moment_PM = solved.vector_PP.T @ ((solved.z_IP * solved.weight_I[:, None]).T @ (y_IM - mean_M))
    weight_PM = solved.vector_PP @ (moment_PM / (solved.value_P[:, None] + penalty_M))
    return weight_PM, mean_M - solved.mean_P @ weight_PM


def leave_one_out(solved: Solved, y_IM: Array, penalties: Sequence[float] = PENALTIES) -> Array:
    """Mean squared error of each target and penalty, each instance predicted by the fit to all others; shape (A, M)."""
    mean_M = solved.weight_I @ y_IM
    turned_IP = solved.z_IP @ solved.vector_PP
    moment_PM = (turned_IP * solved.weight_I[:, None]).T @ (y_IM - mean_M)
    shrunk_PA = 1 / (solved.value_P[:, None] + np.array(penalties))
    hat_IA = solved.weight_I[:, None] * (1 + turned_IP**2 @ shrunk_PA)
    flat = hat_IA.shape[1] * len(mean_M)
    fitted = turned_IP @ (shrunk_PA[:, :, None] * moment_PM[:, None, :]).reshape(len(shrunk_PA), flat)
    left_IAM = (y_IM - mean_M)[:, None, :] - fitted.reshape(*hat_IA.shape, len(mean_M))
    left_IAM /= np.maximum(1 - hat_IA, SAME)[:, :, None]
    return np.asarray(np.einsum("i,iam,iam->am", solved.weight_I, left_IAM, left_IAM))


def folded(lens: Lens, weight_PM: Array, bias_M: Array) -> Linear:
    return Linear(lens.low_D, lens.high_D, lens.matrix_DP @ weight_PM, lens.offset_P @ weight_PM + bias_M)
