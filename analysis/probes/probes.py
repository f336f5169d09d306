"""Linear probes with a nested choice of layer and penalty on game-grouped folds.

`probe` gives every row a score from a fit that saw nothing of its game: layer and penalty are chosen on the other folds
alone (each of them held out in turn), so the headline has no selection bias. Kinds: `logistic` (the default), `ridge`
(least squares on 0/1), `mass_mean`, `lda`. There is no PCA anywhere: belief can live in directions of little variance.
One `Moments` pass and `n_folds (n_folds + 1) / 2` eigendecompositions a layer serve all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats.codes import codes_of
from analysis.stats.logistic import fit_logistic, probabilities
from analysis.stats.metrics import auroc
from analysis.stats.moments import Doubles, Moments, Rows, Trained, project
from analysis.stats.ridge import PENALTIES
from analysis.stats.splits import Folds, check_folds
from analysis.stats.training_variance import TRAINING_DRAWS, FoldFit, one_layer_a_draw, training_draws

Kind = Literal["logistic", "ridge", "mass_mean", "lda"]
Layers = NDArray[Any] | Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Nested:
    """Scores of one source for training a second fit without leaking the rows that this fit is tested on."""

    outer: Doubles
    """`(n_rows,)`: each row by the fit on all folds but its own."""
    inner: Doubles
    """`(n_folds, n_rows)`: by the fit that saw neither fold f nor the row's own fold; NaN for the rows of fold f."""

    @classmethod
    def given(cls, scores: ArrayLike, n_folds: int) -> Nested:
        """A source without a fit in this evaluation (a posterior, a stated belief): the same scores for every fold."""
        fixed = np.asarray(scores, dtype=np.float64)
        return cls(fixed, np.broadcast_to(fixed, (n_folds, len(fixed))))


@dataclass(frozen=True)
class ProbeResult:
    """The out-of-fold probe of one target."""

    kind: str
    scores: Doubles
    """`(n_rows,)`, each from the fit that held the row's fold out; probabilities for `logistic`."""
    folds: Folds
    auroc: float
    """AUROC over pairs within a held-out fold, with layer and penalty chosen inside."""
    by_layer: Doubles
    """`(n_layers,)` AUROC with the layer fixed (penalty still chosen inside)."""
    layer_scores: Doubles
    """`(n_layers, n_rows)` the scores behind `by_layer`."""
    chosen_layer: tuple[int, ...]
    """For each fold, the position of its layer."""
    chosen_penalty: tuple[float, ...]
    n_games: int
    training: Doubles
    """`(TRAINING_DRAWS,)`: deviations of `auroc` when the training games are redrawn, with mean 0
    (`analysis.stats.training_variance`). Zeros for `mass_mean` and `lda`, whose uncertainty is that of the
    test games alone."""
    nested: Nested
    """The closed-form scores at the chosen layers, for stacking (ridge stands in for logistic)."""

    @property
    def place(self) -> int:
        """Position of the layer that was chosen most often."""
        return int(np.bincount(self.chosen_layer).argmax())

    @property
    def penalty(self) -> float:
        """The median of the chosen penalties."""
        return float(np.median(self.chosen_penalty))

    @property
    def grouped(self) -> bool:
        """False where the split put games on both sides; then no claim may rest on this result."""
        return self.folds.grouped


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
        self._rows: tuple[int, list[Rows]] | None = None
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

    def held(self, layer: int) -> list[Rows]:
        """The rows of each fold in a layer, ready to be projected; those of the layer asked for last are kept."""
        if self._rows is None or self._rows[0] != layer:
            x, fold = self.layers[layer], self.folds.fold
            self._rows = (layer, [Rows(x[fold == f]) for f in range(self.folds.n_folds)])
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


def as_layers(x: Layers) -> list[NDArray[Any]]:
    """`(n_rows, n_layers, d_model)` or a sequence of `(n_rows, d)` as a list of layers; memory maps stay on
    disk.
    """
    if isinstance(x, np.ndarray):
        if x.ndim == 2:
            return [x]
        if x.ndim != 3:
            raise ValueError(f"activations of shape {x.shape}; expected (n_rows, n_layers, d_model)")
        return [x[:, layer] for layer in range(x.shape[1])]
    return list(x)


def probe(
    x: Layers,
    y: ArrayLike,
    folds: Folds,
    games: ArrayLike,
    kind: Kind = "logistic",
    penalties: Sequence[float] = PENALTIES,
    factorised: Factorised | None = None,
) -> ProbeResult:
    """Out-of-fold scores of one 0/1 target.

    `x` is `(n_rows, n_layers, d_model)` or a list of layers, `y` and `games` are `(n_rows,)`. The nested
    choice is made with ridge; a logistic fit then takes the penalty of equal shrinkage, `penalty * p (1 -
    p)` with p the base rate. factorised: the factorised training sets of the same layers, labels and folds, where other
    probes share them. Raises ValueError for fewer than 3 folds, or where a training set would hold one class.
    """
    layers, labels = as_layers(x), np.asarray(y, dtype=np.float64)
    check_classes(labels, folds)
    fold, k, game = folds.fold, folds.n_folds, codes_of(games)
    grid = np.asarray(penalties if kind in ("logistic", "ridge") else penalties[:1], dtype=float)
    sets = factorised or Factorised(layers, labels, folds)
    chosen = _chosen(sets, kind, grid)
    outer, best_penalty, best_layer = chosen.outer, chosen.penalty, chosen.layer
    weights: dict[tuple[int, int], tuple[Doubles, Doubles]] = {}  # of the logistic fits, by (layer, fold)
    layer_scores = np.empty((len(layers), len(labels)))
    for number, rows_x in enumerate(layers):
        for f in range(k):
            test, choice = np.flatnonzero(fold == f), best_penalty[f, number]
            if kind == "logistic":
                train, own_fit = np.flatnonzero(fold != f), sets.without(number, f)
                p = float(own_fit.y_mean[0])
                fit = fit_logistic(own_fit, rows_x[train], labels[train], grid[[choice]] * p * (1 - p))
                layer_scores[number, test] = probabilities(sets.held(number)[f].onto(*fit)[:, 0])
                weights[number, f] = fit
            else:
                layer_scores[number, test] = outer[number, choice, test]
    scores, closed = np.empty(len(labels)), np.empty(len(labels))
    for f in range(k):
        test, layer = fold == f, best_layer[f]
        scores[test] = layer_scores[layer, test]
        closed[test] = outer[layer, best_penalty[f, layer], test]
    nested = Nested(closed, chosen.held_out[best_layer, np.arange(k)].astype(np.float64))
    training = np.zeros(TRAINING_DRAWS)
    if kind in ("logistic", "ridge"):
        drawn = {}
        for number in sorted(set(best_layer.tolist())):
            parts = []
            for f in range(k):
                own_fit, penalty = sets.without(number, f), float(grid[best_penalty[f, number]])
                w, b = weights[number, f] if kind == "logistic" else own_fit.ridge(penalty * own_fit.n)
                parts.append(FoldFit(own_fit, layers[number], w, b, penalty))
            drawn[number] = training_draws(parts, labels, folds, game, kind == "logistic")
        training = one_layer_a_draw([drawn[number] for number in best_layer.tolist()])
    return ProbeResult(
        kind,
        scores,
        folds,
        auroc(labels, scores, strata=fold),
        auroc(labels, layer_scores.T, strata=fold),
        layer_scores,
        tuple(int(b) for b in best_layer),
        tuple(float(grid[best_penalty[f, best_layer[f]]]) for f in range(k)),
        int(game.max()) + 1,
        training,
        nested,
    )


def _chosen(sets: Factorised, kind: Kind, grid: Doubles) -> Choice:
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


def check_classes(labels: Doubles, folds: Folds) -> None:
    """Raises ValueError where fewer than 3 folds or single-class training sets make a nested fit
    impossible.
    """
    if folds.n_folds < 3:
        raise ValueError(f"{folds.n_folds} folds; a nested choice needs at least 3, so at least 3 games")
    for value in (0, 1):
        holding = len(np.unique(folds.fold[labels == value]))
        if holding < 3:
            raise ValueError(
                f"label {value} occurs in {holding} of {folds.n_folds} folds; every training set needs "
                "both classes, so more games are needed"
            )


def _fits(trained: Trained, kind: Kind, grid: Doubles) -> tuple[Doubles, Doubles]:
    """Weights `(d, n_penalties)` and intercepts of the closed-form probes (ridge in place of logistic)."""
    if kind == "mass_mean":
        fits = [trained.mass_mean()]
    elif kind == "lda":
        fits = [trained.lda()]
    else:
        fits = [trained.ridge(penalty * trained.n) for penalty in grid]
    return np.hstack([w for w, _ in fits]), np.hstack([b for _, b in fits])


def cell_scores(
    x: NDArray[Any],
    y: ArrayLike,
    cell: ArrayLike,
    plan: Sequence[tuple[Sequence[int], Sequence[int]]],
    penalty: float = 0.1,
) -> tuple[Doubles, NDArray[np.int64]]:
    """Ridge scores under any plan of training and test cells, e.g. other games AND other names.

    `x` (n_rows, d), `y` (n_rows,), `cell` (n_rows,) codes; `plan` lists (train cells, test cells). Returns
    the scores `(n_rows,)` (NaN for rows never tested) and the number of the fit that scored each row, for
    use as strata.
    """
    labels, cells = np.asarray(y, dtype=float), np.asarray(cell)
    moments = Moments(int(cells.max()) + 1, x.shape[1], 1).add(x, cells, labels[:, None])
    scores, fit = np.full(len(labels), np.nan), np.full(len(labels), -1, dtype=np.int64)
    for number, (train, test) in enumerate(plan):
        rows = np.flatnonzero(np.isin(cells, list(test)))
        if len(rows) and moments.n[list(train)].sum() > 1:
            scores[rows] = project(x[rows], *moments.ridge(train, penalty))[:, 0]
            fit[rows] = number
    return scores, fit


def leave_names_out(
    x: NDArray[Any], y: ArrayLike, folds: Folds, bucket: ArrayLike, penalty: float = 0.1
) -> tuple[Doubles, NDArray[np.int64]]:
    """As `cell_scores`, each row scored by a fit that saw neither its game nor any name of its `bucket`
    (n_rows,).
    """
    folds.require_grouped()
    part = np.asarray(bucket)
    n = int(part.max()) + 1
    plan = [
        (
            [f * n + b for f in range(folds.n_folds) if f != out for b in range(n) if b != held],
            [out * n + held],
        )
        for out in range(folds.n_folds)
        for held in range(n)
    ]
    return cell_scores(x, y, folds.fold * n + part, plan, penalty)


def is_grouped(folds: Folds, games: ArrayLike) -> bool:
    """Whether the folds really keep games together, checked from the games and not from `Folds.grouped`."""
    return folds.grouped and check_folds(folds.fold, games)
