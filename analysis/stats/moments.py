"""Second moments by cell: the one pass over the activations that every linear probe of a layer shares.

A cell is a set of rows that goes to train or test as a whole (a fold; a fold x name bucket). Moments of a
training set are sums of cells, so folds, inner folds, targets, permutations and penalties need no second
look at the rows, and the rows may arrive in pieces larger than memory allows at once. `Moments.train`
returns one eigendecomposition per training set, from which ridge (any penalty, any target), mass-mean and
LDA directions follow in closed form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A factorised training set of one layer, in standardised features `z = (x - mean) / scale`."""

    n: int
    mean: Doubles
    """`(d,)`."""
    scale: Doubles
    """`(d,)` standard deviations, 1 where a feature is constant."""
    values: Doubles
    """`(d,)` eigenvalues of `Z'Z`."""
    vectors: Doubles
    """`(d, d)`, eigenvectors in columns."""
    cross: Doubles
    """`(d, n_targets)`: `V' Z'(y - mean(y))`."""
    y_mean: Doubles
    """`(n_targets,)`."""

    def ridge(self, alpha: float) -> tuple[Doubles, Doubles]:
        """Weights `(d, n_targets)` and intercepts for raw features: StandardScaler, then ridge with
        `alpha`.
        """
        return self.raw(self.vectors @ (self.cross / (self.values + alpha)[:, None]), self.y_mean)

    def mass_mean(self) -> tuple[Doubles, Doubles]:
        """The difference of the class means (targets 0/1), in standardised features."""
        return self.raw(self.vectors @ self.cross / self._spread(), self.y_mean)

    def lda(self, shrinkage: float = 0.1) -> tuple[Doubles, Doubles]:
        """Fisher's direction with the within-class covariance shrunk towards its mean variance (targets 0/1).

        By Sherman-Morrison on the shared eigendecomposition: within = total - n p (1-p) delta delta'.
        """
        p_q = self.y_mean * (1 - self.y_mean)
        delta = self.cross / self._spread()  # (d, n_targets), in the eigenbasis
        trace = (self.values.sum() - self.n * p_q * (delta**2).sum(axis=0)) / self.n
        ridge = shrinkage * trace / len(self.values)  # (n_targets,)
        inverse = 1 / ((1 - shrinkage) * self.values[:, None] / self.n + ridge)
        solved = inverse * delta
        shrink = (1 - shrinkage) * p_q
        weights = solved / (1 - shrink * (delta * solved).sum(axis=0))
        return self.raw(self.vectors @ weights, np.zeros(len(self.y_mean)))

    def _spread(self) -> Doubles:
        return np.maximum(self.n * self.y_mean * (1 - self.y_mean), 1e-12)

    def raw(self, weights: Doubles, intercept: Doubles) -> tuple[Doubles, Doubles]:
        """Weights and intercepts for standardised features, turned into those for raw features."""
        w = weights / self.scale[:, None]
        return w, intercept - self.mean @ w


class Moments:
    """Counts, sums, Gram matrices and cross products of one layer by cell."""

    def __init__(self, n_cells: int, d: int, n_targets: int):
        self.n = np.zeros(n_cells, dtype=np.int64)
        self.total = np.zeros((n_cells, d))
        self.gram = np.zeros((n_cells, d, d))
        self.cross = np.zeros((n_cells, d, n_targets))
        self.y_total = np.zeros((n_cells, n_targets))
        self.shift: Doubles | None = None

    def add(
        self,
        x: NDArray[Any],
        cell: NDArray[np.integer[Any]],
        y: NDArray[Any] | None = None,
        unit: NDArray[np.integer[Any]] | None = None,
    ) -> Moments:
        """Adds rows `x` (n_rows, d) of the cells `cell` (n_rows,); may be called many times.

        `y` is `(n_rows, n_targets)`; or, with `unit` (n_rows,), `(n_units, n_targets)`: targets that are
        constant within a unit (a player of a game) are summed over the unit's rows first, which makes
        thousands of permuted targets cheap. A unit must not straddle cells.
        """
        if self.shift is None:  # centring roughly before squaring keeps the precision
            self.shift = x.mean(axis=0, dtype=np.float64)
        for c in np.unique(cell):
            rows = np.flatnonzero(cell == c)
            part = x[rows].astype(np.float64)
            part -= self.shift
            self.total[c] += part.sum(axis=0)
            if self.n[c]:
                self.gram[c] += part.T @ part
            else:
                np.matmul(part.T, part, out=self.gram[c])
            self.n[c] += len(rows)
            if y is None:
                continue
            if unit is None:
                self.cross[c] += part.T @ y[rows]
                self.y_total[c] += y[rows].sum(axis=0)
                continue
            present, local = np.unique(unit[rows], return_inverse=True)
            order = np.argsort(local, kind="stable")
            starts = np.searchsorted(local[order], np.arange(len(present)))
            sums = np.add.reduceat(part[order], starts, axis=0)
            targets = y[present].astype(np.float32)
            self.cross[c] += sums.astype(np.float32).T @ targets
            self.y_total[c] += np.bincount(local) @ targets
        return self

    def train(self, cells: Iterable[int]) -> Trained:
        """The factorised training set of these cells. Raises ValueError where it holds fewer than two rows."""
        n, mean, scale, gram, cross, y_mean = self._standardised(list(cells))
        values, vectors = np.linalg.eigh(gram)
        return Trained(n, mean, scale, np.maximum(values, 0.0), vectors, vectors.T @ cross, y_mean)

    def ridge(self, cells: Iterable[int], penalty: float) -> tuple[Doubles, Doubles]:
        """`Trained.ridge` of these cells at `penalty` per row, without the factorisation that several would share.

        Raises ValueError where they hold fewer than two rows.
        """
        n, mean, scale, gram, cross, y_mean = self._standardised(list(cells))
        gram[np.diag_indices(len(gram))] += penalty * n
        w = cho_solve(cho_factor(gram, overwrite_a=True, check_finite=False), cross, check_finite=False)
        w = w / scale[:, None]
        return w, y_mean - mean @ w

    def _standardised(self, chosen: list[int]) -> tuple[int, Doubles, Doubles, Doubles, Doubles, Doubles]:
        """Of the rows of these cells: their number, mean, scale, `Z'Z`, `Z'(y - mean(y))` and mean of y."""
        n = int(self.n[chosen].sum())
        if n < 2 or self.shift is None:
            raise ValueError(f"a training set of {n} rows (cells {chosen}); at least 2 are needed")
        mean = self.total[chosen].sum(axis=0) / n
        gram = self.gram[chosen[0]].copy()
        for cell in chosen[1:]:
            gram += self.gram[cell]
        gram -= n * np.outer(mean, mean)
        y_mean = self.y_total[chosen].sum(axis=0) / n
        variance = np.maximum(np.diagonal(gram) / n, 0)
        constant = variance <= 1e-12 * max(1.0, float(variance.max(initial=0.0)))
        scale = np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variance)))
        cross = (self.cross[chosen].sum(axis=0) - n * np.outer(mean, y_mean)) / scale[:, None]
        gram /= np.outer(scale, scale)
        return n, mean + self.shift, scale, gram, cross, y_mean


class CentredRows:
    """Raw features of some rows, made ready to be projected on directions as often as needed."""

    def __init__(self, x: NDArray[Any]) -> None:
        """`x` is `(n_rows, d)`."""
        # float32 products of features far from zero lose digits: centre on the block's own mean first.
        self.centre = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.moved = (x - self.centre).astype(np.float32, copy=False)

    def onto(self, w: Doubles, b: Doubles) -> Doubles:
        """`x @ w + b` for weights `(d, n_columns)`."""
        return np.asarray(self.moved @ w.astype(np.float32), dtype=np.float64) + (self.centre @ w + b)


def project(x: NDArray[Any], w: Doubles, b: Doubles) -> Doubles:
    """`x @ w + b` for raw features `(n_rows, d)` and weights `(d, n_columns)`."""
    return CentredRows(x).onto(w, b)
