"""A direction from elsewhere (a persona vector, a probe of another tool) as a saved probe of this project.

The direction itself is not fitted; only the map from its projection to a probability is, on half of the games, and the
figures are measured on the other half. In an experiment's arm it is `vector = FILE` or, once saved here, `probe =
FILE`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.data.frames import Logs, both_rows
from analysis.data.labels import label
from analysis.data.targets import targets_of
from analysis.evaluation.saved import Card, SavedProbe, config_hash
from analysis.features.descriptions import halves
from analysis.features.material import joined
from analysis.stats.errors import AnalysisError
from analysis.stats.logistic import fit_logistic
from analysis.stats.metrics import auroc
from analysis.stats.moments import Moments

FEWEST = 20


def probe_of_direction(
    run: Any,
    vector: NDArray[Any],
    *,
    site: str,
    layer: str,
    target: str = "subject_is_werewolf",
    origin: str = "",
) -> SavedProbe:
    """A probe whose weights lie along `vector` (d_model,).

    Raises AnalysisError for a vector of another width, an unknown target, or too few rows of the target at the site.
    """
    store = run.activations("activations")
    if vector.shape != (store.d_model,) or not np.isfinite(vector).all() or not vector.any():
        raise AnalysisError(
            f"the vector has shape {vector.shape}, the rows of {store.info.model} have width {store.d_model}: give one "
            "direction (d_model,) of this model, finite and not zero"
        )
    logs = Logs([("", run)])
    labels = label(logs)
    asked = targets_of(logs.game, *both_rows(logs), labels["speeches"], labels["ballots"])
    chosen = next((t for t in asked if t.name == target), None)
    if chosen is None:
        raise AnalysisError(f"no target is called {target!r}; there are {', '.join(t.name for t in asked)}")
    lines = store.index(site=site)
    at, rows = joined(lines, chosen.frame)
    y, games = chosen.y[rows], chosen.games[rows]
    if min(y.sum(), (1 - y).sum()) < FEWEST:
        raise AnalysisError(
            f"{len(rows)} rows of {target} were captured at {site}, fewer than {FEWEST} of the rarer kind: nothing can "
            "be said of the direction there"
        )
    x = store.read(lines[at], layer)
    unit = vector.astype(np.float64) / np.linalg.norm(vector)
    along = ((x - x.mean(axis=0)) @ unit)[:, None].astype(np.float32)
    check = halves(games)
    moments = Moments(2, 1, 1).add(along, check.astype(np.int64), y[:, None])
    w, b = fit_logistic(moments.train([0]), along[~check], y[~check], np.array([1e-3]))
    card = Card(
        target=target, question=f"{chosen.question} Read along a direction of others: {origin or 'not said whose'}.",
        site=site, layer=layer, d_model=store.d_model, models=(store.info.model,), runs=(config_hash(run),),
        n_rows=len(y), n_games=len(np.unique(games)), penalty=1e-3, bias=float(b[0]),
        metrics={"AUROC": float(auroc(y[check], along[check, 0]))}, verdict="imported, not fitted",
    )  # fmt: skip
    ones = np.ones(store.d_model, dtype=np.float32)
    mean = x.mean(axis=0).astype(np.float32)
    return SavedProbe(card, (float(w[0, 0]) * unit).astype(np.float32), mean, ones, unit.astype(np.float32))
