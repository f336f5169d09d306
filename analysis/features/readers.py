"""Linear probes for the fight: ridge on all columns or on the best k, with all choices made on inner folds of games.

Every source (the stream, a reconstruction, codes, words) is probed in the same way. Sums over inner folds give, for
every training set, the columns that separate the classes best (by correlation with the label on the training rows
alone) and ridge on these at any penalty. The penalty is chosen by squared error and k by AUROC on inner folds; a second
fit may be trained on the scores of the inner folds (`Read.inner`). Codes may be sparse matrices: products then cost
only the non-zero entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from analysis.stats.metrics import auroc
from analysis.stats.moments import Doubles

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""Ridge penalties per row, in standardised columns."""
KS = tuple(2**i for i in range(10))
"""Numbers k of best columns: 1, 2, 4, ..., 512."""


@dataclass(frozen=True)
class Columns:
    """One source: features of every row."""

    name: str
    x: NDArray[Any] | sparse.csr_matrix
    """`(n_rows, d)`."""
    ks: tuple[int, ...] = ()
    """Numbers k of best columns that are tried; empty: all columns are used."""


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows to test on; no game is on both sides."""

    train: NDArray[np.int64]
    y: Doubles
    """Labels of the training rows, with noise where the regime adds some."""
    inner: NDArray[np.int64]
    """`(n_train,)`: inner fold of each training row; games stay together."""
    test: NDArray[np.int64]


@dataclass
class Read:
    """Scores of one source on one split."""

    outer: Doubles
    """`(n_test,)` scores."""
    inner: Doubles
    """`(n_train,)` scores of fits without the row's inner fold."""
    k: int
    """Number of columns used, chosen inside."""
    chosen: NDArray[np.int64]
    """The columns used, the best first."""
    by_k: dict[int, Doubles] = field(default_factory=dict)
    """k -> `(n_test,)`, the penalty chosen inside."""


@dataclass(frozen=True)
class _Sums:
    """Sums of some rows of one source."""

    n: float
    total: Doubles
    gram: Doubles
    cross: Doubles
    y: float

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.n + other.n, self.total + other.total, self.gram + other.gram, self.cross + other.cross,
            self.y + other.y,
        )  # fmt: skip

    def ranked(self) -> NDArray[np.int64]:
        """Columns by their squared correlation with the label, the largest first; constant ones last."""
        mean, rate = self.total / self.n, self.y / self.n
        variance = np.diagonal(self.gram) / self.n - mean**2
        covariance = self.cross / self.n - mean * rate
        alive = variance > 1e-10 * max(1.0, float(variance.max(initial=0.0)))
        squared = np.where(alive, covariance**2 / np.where(alive, variance, 1.0), -1.0)
        return np.argsort(-squared, kind="stable")

    def ridge(self, columns: NDArray[np.int64], penalties: Sequence[float]) -> tuple[Doubles, Doubles]:
        """Weights `(n_columns, n_penalties)` for raw columns and intercepts `(n_penalties,)`."""
        mean, rate = self.total[columns] / self.n, self.y / self.n
        gram = self.gram[np.ix_(columns, columns)] - self.n * np.outer(mean, mean)
        variance = np.diagonal(gram) / self.n
        constant = variance <= 1e-10 * max(1.0, float(variance.max(initial=0.0)))
        scale = np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variance)))
        cross = np.where(constant, 0.0, (self.cross[columns] - self.n * mean * rate) / scale)
        gram = gram / np.outer(scale, scale)
        weights = np.empty((len(columns), len(penalties)))
        for j, penalty in enumerate(penalties):
            penalised = gram + np.eye(len(columns)) * (penalty * self.n)
            weights[:, j] = cho_solve(cho_factor(penalised, check_finite=False), cross, check_finite=False)
        weights /= scale[:, None]
        return weights, rate - mean @ weights


def read(source: Columns, split: Split, penalties: Sequence[float] = PENALTIES) -> Read:
    """The source's scores of one split. Raises ValueError where the training labels are of one class."""
    if split.y.min() == split.y.max():
        raise ValueError(f"all {len(split.y)} training labels are {split.y[0]:g}; both classes are needed")
    x, shift = _centred(source.x, split.train)
    folds = int(split.inner.max()) + 1
    rows = [split.train[split.inner == f] for f in range(folds)]
    labels = [split.y[split.inner == f] for f in range(folds)]
    parts = [_sums(x, r, y, shift) for r, y in zip(rows, labels)]
    d = x.shape[1]
    ks = tuple(sorted({min(k, d) for k in source.ks})) or (d,)
    tried = np.empty((len(ks), len(penalties), len(split.train)))
    for f in range(folds):
        rest = _added([part for g, part in enumerate(parts) if g != f])
        tried[:, :, split.inner == f] = _scores(x, rest, rows[f], shift, ks, penalties, bool(source.ks))
    penalty = ((tried - split.y) ** 2).mean(axis=2).argmin(axis=1)
    inner = tried[np.arange(len(ks)), penalty]
    heights = [auroc(split.y, row, strata=split.inner) for row in inner]
    best = int(np.nanargmax(heights)) if np.isfinite(heights).any() else 0
    whole = _added(parts)
    outer = _scores(x, whole, split.test, shift, ks, penalties, bool(source.ks))
    by_k = {k: outer[i, penalty[i]] for i, k in enumerate(ks)}
    return Read(by_k[ks[best]], inner[best], ks[best], whole.ranked()[: ks[best]], by_k if source.ks else {})


def _centred(x: Any, train: NDArray[np.int64]) -> tuple[Any, Doubles]:
    """The rows and their offset: dense rows minus the training mean, sparse rows as they are."""
    if sparse.issparse(x):
        return x, np.zeros(x.shape[1])
    return x, np.asarray(x[train].mean(axis=0, dtype=np.float64))


def _some(x: Any, rows: NDArray[np.int64], shift: Doubles) -> Any:
    return x[rows] if sparse.issparse(x) else x[rows].astype(np.float64) - shift


def _sums(x: Any, rows: NDArray[np.int64], y: Doubles, shift: Doubles) -> _Sums:
    part = _some(x, rows, shift)
    gram = part.T @ part
    dense = np.asarray(gram.todense() if sparse.issparse(gram) else gram, dtype=np.float64)
    total = np.asarray(part.sum(axis=0), dtype=np.float64).ravel()
    return _Sums(len(rows), total, dense, np.asarray(part.T @ y, dtype=np.float64).ravel(), float(y.sum()))


def _added(parts: Sequence[_Sums]) -> _Sums:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _scores(
    x: Any, sums: _Sums, rows: NDArray[np.int64], shift: Doubles, ks: Sequence[int], penalties: Sequence[float],
    ranked: bool,
) -> Doubles:  # fmt: skip
    """Scores `(n_ks, n_penalties, n_rows)` of fits on some sums."""
    order = sums.ranked() if ranked else np.arange(len(sums.total))
    out = np.empty((len(ks), len(penalties), len(rows)))
    part = _some(x, rows, shift)
    for i, k in enumerate(ks):
        w, b = sums.ridge(order[:k], penalties)
        out[i] = (np.asarray(part[:, order[:k]] @ w) + b).T
    return out
