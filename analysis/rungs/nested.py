"""A nested increment: what a source adds to others when they are combined, on games that no fit has seen.

Stacking (Wolpert 1992; Breiman 1996): the second fit, a logistic of the sources' scores, is trained on scores of fits
that saw neither the fold it is tested on nor the fold of the row at hand. The difference of two such fits, with the
source and without it, is the increment. The difference between two sources alone is not an increment: a weaker source
may add to a stronger one, and a stronger source may add nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from analysis.probes.probes import PENALTIES, Nested
from analysis.stats.logistic import probabilities
from analysis.stats.moments import Doubles, Moments, project
from analysis.stats.remember import remembered
from analysis.stats.splits import Folds

STACK_PENALTY = 1e-2
"""Ridge penalty per row of the second fit, in standardised scores: a handful of columns, thousands of rows."""
FLOOR = 0.005
"""Probabilities are clipped to [FLOOR, 1 - FLOOR] before they become log-odds."""
TREES = 25
"""Trees of a boosted fit."""
BOOSTED_ROWS = 20_000
"""At most this many training rows of a boosted fit, drawn at random: more cost time and change little."""


def log_odds(p: NDArray[Any]) -> Doubles:
    """Log-odds of probabilities, clipped."""
    q = np.clip(np.asarray(p, dtype=np.float64), FLOOR, 1 - FLOOR)
    return np.log(q / (1 - q))


def on_log_odds(source: Nested) -> Nested:
    """The source with its probabilities as log-odds."""
    return Nested(log_odds(source.outer), log_odds(source.inner))


def stack(sources: Sequence[Nested], y: Doubles, folds: Folds) -> Doubles:
    """Probabilities `(n_rows,)` of the second fit over the sources' scores, out of fold. `y` is `(n_rows,)` 0/1.

    Weights are not negative (Breiman 1996): every source predicts the same label, so an uninformative source gets
    weight 0, where unconstrained weights would overfit the few games.
    """
    out = np.empty(len(y))
    for f in range(folds.n_folds):
        train, test = np.flatnonzero(folds.fold != f), np.flatnonzero(folds.fold == f)
        inner = np.stack([source.inner[f, train] for source in sources], axis=1)
        out[test] = weighed(inner, y[train], np.stack([source.outer[test] for source in sources], axis=1))
    return out


def weighed(inner: Doubles, y: Doubles, outer: Doubles) -> Doubles:
    """Probabilities `(n_test,)` of the second fit: trained on `inner` (n_train, n_sources) and labels `y` (n_train,),
    applied to `outer` (n_test, n_sources)."""
    mean, scale = inner.mean(axis=0), np.maximum(inner.std(axis=0), 1e-9)
    w, b = _non_negative((inner - mean) / scale, y)
    return probabilities((outer - mean) / scale @ w + b)


def _non_negative(z: Doubles, y: Doubles) -> tuple[Doubles, float]:
    """Weights `(d,)` and intercept of a logistic fit with non-negative weights."""
    n, d = z.shape

    def loss(wb: Doubles) -> tuple[float, Doubles]:
        logit = z @ wb[:d] + wb[d]
        value = float(
            np.logaddexp(0, logit).mean() - (y * logit).mean() + STACK_PENALTY / 2 * (wb[:d] ** 2).sum()
        )
        residual = (probabilities(logit) - y) / n
        return value, np.append(z.T @ residual + STACK_PENALTY * wb[:d], residual.sum())

    rate = float(np.clip(y.mean(), 1e-6, 1 - 1e-6))
    start = np.append(np.full(d, 0.1), np.log(rate / (1 - rate)))
    bounds = [(0.0, None)] * d + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200})
    return found.x[:d], float(found.x[d])


class SharedBins:
    """Boosted trees that reuse the bins of an earlier fit: computing bins is half the cost of a fit on few rows.

    Where bins lie depends on the features of the first fit's rows, on no label. `_bin_data` is scikit-learn's own and
    may change its name: then every fit finds its bins, as without this class.
    """

    bins: list[Any]
    """The mapper of values to bins, once there is one; shared between fits."""

    def _bin_data(self, x: NDArray[Any], *rest: Any, **named: Any) -> Any:
        if self.bins:
            self._bin_mapper = self.bins[0]
            return self._bin_mapper.transform(x)
        binned = super()._bin_data(x, *rest, **named)  # type: ignore[misc]
        self.bins.append(self._bin_mapper)
        return binned


class Classifier(SharedBins, HistGradientBoostingClassifier):
    """A classifier of 0/1 labels."""


class Regressor(SharedBins, HistGradientBoostingRegressor):
    """A regressor of real numbers."""


@remembered
def boosted(
    features: NDArray[Any], y: Doubles, folds: Folds, seed: int = 0, value: bool = False, trees: int = TREES
) -> Nested:
    """Gradient-boosted trees on `features` (n_rows, d): what is public in any combination.

    `y` is `(n_rows,)` 0/1, predicted as log-odds; with `value` any number, predicted as it is.
    """
    k, rng = folds.n_folds, np.random.default_rng(seed)
    outer, inner = np.zeros(len(y)), np.full((k, len(y)), np.nan)
    bins: list[Any] = []
    x = np.asarray(features, dtype=np.float32)
    x = x[:, np.ptp(x, axis=0) > 0]

    def fit(away: Sequence[int]) -> Any:
        rows = np.flatnonzero(~np.isin(folds.fold, away))
        if len(rows) > BOOSTED_ROWS:
            rows = rng.choice(rows, BOOSTED_ROWS, replace=False)
        kind = Regressor if value else Classifier
        model = kind(
            max_iter=trees, learning_rate=0.2, max_leaf_nodes=6, min_samples_leaf=40, l2_regularization=1.0,
            max_bins=24,
            early_stopping=False, random_state=seed,
        )  # fmt: skip
        model.bins = bins
        fitted = model.fit(x[rows], y[rows])
        return fitted.predict if value else fitted.decision_function

    if not x.shape[1]:
        return Nested.given(outer, k)
    with threadpool_limits(1, "openmp"):
        for f in range(k):
            test = folds.fold == f
            outer[test] = fit([f])(x[test])
            for g in range(f + 1, k):
                both = fit([f, g])
                for out, held in ((f, g), (g, f)):
                    rows = folds.fold == held
                    inner[out, rows] = both(x[rows])
    return Nested(outer, inner)


def linear(x: NDArray[Any], y: Doubles, folds: Folds, penalties: Sequence[float] = PENALTIES) -> Nested:
    """Ridge on `x` (n_rows, d) of any number `y` (n_rows,), the penalty chosen inside by squared error."""
    k, grid = folds.n_folds, np.asarray(penalties, dtype=float)
    moments = Moments(k, x.shape[1], 1).add(x, folds.fold, y[:, None])
    outer, every = np.empty((len(grid), len(y))), np.full((k, len(grid), len(y)), np.nan)

    def scores(away: Sequence[int], rows: NDArray[Any]) -> Doubles:
        trained = moments.train(c for c in range(k) if c not in away)
        fits = [trained.ridge(penalty * trained.n) for penalty in grid]
        return project(x[rows], np.hstack([w for w, _ in fits]), np.hstack([b for _, b in fits])).T

    held = [np.flatnonzero(folds.fold == f) for f in range(k)]
    for f in range(k):
        outer[:, held[f]] = scores([f], held[f])
        for g in range(f + 1, k):
            both = scores([f, g], np.concatenate([held[f], held[g]]))
            every[g][:, held[f]], every[f][:, held[g]] = both[:, : len(held[f])], both[:, len(held[f]) :]
    best = np.nanmean((every - y) ** 2, axis=2).argmin(axis=1)
    return Nested(outer[best[folds.fold], np.arange(len(y))], every[np.arange(k), best])
