"""Do old probes still read the new model? Old and new probes on old and new activations of the same contexts.

If the old model's probe reads the new model as well as the new model's own probe does, the representation stayed; if
only the new probe reads it, the representation rotated; if neither does, it is gone. The same cells for the exact
posterior tell whether represented beliefs about others changed, whatever is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.beliefs.geometry import ridge_map
from analysis.data.targets import SiteActivations
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.probes.permutation import NULL_PENALTY
from analysis.probes.probes import check_classes
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc, interval, ratio_interval
from analysis.stats.metrics import log_odds
from analysis.stats.moments import Moments, project
from analysis.stats.splits import Folds, game_folds

CELLS: dict[str, Any] = {
    "probe": pl.String,  # old, new, difference (new probe minus old one, on these activations); posterior
    "activations": pl.String,  # old, new
    "measure": pl.String,  # AUROC, R2 (of the exact posterior's log-odds)
    "value": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "layer": pl.String, "n_rows": pl.Int64, "n_games": pl.Int64,
}  # fmt: skip


def cells(
    e: Evaluation, after: SiteActivations, posterior: NDArray[np.float64] | None, settings: Settings
) -> pl.DataFrame:
    """The headline target's four cells (schema `CELLS`), at the layer chosen for the old model.

    after: the same site's activations in the new model. posterior: `(n_rows,)`, the ideal reader's belief, or None.
    """
    before = e.target.activations[0]
    rows = np.flatnonzero((before.at >= 0) & (after.at >= 0))
    y, games = e.target.y[rows], e.target.games[rows]
    n_games = len(np.unique(games))
    folds = game_folds(games, min(e.folds.n_folds, n_games), settings.seed)
    check_classes(y, folds)
    place = before.probed[e.probe.place]
    x = {"old": before.take(rows).layer(place), "new": after.take(rows).layer(place)}
    known = {"layer": before.layers[place], "n_rows": len(rows), "n_games": n_games}
    scores = {
        (probe, read): _carried(x[probe], x[read], y, folds)
        for read in ("old", "new")
        for probe in ("old", "new")
    }
    values, samples = bootstrap_auroc(
        y, list(scores.values()), games, folds.fold, settings.n_boot // 2, settings.seed
    )
    found: list[dict[str, Any]] = []
    for k, (probe, read) in enumerate(scores):
        i = auroc_interval(samples[k], values[k], n_games=n_games)
        found.append(known | {"probe": probe, "activations": read, "measure": "AUROC", **_shown(i)})
    for read, (old, new) in (("old", (0, 1)), ("new", (2, 3))):
        i = interval(samples[new] - samples[old], values[new] - values[old], n_games=n_games)
        found.append(known | {"probe": "difference", "activations": read, "measure": "AUROC", **_shown(i)})
    if posterior is not None:
        belief = log_odds(posterior[rows])
        code = np.unique(games, return_inverse=True)[1]
        for read, stream in x.items():
            missed = np.bincount(code, (belief - ridge_map(stream, belief[:, None], folds)[:, 0]) ** 2)
            spread = np.bincount(code, (belief - belief.mean()) ** 2)
            j = ratio_interval(np.unique(games), missed, spread, settings.n_boot // 4, settings.seed)
            shown = {"value": 1 - j.value, "low": 1 - j.high, "high": 1 - j.low}
            found.append(known | {"probe": "posterior", "activations": read, "measure": "R2", **shown})
    return pl.DataFrame(found, schema=CELLS)


def _shown(i: Any) -> dict[str, float]:
    return {"value": i.value, "low": i.low, "high": i.high}


def _carried(
    fitted: NDArray[np.float32], read: NDArray[np.float32], y: NDArray[np.float64], folds: Folds
) -> NDArray[np.float64]:
    """Out-of-fold scores of `read` by ridges that were fitted on the other folds of `fitted`."""
    moments = Moments(folds.n_folds, fitted.shape[1], 1).add(fitted, folds.fold, y[:, None])
    out = np.empty(len(y))
    for f in range(folds.n_folds):
        trained = moments.train(c for c in range(folds.n_folds) if c != f)
        w, b = trained.ridge(NULL_PENALTY * trained.n)
        held = folds.fold == f
        out[held] = project(read[held], w, b)[:, 0]
    return out
