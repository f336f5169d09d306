"""The nested choice of a probe's layer and penalty, by closed forms on factorised training sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.stats.metrics import auroc
from analysis.stats.moments import CentredRows, Doubles, Moments, Trained
from analysis.stats.splits import Folds

Kind = Literal["logistic", "ridge", "mass_mean", "lda"]

MOST_FACTORISED = 200_000_000
"""At most this many bytes of factorised training sets are kept for further probes of the same rows."""


class Factorised:
    """The factorised training sets of some layers, by the folds left out, for all probes of the same rows and labels.

    They are kept where all of them together have at most `MOST_FACTORISED` bytes, else computed again for every probe.
    """

    def __init__(self, layers: Sequence[NDArray[Any]], labels: Doubles, folds: Folds) -> None:
        """`layers` are each `(n_rows, d)`, `labels` is `(n_rows,)`."""
        self.layers, self.labels, self.folds = layers, labels, folds
        sets = folds.n_folds * (folds.n_folds + 1) // 2
        self._keeps = sum(8 * sets * layer.shape[1] ** 2 for layer in layers) <= MOST_FACTORISED
        self._known: dict[tuple[int, tuple[int, ...]], Trained] = {}
        self._moments: tuple[int, Moments] | None = None
        self._rows: tuple[int, list[CentredRows]] | None = None
        self.choices: dict[tuple[str, tuple[float, ...]], Choice] = {}
        """What was chosen already, by the closed form and its penalties."""

    def without(self, layer: int, *away: int) -> Trained:
        """The training set of a layer that leaves out these folds."""
        key = (layer, away)
        if key in self._known:
            return self._known[key]
        if self._moments is None or self._moments[0] != layer:
            x = self.layers[layer]
            moments = Moments(self.folds.n_folds, x.shape[1], 1)
            self._moments = (layer, moments.add(x, self.folds.fold, self.labels[:, None]))
        found = self._moments[1].train(c for c in range(self.folds.n_folds) if c not in away)
        if self._keeps:
            self._known[key] = found
        return found

    def held(self, layer: int) -> list[CentredRows]:
        """The rows of each fold in a layer, ready to be projected; those of the layer asked for last are kept."""
        if self._rows is None or self._rows[0] != layer:
            x, fold = self.layers[layer], self.folds.fold
            self._rows = (layer, [CentredRows(x[fold == f]) for f in range(self.folds.n_folds)])
        return self._rows[1]


@dataclass(frozen=True)
class Choice:
    """Layer and penalty chosen inside, and the scores of the closed form that chose them."""

    outer: Doubles
    """`(n_layers, n_penalties, n_rows)`: by the fit on all folds but the row's own."""
    held_out: NDArray[np.float32]
    """`(n_layers, n_folds, n_rows)` at the penalty chosen for each fold; by the fit that saw neither fold f nor the
    row's own fold."""
    penalty: NDArray[np.int64]
    """`(n_folds, n_layers)`, positions in the grid."""
    layer: NDArray[np.int64]
    """`(n_folds,)`."""


def chosen_inside(sets: Factorised, kind: Kind, grid: Doubles) -> Choice:
    """The nested choice of layer and penalty; ridge stands in for logistic. Made once for the same sets."""
    key = ("ridge" if kind == "logistic" else kind, tuple(grid.tolist()))
    if key in sets.choices:
        return sets.choices[key]
    labels, layers, fold, k = sets.labels, sets.layers, sets.folds.fold, sets.folds.n_folds
    errors = np.full((k, k, len(layers), len(grid)), np.nan)  # [outer fold, inner fold, layer, penalty]
    outer = np.empty((len(layers), len(grid), len(labels)))
    held_out = np.full((len(layers), k, len(labels)), np.nan, dtype=np.float32)
    held = [np.flatnonzero(fold == f) for f in range(k)]
    for number in range(len(layers)):
        every, rows = np.full((k, len(grid), len(labels)), np.nan, dtype=np.float32), sets.held(number)
        for f in range(k):
            outer[number][:, held[f]] = rows[f].onto(*_fits(sets.without(number, f), kind, grid)).T
            for g in range(f + 1, k):
                both = _fits(sets.without(number, f, g), kind, grid)
                for out, inside in ((f, g), (g, f)):
                    tried = rows[inside].onto(*both)
                    errors[out, inside, number] = ((tried - labels[held[inside], None]) ** 2).mean(axis=0)
                    every[out][:, held[inside]] = tried.T
        best = np.nanmean(errors[:, :, number], axis=1).argmin(axis=1)
        held_out[number] = every[np.arange(k), best]
    # The penalty is chosen by squared error: AUROC ignores any shrinkage that keeps the order.
    penalty = np.nanmean(errors, axis=1).argmin(axis=2)  # (fold, layer)
    found = sets.choices[key] = Choice(outer, held_out, penalty, _best_layers(labels, held_out, held))
    return found


def _best_layers(
    labels: Doubles, held_out: NDArray[np.float32], held: Sequence[NDArray[Any]]
) -> NDArray[np.int64]:
    """For each fold the layer of the highest mean AUROC over the other folds, each by fits that saw neither.

    `held_out` is `(n_layers, n_folds, n_rows)`, `held` the rows of each fold.
    """
    k = len(held)
    if len(held_out) == 1:
        return np.zeros(k, dtype=np.int64)
    found = np.full((k, k, len(held_out)), np.nan)
    for f in range(k):
        for g in range(k):
            if f != g:
                found[f, g] = auroc(labels[held[g]], held_out[:, f, held[g]].T)
    return np.asarray(np.nanmean(found, axis=1).argmax(axis=1))


def _fits(trained: Trained, kind: Kind, grid: Doubles) -> tuple[Doubles, Doubles]:
    """Weights `(d, n_penalties)` and intercepts of the closed-form probes (ridge in place of logistic)."""
    if kind == "mass_mean":
        fits = [trained.mass_mean()]
    elif kind == "lda":
        fits = [trained.lda()]
    else:
        fits = [trained.ridge(penalty * trained.n) for penalty in grid]
    return np.hstack([w for w, _ in fits]), np.hstack([b for _, b in fits])
