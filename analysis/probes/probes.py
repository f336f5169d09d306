"""Linear probes with a nested choice of layer and penalty on game-grouped folds.

`probe` gives every row a score from a fit that saw nothing of its game: layer and penalty are chosen on the other folds
alone (each of them held out in turn), so the headline has no selection bias. Kinds: `logistic` (the default), `ridge`
(least squares on 0/1), `mass_mean`, `lda`. There is no PCA anywhere: belief can live in directions of little variance.
One `Moments` pass and `n_folds (n_folds + 1) / 2` eigendecompositions a layer serve all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.probes.choice import Factorised, Kind, chosen_inside
from analysis.stats.codes import codes_of
from analysis.stats.logistic import fit_logistic, probabilities
from analysis.stats.metrics import auroc
from analysis.stats.moments import Doubles, Moments, project
from analysis.stats.ridge import PENALTIES
from analysis.stats.splits import Folds, check_folds
from analysis.stats.training_variance import TRAINING_DRAWS, FoldFit, one_layer_a_draw, training_draws

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
    of_layers: Callable[[], Doubles]
    """Computes `by_layer`: the fits at layers that no fold chose are made where it is asked for."""
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

    @cached_property
    def by_layer(self) -> Doubles:
        """`(n_layers,)` AUROC with the layer fixed (penalty still chosen inside)."""
        return self.of_layers()

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
    chosen = chosen_inside(sets, kind, grid)
    outer, best_penalty, best_layer = chosen.outer, chosen.penalty, chosen.layer
    held = [np.flatnonzero(fold == f) for f in range(k)]
    weights: dict[tuple[int, int], tuple[Doubles, Doubles]] = {}  # of the logistic fits, by (layer, fold)

    def fitted(number: int, f: int) -> tuple[Doubles, Doubles]:
        if (number, f) not in weights:
            train, own_fit = np.flatnonzero(fold != f), sets.without(number, f)
            p = float(own_fit.y_mean[0])
            penalty = grid[[best_penalty[f, number]]] * p * (1 - p)
            weights[number, f] = fit_logistic(own_fit, layers[number][train], labels[train], penalty)
        return weights[number, f]

    def scored(number: int, f: int) -> Doubles:
        """Scores of the rows of a fold, the layer fixed."""
        if kind != "logistic":
            return np.asarray(outer[number, best_penalty[f, number], held[f]])
        return probabilities(sets.held(number)[f].onto(*fitted(number, f))[:, 0])

    def of_layers() -> Doubles:
        every = np.empty((len(layers), len(labels)))
        for number in range(len(layers)):
            for f in range(k):
                every[number, held[f]] = scored(number, f)
        return np.asarray(auroc(labels, every.T, strata=fold))

    scores, closed = np.empty(len(labels)), np.empty(len(labels))
    for f in np.argsort(best_layer, kind="stable").tolist():  # layer by layer
        layer = int(best_layer[f])
        scores[held[f]] = scored(layer, f)
        closed[held[f]] = outer[layer, best_penalty[f, layer], held[f]]
    nested = Nested(closed, chosen.held_out[best_layer, np.arange(k)].astype(np.float64))
    training = np.zeros(TRAINING_DRAWS)
    if kind in ("logistic", "ridge"):
        drawn = {}
        for number in sorted(set(best_layer.tolist())):
            parts = []
            for f in range(k):
                own_fit, penalty = sets.without(number, f), float(grid[best_penalty[f, number]])
                w, b = fitted(number, f) if kind == "logistic" else own_fit.ridge(penalty * own_fit.n)
                parts.append(FoldFit(own_fit, layers[number], w, b, penalty))
            drawn[number] = training_draws(parts, labels, folds, game, kind == "logistic")
        training = one_layer_a_draw([drawn[number] for number in best_layer.tolist()])
    return ProbeResult(
        kind,
        scores,
        folds,
        auroc(labels, scores, strata=fold),
        of_layers,
        tuple(int(b) for b in best_layer),
        tuple(float(grid[best_penalty[f, best_layer[f]]]) for f in range(k)),
        int(game.max()) + 1,
        training,
        nested,
    )


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
