"""Other ways to read the same rows: the recipes of the field beside the headline probe, on the same folds.

`mass mean` (difference of class means), `LDA`, `ridge`; `LAT` (first principal component of differences of random
pairs, its sign from the training labels: representation engineering); `MLP` (one small hidden layer). All but the MLP
and LAT choose layer and penalty inside; those two, and the direction from instructed pairs, take the layer that the
headline probe chose most often, which favours them. Instructed pairs need captures of the same decisions under
instructions to be honest and to lie; without them the recipe is named as absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from analysis.data.targets import Target
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.registry import PROBES
from analysis.probes.probes import Kind, probe
from analysis.stats.metrics import auroc
from analysis.stats.moments import Doubles
from analysis.stats.splits import Folds

MLP_ROWS = 4000
"""Training rows of the MLP at most, drawn at random."""
MLP_PASSES = 25
"""Passes over them; more would fit the training rows better and other games no better."""
INSTRUCTED = ("instructed_honest", "instructed_lie")
"""Variants of captures that the instructed-pair recipe needs."""


def recipes(e: Evaluation, seed: int = 0) -> pl.DataFrame:
    """AUROC of every recipe on the target's rows and folds: columns recipe, auroc, what."""
    main, y, games = e.target.readouts[0], e.target.y, e.target.games
    layers = [main.layer(i) for i in main.probed]
    place = int(np.bincount(e.probe.chosen_layer).argmax())
    x = layers[place]
    rows = [{"recipe": "logistic", "auroc": e.probe.auroc, "what": "the headline"}]
    kinds: tuple[tuple[Kind, str], ...] = (
        ("ridge", "least squares on 0/1"),
        ("mass_mean", "difference of class means, standardised features"),
        ("lda", "Fisher's direction, shrunk covariance"),
    )
    for kind, what in kinds:
        rows.append(
            {
                "recipe": kind.replace("_", " "),
                "auroc": probe(layers, y, e.folds, games, kind).auroc,
                "what": what,
            }
        )
    size = f"one hidden layer of 32 units, {MLP_PASSES} passes over {MLP_ROWS:,} rows at most"
    found = [
        ("LAT", lat(x, y, e.folds, seed), "principal component of pair differences"),
        ("MLP", mlp(x, y, e.folds, seed), size),
    ]
    pairs = instructed(e.target, main.probed[place], e.folds)
    if pairs is not None:
        told = (
            f"lie minus honest instruction, tells {pairs.told:.0%} of held-out pairs apart; {pairs.n:,} pairs"
        )
        found.append(("instructed pairs", pairs.scores, told))
    found += [(name, new.fit(layers, e.target.y, e.folds), new.what) for name, new in PROBES.items()]
    rows += [{"recipe": name, "auroc": _auroc(e, scores), "what": what} for name, scores, what in found]
    return pl.DataFrame(rows)


def _auroc(e: Evaluation, scores: NDArray[Any]) -> float:
    return float(auroc(e.target.y, scores, strata=e.folds.fold))


@dataclass(frozen=True)
class Instructed:
    """What the instructed-pair recipe gives."""

    scores: Doubles
    """`(n_rows,)` out of fold, on the contexts without instruction."""
    told: float
    """Share of held-out pairs whose context under the instruction to lie scores higher."""
    n: int


def instructed(target: Target, layer: int, folds: Folds) -> Instructed | None:
    """The same decision read under an instruction to lie and one to be honest: the mean difference is the direction.

    `layer` is a position in the probes. Labels of the target are not used; pairs of other games are (Zou et al.
    2023, Goldowsky-Dill et al. 2025). None where a fold lacks pairs.
    """
    main = target.readouts[0]
    pair = [
        next((r for r in target.readouts if r.variant == v and r.site == main.site), None) for v in INSTRUCTED
    ]
    honest, lying = pair
    if honest is None or lying is None:
        return None
    both = np.flatnonzero((honest.at >= 0) & (lying.at >= 0))
    if len(np.unique(folds.fold[both])) < folds.n_folds:
        return None
    x = main.layer(layer).astype(np.float64)
    moved = lying.x[lying.at[both], layer].astype(np.float64) - honest.x[honest.at[both], layer]
    scores, right = np.empty(len(x)), 0
    for f in range(folds.n_folds):
        train, test = folds.fold != f, folds.fold == f
        scale = x[train].std(axis=0) + 1e-6
        w = moved[folds.fold[both] != f].mean(axis=0) / scale**2
        scores[test] = x[test] @ w
        right += int((moved[folds.fold[both] == f] @ w > 0).sum())
    return Instructed(scores, right / len(both), len(both))


def lat(x: NDArray[Any], y: NDArray[Any], folds: Folds, seed: int = 0, pairs: int = 2000) -> Doubles:
    """Out-of-fold scores `(n_rows,)` of linear artificial tomography."""
    rng, scores = np.random.default_rng(seed), np.empty(len(y))
    for f in range(folds.n_folds):
        train, test = np.flatnonzero(folds.fold != f), np.flatnonzero(folds.fold == f)
        mean, scale = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6
        a, b = rng.choice(train, pairs), rng.choice(train, pairs)
        moved = ((x[a] - x[b]) / scale).astype(np.float64)
        w = np.linalg.eigh(moved.T @ moved)[1][:, -1]
        at_train = ((x[train] - mean) / scale) @ w
        up = at_train[y[train] > 0].mean() >= at_train[y[train] <= 0].mean()
        scores[test] = (((x[test] - mean) / scale) @ w) * (1 if up else -1)
    return scores


def mlp(x: NDArray[Any], y: NDArray[Any], folds: Folds, seed: int = 0) -> Doubles:
    """Out-of-fold probabilities `(n_rows,)` of a small multilayer perceptron."""
    rng, scores = np.random.default_rng(seed), np.empty(len(y))
    for f in range(folds.n_folds):
        train, test = np.flatnonzero(folds.fold != f), np.flatnonzero(folds.fold == f)
        train = rng.permutation(train)[:MLP_ROWS]
        mean, scale = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6
        z, labels = (x[train] - mean) / scale, y[train] > 0
        net = MLPClassifier(
            (32,), alpha=1e-2, batch_size=min(256, len(train)), learning_rate_init=3e-3, random_state=seed
        )
        for _ in range(MLP_PASSES):  # a fixed length: no stopping rule that would need rows of its own
            net.partial_fit(z, labels, classes=[False, True])
        scores[test] = net.predict_proba((x[test] - mean) / scale)[:, 1]
    return scores
