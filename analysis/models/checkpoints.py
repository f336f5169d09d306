"""A probe over training: the same contexts in every captured checkpoint.

Every checkpoint gets its own probe on the same rows and folds as the final model. The final model's direction is
applied to the checkpoint too: where it already works, the direction existed then; where it does not, the representation
rotated later. The number of tokens trained is the last number in the checkpoint's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.beliefs.geometry import ridge_map
from analysis.data.targets import SiteActivations
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.probes.permutation import NULL_PENALTY
from analysis.probes.probes import check_classes, probe
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc, ratio_interval
from analysis.stats.metrics import log_odds
from analysis.stats.moments import Moments, project
from analysis.stats.splits import game_folds

COURSE: dict[str, Any] = {
    "model": pl.String,
    "tokens": pl.Int64,  # trained on; null where the name tells no number
    "what": pl.String,  # own probe, final model's direction, posterior
    "measure": pl.String,  # AUROC, R2
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "layer": pl.String,
    "n_rows": pl.Int64,
    "n_games": pl.Int64,
}
FEWEST = 2
"""Smallest number of checkpoints, besides the model that played, for a course."""


def tokens_trained(model: str) -> int | None:
    """The last number in a checkpoint's name: `000000234375@1f..` -> 234375, `small@1f..` -> None."""
    found = re.findall(r"\d+", model.partition("@")[0])
    return int(found[-1]) if found else None


def follow(
    e: Evaluation,
    checkpoints: Mapping[str, SiteActivations],
    posterior: NDArray[np.float64] | None,
    settings: Settings,
) -> pl.DataFrame:
    """The course of one target (schema `COURSE`), by tokens trained, the model that played last.

    `posterior` `(n_rows,)` is the ideal reader's belief, whose log-odds give the R2; None without one. Only rows that
    every checkpoint holds are used. Empty with fewer than `FEWEST` checkpoints.
    """
    if len(checkpoints) < FEWEST:
        return pl.DataFrame(schema=COURSE)
    main = e.target.activations[0]
    rows = np.flatnonzero(np.all([r.at >= 0 for r in (main, *checkpoints.values())], axis=0))
    y, games = e.target.y[rows], e.target.games[rows]
    folds = game_folds(games, e.folds.n_folds, settings.seed)
    check_classes(y, folds)
    final = [main.take(rows).layer(i) for i in main.probed]
    place = e.probe.place
    moments = Moments(folds.n_folds, final[place].shape[1], 1).add(final[place], folds.fold, y[:, None])
    ridge = []
    for f in range(folds.n_folds):
        trained = moments.train(c for c in range(folds.n_folds) if c != f)
        ridge.append(trained.ridge(NULL_PENALTY * trained.n))
    belief = None if posterior is None else log_odds(posterior[rows])
    played = next(
        iter(e.target.frame["model"].drop_nulls().unique(maintain_order=True)), "the model that played"
    )
    found: list[dict[str, Any]] = []
    for model, captured in [*checkpoints.items(), (played, main)]:
        x = [captured.take(rows).layer(i) for i in captured.probed]
        own = probe(x, y, folds, games)
        carried = np.empty(len(y))
        for f, (w, b) in enumerate(ridge):
            held = folds.fold == f
            carried[held] = project(x[place][held], w, b)[:, 0]
        values, samples = bootstrap_auroc(
            y, [own.scores, carried], games, folds.fold, settings.n_boot // 4, settings.seed,
            [own.training, np.zeros(1)],
        )  # fmt: skip
        mode = own.place
        known = {
            "model": model, "tokens": None if captured is main else tokens_trained(model), "n_rows": len(rows),
            "n_games": len(np.unique(games)),
        }  # fmt: skip
        for i, (what, at) in enumerate((("own probe", mode), ("final model's direction", place))):
            mine = auroc_interval(samples[i], values[i], n_games=len(np.unique(games)))
            found.append(known | {"what": what, "measure": "AUROC", "value": mine.value, "low": mine.low,
                                  "high": mine.high, "layer": e.layers[at]})  # fmt: skip
        if belief is not None:
            value, low, high = _r2(belief, ridge_map(x[mode], belief[:, None], folds)[:, 0], games, settings)
            found.append(known | {"what": "posterior", "measure": "R2", "value": value, "low": low, "high": high,
                                  "layer": e.layers[mode]})  # fmt: skip
    frame = pl.DataFrame(found, schema=COURSE)
    last = pl.col("model") == played
    return frame.sort(last, "tokens", "model", nulls_last=True, maintain_order=True)


def _r2(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], games: NDArray[Any], settings: Settings
) -> tuple[float, float, float]:
    """R2 of out-of-fold predictions and its interval over games."""
    code = np.unique(games, return_inverse=True)[1]
    missed = np.bincount(code, weights=(truth - predicted) ** 2)
    spread = np.bincount(code, weights=(truth - truth.mean()) ** 2)
    i = ratio_interval(np.unique(games), missed, spread, settings.n_boot // 4, settings.seed)
    return 1 - i.value, 1 - i.high, 1 - i.low
