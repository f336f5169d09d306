"""Rung 3: whether the represented belief follows an ideal reader's inference beyond the surface.

There are three measures. First, the gain of the probe over the surface as a share of the ideal reader's gain. Second,
the partial R2 of the posterior's log-odds by the activations, given the surface, and given the surface and the truth: a
probe that merely holds the answer (a leak, private knowledge) correlates with the posterior only through the truth,
while a probe that holds the inference errs where the ideal reader errs. Third, the rows where surface and posterior
disagree, with each source's belief there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.probes.probes import Nested
from analysis.rungs.within import Resamples
from analysis.stats.bootstrap import Interval
from analysis.stats.moments import Doubles
from analysis.stats.splits import Folds

APART = 0.35
"""Surface and posterior disagree where their probabilities differ by more than this."""
PARTED: dict[str, Any] = {
    "rows": pl.String,  # where the surface is the more suspicious, where the posterior is
    "n_rows": pl.Int64,
    "n_games": pl.Int64,
    "truth": pl.Float64,
    "surface": pl.Float64,
    "posterior": pl.Float64,
    "represented": pl.Float64,
    "stated": pl.Float64,  # null where nothing was asked
    "share": pl.Float64,  # of the way from surface to posterior at which the represented belief is
    "low": pl.Float64,
    "high": pl.Float64,
}


def partial_r2(
    posterior: Doubles,
    given: Sequence[Nested],
    activations: Nested,
    folds: Folds,
    games: NDArray[Any],
    draw: Resamples,
) -> Interval:
    """1 - SSE(given and activations) / SSE(given) of least squares on held-out games.

    `posterior` (n_rows,) are log-odds; `given` and `activations` their predictions; `games` codes.
    """
    without = _squares(posterior, given, folds)
    with_them = _squares(posterior, [*given, activations], folds)
    n = draw.n_games
    value, samples = draw.ratio(
        np.bincount(games, with_them, n).astype(float), np.bincount(games, without, n).astype(float)
    )
    return draw.interval(1 - samples, 1 - value)


def _squares(y: Doubles, sources: Sequence[Nested], folds: Folds) -> Doubles:
    """Squared errors `(n_rows,)` of least squares on the sources, out of fold."""
    out = np.empty(len(y))
    for f in range(folds.n_folds):
        train, test = np.flatnonzero(folds.fold != f), np.flatnonzero(folds.fold == f)
        a = np.stack([s.inner[f, train] for s in sources] + [np.ones(len(train))], axis=1)
        b = np.stack([s.outer[test] for s in sources] + [np.ones(len(test))], axis=1)
        weights = np.linalg.lstsq(a, y[train], rcond=None)[0]
        out[test] = (y[test] - b @ weights) ** 2
    return out


def where_they_part(
    y: Doubles, sources: Mapping[str, Doubles], games: NDArray[Any], draw: Resamples
) -> pl.DataFrame:
    """Schema `PARTED`. `sources` are probabilities `(n_rows,)`: surface, posterior, represented, perhaps stated."""
    gap = sources["posterior"] - sources["surface"]
    rows = []
    for words, here, sign in (
        ("surface suspects, the ideal reader does not", gap < -APART, -1),
        ("the ideal reader suspects, the surface does not", gap > APART, 1),
    ):
        if not here.any():
            continue
        mean = {name: float(np.nanmean(p[here])) for name, p in sources.items()}
        moved, way = sign * (sources["represented"] - sources["surface"])[here], sign * gap[here]
        n = draw.n_games
        value, samples = draw.ratio(
            np.bincount(games[here], moved, n).astype(float), np.bincount(games[here], way, n).astype(float)
        )
        share = draw.interval(samples, value)
        rows.append(
            {
                "rows": words, "n_rows": int(here.sum()), "n_games": len(np.unique(games[here])),
                "truth": float(y[here].mean()), "stated": None, **mean, "share": share.value, "low": share.low,
                "high": share.high,
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=PARTED)
