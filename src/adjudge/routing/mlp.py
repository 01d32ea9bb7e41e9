"""Layers of ReLU units in numpy: outputs, gradients, and AdamW. Nothing here knows of routing.

Axes: B instances of a batch, D inputs, H units of a layer, K outputs. Numbers keep the precision of their layers.
"""

from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from adjudge.routing.ambiguity import Array

HIDDEN = (256, 128, 64)
DECAY, BETAS, EPSILON = 0.01, (0.9, 0.999), 1e-8  # AdamW's defaults in PyTorch

Layers: TypeAlias = list[tuple[Array, Array]]  # weight, shape (inputs, outputs), and bias, shape (outputs,), of each


def first_layers(inputs: int, outputs: int, rng: np.random.Generator, precision: DTypeLike = np.float64) -> Layers:
    """Uniform in +-1 / sqrt(inputs of the layer), as PyTorch draws them."""
    sizes = (inputs, *HIDDEN, outputs)
    found: Layers = []
    for m, n in pairwise(sizes):
        bound = 1 / np.sqrt(max(m, 1))
        found.append(
            (rng.uniform(-bound, bound, (m, n)).astype(precision), rng.uniform(-bound, bound, n).astype(precision))
        )
    return found


def forward(layers: Layers, z_BD: Array) -> list[Array]:
    """[inputs, outputs of each hidden layer, logits_BK]."""
    outputs = [z_BD]
    for k, (weight, bias) in enumerate(layers):
        after = outputs[-1] @ weight + bias
        outputs.append(np.maximum(after, 0) if k < len(layers) - 1 else after)
    return outputs


def softmax(logits_BK: Array) -> Array:
    p_BK = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
    return np.asarray(p_BK / p_BK.sum(axis=1, keepdims=True))


def backward(layers: Layers, outputs: list[Array], slope_BK: Array) -> Layers:
    """Gradients of every weight and bias, from that of the logits."""
    found: Layers = []
    slope = slope_BK
    for k in reversed(range(len(layers))):
        # one row: an outer product, which a general one takes six times as long for
        found.append((outputs[k].T * slope if len(slope) == 1 else outputs[k].T @ slope, slope.sum(axis=0)))
        if k:
            slope = (slope @ layers[k][0].T) * (outputs[k] > 0)
    return found[::-1]


class AdamW:
    """Decoupled weight decay (arXiv 1711.05101), on all weights and biases as PyTorch's does by default.

    All layers lie in one array, where a step is a dozen passes. The moments m and v are kept as m / (1 - beta_1) and
    v / (1 - beta_2), which saves three of them.
    """

    def __init__(self, layers: Layers, rate: float) -> None:
        self.rate, self.count = rate, 0
        self.ends = np.cumsum([a.size for layer in layers for a in layer])
        self.moments = np.zeros((2, self.ends[-1]), layers[0][0].dtype)
        self.rooms = np.empty_like(self.moments)  # no new arrays a step

    def step(self, layers: Layers, slopes: Layers) -> None:
        """Change the layers in place."""
        self.count += 1
        (m, v), (g, x) = self.moments, self.rooms
        np.concatenate([slope.ravel() for layer in slopes for slope in layer], out=g)
        first, second = (1 - b**self.count for b in BETAS)
        root = float(np.sqrt((1 - BETAS[1]) / second))
        m *= BETAS[0]
        m += g
        v *= BETAS[1]
        v += np.multiply(g, g, out=x)
        np.sqrt(v, out=x)
        x += EPSILON / root
        np.divide(m, x, out=x)
        x *= self.rate * (1 - BETAS[0]) / first / root
        arrays = [a for layer in layers for a in layer]
        for a, change in zip(arrays, np.split(x, self.ends[:-1]), strict=True):
            a *= 1 - self.rate * DECAY
            a -= change.reshape(a.shape)
