"""Ridge regression with its layer and penalty chosen out of fold, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.stats.moments import Doubles, Moments
from analysis.stats.splits import Folds

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Ridge penalties per row in standardised features: scikit-learn's `alpha = n_train * penalty`."""


class Ridge(NamedTuple):
    """A fitted map."""

    layer: int
    """Position of the layer that predicts best out of fold."""
    penalty: float
    error: float
    """Its mean squared error out of fold, over rows and targets."""
    weights: Doubles
    """`(d, n_targets)` for raw features, fitted on all rows."""
    bias: Doubles
    """`(n_targets,)`."""

    def predict(self, x: NDArray[Any]) -> Doubles:
        """The targets `(n_rows, n_targets)` of rows of the chosen layer `(n_rows, d)`."""
        return np.asarray(x.astype(np.float64) @ self.weights + self.bias)


def chosen_ridge(
    layers: Sequence[NDArray[Any]], y: NDArray[Any], folds: Folds, penalties: Sequence[float] = PENALTIES
) -> Ridge:
    """The ridge from one of the layers, each `(n_rows, d)`, to `y` `(n_rows, n_targets)`.

    Layer and penalty are those of least squared error on the fold that was left out; the fit is then of all rows. Its
    figures are to be taken on other games. Raises UngroupedSplit where a game is in two folds.
    """
    folds.require_grouped()
    best: tuple[float, int, float, Moments] | None = None
    for at, x in enumerate(layers):
        moments = Moments(folds.n_folds, x.shape[1], y.shape[1]).add(x, folds.fold, y)
        errors = np.zeros(len(penalties))
        for f in range(folds.n_folds):
            rest, rows = moments.train(c for c in range(folds.n_folds) if c != f), folds.fold == f
            z = x[rows].astype(np.float64)
            for k, penalty in enumerate(penalties):
                w, b = rest.ridge(penalty * rest.n)
                errors[k] += float(((z @ w + b - y[rows]) ** 2).sum())
        k = int(errors.argmin())
        error = float(errors[k]) / y.size
        if best is None or error < best[0]:
            best = (error, at, penalties[k], moments)
    if best is None:
        raise ValueError("no layer was given; a ridge needs at least one")
    error, at, penalty, moments = best
    whole = moments.train(range(folds.n_folds))
    return Ridge(at, penalty, error, *whole.ridge(penalty * whole.n))
