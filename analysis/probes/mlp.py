"""A small multilayer perceptron as a probe; all folds are trained in parallel as one stack of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.stats.logistic import probabilities
from analysis.stats.moments import Doubles
from analysis.stats.splits import Folds

ROWS = 4000
"""At most this many training rows, drawn at random."""
PASSES = 25
"""Passes over them; more would fit the training rows better and other games no better."""
UNITS, BATCH, STEP, DECAY = 32, 256, 3e-3, 1e-2
"""Hidden units; rows a step; Adam's step; the penalty on the squared weights, over all rows."""
FIRST, SECOND, TINY = 0.9, 0.999, 1e-8
"""Adam's decay rates and floor (Kingma and Ba 2015)."""


def mlp(x: NDArray[Any], y: NDArray[Any], folds: Folds, seed: int = 0) -> Doubles:
    """Out-of-fold probabilities `(n_rows,)` of one hidden layer of rectified units. `x` (n_rows, d), `y` 0/1.

    The fit is Adam on the cross-entropy for a fixed number of passes, so no held-out rows are needed for early
    stopping.
    """
    rng, k = np.random.default_rng(seed), folds.n_folds
    trains = [rng.permutation(np.flatnonzero(folds.fold != f)) for f in range(k)]
    m = min(ROWS, min(map(len, trains)))
    rows = np.stack([train[:m] for train in trains])  # (k, m)
    mean, scale = x[rows].mean(axis=1, keepdims=True), x[rows].std(axis=1, keepdims=True) + 1e-6  # (k, 1, d)
    z, labels = ((x[rows] - mean) / scale).astype(np.float32), (y[rows] > 0).astype(np.float32)[..., None]
    weights = _start(rng, k, z.shape[2])
    moved, squared = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    size, step = min(BATCH, m), 0
    for _ in range(PASSES):
        order = rng.permutation(m)
        for at in range(0, m - size + 1, size):
            step += 1
            part = order[at : at + size]
            gradients = _gradients(weights, z[:, part], labels[:, part])
            rate = STEP * np.sqrt(1 - SECOND**step) / (1 - FIRST**step)
            for w, g, first, second in zip(weights, gradients, moved, squared):
                first += (1 - FIRST) * (g - first)
                second += (1 - SECOND) * (g * g - second)
                w -= np.float32(rate) * first / (np.sqrt(second) + np.float32(TINY))
    scores = np.empty(len(y))
    for f in range(k):
        test = folds.fold == f
        own = ((x[test] - mean[f]) / scale[f]).astype(np.float32)
        hidden = np.maximum(own @ weights[0][f] + weights[1][f], 0)
        scores[test] = probabilities((hidden @ weights[2][f] + weights[3][f])[:, 0])
    return scores


def _start(rng: np.random.Generator, k: int, d: int) -> list[NDArray[np.float32]]:
    """Weights and biases of both layers, `(k, d, units)`, `(k, 1, units)`, `(k, units, 1)`, `(k, 1, 1)`: Glorot's."""

    def drawn(*shape: int) -> NDArray[np.float32]:
        bound = np.sqrt(6 / (shape[-2] + shape[-1]))
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    zeros = np.zeros((k, 1, UNITS), dtype=np.float32)
    return [drawn(k, d, UNITS), zeros, drawn(k, UNITS, 1), np.zeros((k, 1, 1), dtype=np.float32)]


def _gradients(
    weights: list[NDArray[np.float32]], x: NDArray[np.float32], y: NDArray[np.float32]
) -> list[NDArray[Any]]:
    """Gradients of a batch's mean cross-entropy and its share of the penalty, in the layout of `weights`."""
    w, b, v, c = weights
    hidden = np.maximum(x @ w + b, 0)
    residual = (0.5 * (1 + np.tanh(0.5 * (hidden @ v + c))) - y) / np.float32(x.shape[1])
    back = (residual @ v.transpose(0, 2, 1)) * (hidden > 0)
    decay = np.float32(DECAY / x.shape[1])
    return [
        x.transpose(0, 2, 1) @ back + decay * w, back.sum(axis=1, keepdims=True),
        hidden.transpose(0, 2, 1) @ residual + decay * v, residual.sum(axis=1, keepdims=True),
    ]  # fmt: skip
