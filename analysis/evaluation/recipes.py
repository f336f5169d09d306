"""Probing recipes of the literature beside the headline probe, on the same rows and folds.

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

from analysis.data.targets import Target
from analysis.evaluation.evaluate import Begun, Evaluation
from analysis.evaluation.registry import PROBES
from analysis.probes.choice import Factorised, Kind
from analysis.probes.mlp import PASSES, ROWS, UNITS, mlp
from analysis.probes.probes import probe
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc
from analysis.stats.moments import Doubles
from analysis.stats.splits import Folds

INSTRUCTED = ("instructed_honest", "instructed_lie")
"""Variants of captures that the instructed-pair recipe needs."""


def recipes(e: Evaluation | Begun, seed: int = 0, n_boot: int = 500) -> pl.DataFrame:
    """AUROC of every recipe on the target's rows and folds: columns recipe, auroc, low, high (over games), what.

    Beliefs are not needed, so a `Begun` evaluation suffices.
    """
    main, y, games, folds = e.target.activations[0], e.target.y, e.target.games, e.folds
    headline, sets = (e.found, e.sets) if isinstance(e, Begun) else (e.probe, e.factorised)
    sets = sets or Factorised([main.layer(i) for i in main.probed], y, folds)
    layers = list(sets.layers)
    place = headline.place
    x = layers[place]
    found: list[tuple[str, Doubles, str, Doubles]] = [
        ("logistic", headline.scores, "the headline", headline.training)
    ]
    kinds: tuple[tuple[Kind, str], ...] = (
        ("ridge", "least squares on 0/1"),
        ("mass_mean", "difference of class means, standardised features"),
        ("lda", "Fisher's direction, shrunk covariance"),
    )
    for kind, what in kinds:
        fit = probe(layers, y, folds, games, kind, factorised=sets)
        found.append((kind.replace("_", " "), fit.scores, what, fit.training))
    size = f"one hidden layer of {UNITS} units, {PASSES} passes over {ROWS:,} rows at most"
    given = [
        ("LAT", lat(x, y, folds, seed), "principal component of pair differences"),
        ("MLP", mlp(x, y, folds, seed), size),
    ]
    pairs = instructed(e.target, main.probed[place], folds)
    if pairs is not None:
        told = (
            f"lie minus honest instruction, tells {pairs.told:.0%} of held-out pairs apart; {pairs.n:,} pairs"
        )
        given.append(("instructed pairs", pairs.scores, told))
    given += [(name, new.fit(layers, y, folds), new.what) for name, new in PROBES.items()]
    found += [(name, scores, what, np.zeros(1)) for name, scores, what in given]
    values, samples = bootstrap_auroc(
        y, [scores for _, scores, _, _ in found], games, folds.fold, n_boot, seed, [t for *_, t in found]
    )
    rows = []
    for (name, _, what, _), value, drawn in zip(found, values, samples):
        i = auroc_interval(drawn, float(value), n_games=e.target.n_games)
        rows.append({"recipe": name, "auroc": i.value, "low": i.low, "high": i.high, "what": what})
    return pl.DataFrame(rows)


@dataclass(frozen=True)
class Instructed:
    """Results of the instructed-pair recipe."""

    scores: Doubles
    """`(n_rows,)` out of fold, on the contexts without instruction."""
    told: float
    """Share of held-out pairs whose context under the instruction to lie scores higher."""
    n: int


def instructed(target: Target, layer: int, folds: Folds) -> Instructed | None:
    """The mean difference between the same decisions under an instruction to lie and one to be honest, as the
    direction.

    `layer` is a position in the probes. The fit uses pairs of other games and no labels of the target (Zou et al. 2023,
    Goldowsky-Dill et al. 2025). None where a fold lacks pairs.
    """
    main = target.activations[0]
    pair = [
        next((r for r in target.activations if r.variant == v and r.site == main.site), None)
        for v in INSTRUCTED
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
