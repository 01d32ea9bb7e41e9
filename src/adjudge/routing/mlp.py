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
        found.append((outputs[k].T @ slope, slope.sum(axis=0)))
        if k:
            slope = (slope @ layers[k][0].T) * (outputs[k] > 0)
    return found[::-1]


class AdamW:
    """Decoupled weight decay (arXiv 1711.05101), on all weights and biases as PyTorch's does by default."""

    def __init__(self, layers: Layers, rate: float) -> None:
        self.rate, self.count = rate, 0
        self.moments = [[(np.zeros_like(a), np.zeros_like(a)) for a in layer] for layer in layers]
        self.rooms = [[(np.empty_like(a), np.empty_like(a)) for a in layer] for layer in layers]  # no new arrays a step

    def step(self, layers: Layers, slopes: Layers) -> None:
        """Change the layers in place."""
        self.count += 1
        first, second = (1 - b**self.count for b in BETAS)
        for layer, slope, moments, rooms in zip(layers, slopes, self.moments, self.rooms, strict=True):
            for a, g, (m, v), (x, y) in zip(layer, slope, moments, rooms, strict=True):
                m *= BETAS[0]
                m += np.multiply(g, 1 - BETAS[0], out=x)
                v *= BETAS[1]
                v += np.multiply(np.multiply(g, g, out=x), 1 - BETAS[1], out=x)
                np.sqrt(np.multiply(v, 1 / second, out=x), out=x)
                x += EPSILON
                a *= 1 - self.rate * DECAY
                a -= np.divide(np.multiply(m, self.rate / first, out=y), x, out=y)
