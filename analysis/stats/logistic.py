"""Logistic regression for many penalties at once on one factorised training set.

The Hessian of the logistic loss is bounded by a quarter of the Gram matrix (Boehning 1992), whose
eigendecomposition the ridge probes of the same training set have already paid for. In the coordinates
that whiten the bound a unit gradient step always descends; Nesterov's acceleration with restarts makes some
tens of steps enough. The optimum is scikit-learn's `LogisticRegression(C=1 / (n * penalty))` after a
`StandardScaler`, to solver tolerance (tested).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.stats.moments import Doubles, Trained


def fit_logistic(
    trained: Trained,
    x: NDArray[Any],
    y: NDArray[Any],
    penalties: NDArray[np.float64],
    tolerance: float = 1e-5,
    max_steps: int = 400,
) -> tuple[Doubles, Doubles]:
    """Weights `(d, n_penalties)` and intercepts `(n_penalties,)` for raw features.

    `x` (n_rows, d) and `y` (n_rows,) 0/1 are the rows that `trained` factorised. `penalties` are per row:
    the objective is mean loss + penalty/2 |w|^2 in standardised features. Raises ValueError with a single
    class.
    """
    labels = np.asarray(y, dtype=np.float32)
    if labels.min() == labels.max():
        raise ValueError(
            f"all {len(labels)} training labels are {labels[0]:g}; a logistic probe needs both classes"
        )
    n, k = len(labels), len(penalties)
    u = _whitened(trained, x)  # (n, d): standardised features in the eigenbasis
    bound = (trained.values / (4 * n))[:, None] + penalties[None, :]  # (d, k)
    rate = float(labels.mean())
    w = np.zeros((u.shape[1], k))
    b = np.full(k, np.log(rate / (1 - rate)))
    w_prev, b_prev, momentum = w.copy(), b.copy(), np.ones(k)
    active = np.arange(k)
    for _ in range(max_steps):
        following = (1 + np.sqrt(1 + 4 * momentum[active] ** 2)) / 2
        push = (momentum[active] - 1) / following
        w_ahead = w[:, active] + push * (w[:, active] - w_prev[:, active])
        b_ahead = b[active] + push * (b[active] - b_prev[active])
        logits = u @ w_ahead.astype(np.float32) + b_ahead.astype(np.float32)
        residual = 1 / (1 + np.exp(-logits)) - labels[:, None]
        gradient = (u.T @ residual).astype(np.float64) / n + penalties[active] * w_ahead
        b_gradient = residual.mean(axis=0, dtype=np.float64)
        w_prev[:, active], b_prev[active] = w[:, active], b[active]
        step, b_step = gradient / bound[:, active], 4 * b_gradient
        w[:, active], b[active] = w_ahead - step, b_ahead - b_step
        # Restart a column whose momentum points uphill.
        uphill = ((w[:, active] - w_prev[:, active]) * -gradient).sum(axis=0) < 0
        momentum[active] = np.where(uphill, 1.0, following)
        # The Newton decrement under the bound: how far, in nats, the optimum can be.
        decrement = (gradient * step).sum(axis=0) + b_gradient * b_step
        active = active[decrement > tolerance**2]
        if not len(active):
            break
    return trained.raw(trained.vectors @ w, b)


def _whitened(trained: Trained, x: NDArray[Any]) -> NDArray[np.float32]:
    z = (np.asarray(x, dtype=np.float32) - trained.mean.astype(np.float32)) / trained.scale.astype(np.float32)
    return np.asarray(z @ trained.vectors.astype(np.float32), dtype=np.float32)


def probabilities(logits: NDArray[Any]) -> Doubles:
    """The logistic function, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64))))
