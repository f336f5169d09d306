"""Other ways to read the same rows: the recipes of the field beside the headline probe, on the same folds.

`mass mean` (difference of class means), `LDA`, `ridge`; `LAT` (first principal component of differences of random
pairs, its sign from the training labels: representation engineering); `MLP` (one small hidden layer). All but the MLP
and LAT choose layer and penalty inside; those two take the layer that the headline probe chose most often, which
favours them. The instructed-pair probe needs captures under instructions to be honest and to lie; without them it is
named as absent.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from analysis.evaluate import Evaluation
from analysis.metrics import auroc
from analysis.moments import Doubles
from analysis.probes import Kind, probe
from analysis.splits import Folds

MLP_ROWS = 4000
"""Training rows of the MLP at most, drawn at random."""
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
    rows.append(
        {
            "recipe": "LAT",
            "auroc": _auroc(e, lat(x, y, e.folds, seed)),
            "what": "principal component of pair differences",
        }
    )
    rows.append(
        {"recipe": "MLP", "auroc": _auroc(e, mlp(x, y, e.folds, seed)), "what": "one hidden layer of 32 units"}
    )  # fmt: skip
    return pl.DataFrame(rows)


def _auroc(e: Evaluation, scores: NDArray[Any]) -> float:
    return float(auroc(e.target.y, scores, strata=e.folds.fold))


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
        net = MLPClassifier(
            (32,),
            alpha=1e-2,
            max_iter=25,
            batch_size=min(256, len(train)),
            learning_rate_init=3e-3,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit((x[train] - mean) / scale, y[train] > 0)
        scores[test] = net.predict_proba((x[test] - mean) / scale)[:, 1]
    return scores
