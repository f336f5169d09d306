"""Whether activations hold the whole posterior: a linear map from them to the beliefs of the ideal reader.

A probe of the truth can succeed without a belief. Here the target is the ideal reader's log-odds (out-of-fold R2,
compared with the same map from everything public); the simplex of two roles and neither shows the predicted beliefs of
held-out games. Second-order calibration compares what a seat expects another to believe with what that other believes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.frames import counts_in
from analysis.data.targets import Target
from analysis.stats.bootstrap import ratio_interval
from analysis.stats.metrics import log_odds, r2
from analysis.stats.moments import Doubles, Moments
from analysis.stats.ridge import PENALTIES
from analysis.stats.splits import Folds

CALIBRATION: dict[str, Any] = {
    "predicted": pl.Float64,
    "observed": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "games": pl.Int64,
}


def ridge_map(x: NDArray[Any], y: NDArray[Any], folds: Folds) -> Doubles:
    """Out-of-fold predictions `(n_rows, n_targets)` of ridge from `x` (n_rows, d) to `y` (n_rows, n_targets).

    The penalty of each held-out fold is the one with the least squared error on the next fold, which is left out of
    training for this choice.
    """
    folds.require_grouped()
    k, out = folds.n_folds, np.empty(y.shape)
    moments = Moments(k, x.shape[1], y.shape[1]).add(x, folds.fold, y)
    for f in range(k):
        inner = (f + 1) % k
        rest = moments.train(c for c in range(k) if c not in (f, inner))
        rows = folds.fold == inner
        z = x[rows].astype(np.float64)
        fits = [rest.ridge(penalty * rest.n) for penalty in PENALTIES]
        best = int(np.argmin([((z @ w + b - y[rows]) ** 2).mean() for w, b in fits]))
        whole = moments.train(c for c in range(k) if c != f)
        w, b = whole.ridge(PENALTIES[best] * whole.n)
        held = folds.fold == f
        out[held] = x[held].astype(np.float64) @ w + b
    return out


def posterior_r2(target: Target, folds: Folds, p: NDArray[np.float64]) -> pl.DataFrame:
    """R2 of the log-odds of belief `p` (n_rows,): by layer, and from everything public. Columns layer, r2, kind."""
    y = log_odds(p)[:, None]
    main = target.activations[0]
    rows = [
        {"layer": name, "r2": float(r2(y[:, 0], ridge_map(main.layer(i), y, folds)[:, 0])), "kind": "activations"}
        for i, name in enumerate(main.layers)
    ]  # fmt: skip
    public = target.frame.select(
        *counts_in(target.frame), "turn", "n_living", "length", "p_rules", "day"
    ).to_numpy().astype(np.float64)  # fmt: skip
    rows.append(
        {
            "layer": "public",
            "r2": float(r2(y[:, 0], ridge_map(public, y, folds)[:, 0])),
            "kind": "public events",
        }
    )
    return pl.DataFrame(rows)


def simplex(
    target: Target, folds: Folds, one: NDArray[Any], two: NDArray[Any], corners: tuple[str, str], layer: int
) -> pl.DataFrame:
    """Exact and predicted beliefs as points: columns x, y, px, py (triangle coordinates), role, and the three beliefs
    of each.

    one, two: the posterior `(n_rows,)` that the subject has the role the target asks about (`corners[0]`), and that it
    has the role `corners[1]`. These corners lie at (0, 0) and (1, 0), "neither" at (1/2, sqrt(3)/2). `layer` is a
    position in the probe's layers.
    """
    exact = np.stack([one, two, np.clip(1 - one - two, 0, 1)], axis=1)
    predicted = ridge_map(target.activations[0].layer(layer), exact, folds)
    places = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    a, b = exact @ places, predicted @ places
    return pl.DataFrame(
        {
            "x": a[:, 0], "y": a[:, 1], "px": b[:, 0], "py": b[:, 1],
            "role": np.where(
                target.y > 0,
                corners[0],
                np.where(target.frame["subject_role"] == corners[1], corners[1], "other"),
            ),
            "p_werewolf": one, "predicted": predicted[:, 0],
        }
    )  # fmt: skip


def calibration(
    predicted: NDArray[Any], actual: NDArray[Any], games: NDArray[Any], bins: int = 10
) -> pl.DataFrame:
    """Means of `actual` in bins of equal count of `predicted`, with intervals over games: columns predicted, observed,
    low, high, n, games. All are `(n_rows,)`."""
    order = np.argsort(predicted, kind="stable")
    rows = []
    for r in np.array_split(order, bins):
        if len(r):
            names, code = np.unique(games[r], return_inverse=True)
            i = ratio_interval(names, np.bincount(code, actual[r]), np.bincount(code))
            rows.append((float(predicted[r].mean()), i.value, i.low, i.high, len(r), len(names)))
    return pl.DataFrame(rows, schema=CALIBRATION, orient="row")


def second_order(beliefs: pl.DataFrame, exact: pl.DataFrame) -> pl.DataFrame:
    """Pairs of the belief that a seat expects of another and the belief that this other holds.

    `beliefs` are the stated ones (with `about`), `exact` is `observers.SECOND`. Columns source, game_id,
    expected, actual.
    Source `observer` pairs the ideal reader's expectation with the ideal reader's belief in the other's seat. A stated
    source pairs the stated expectation with what the other stated at its latest decision before; `... against observer`
    pairs it with the ideal reader's belief in the other's seat.
    """
    parts = [exact.select(source=pl.lit("observer"), game_id="game_id", expected="expected", actual="actual")]
    asked = beliefs.filter(pl.col("about").is_not_null() & pl.col("p_werewolf").is_not_null())
    keys = ["game_id", "seq", "viewer", "subject", "about"]
    for source in asked["source"].unique(maintain_order=True):
        mine = asked.filter(pl.col("source") == source)
        both = mine.join(exact, on=keys, how="inner", maintain_order="left")
        parts.append(
            both.select(
                source=pl.lit(f"{source} against observer"),
                game_id="game_id",
                expected="p_werewolf",
                actual="actual",
            )
        )
        own = beliefs.filter((pl.col("source") == source) & pl.col("about").is_null()).select(
            "game_id", "seq", subject="viewer", about="subject", theirs="p_werewolf"
        )
        joined = mine.sort("seq", maintain_order=True).join_asof(
            own.drop_nulls("theirs").sort("seq", maintain_order=True), on="seq", by=["game_id", "subject", "about"],
            strategy="backward", check_sortedness=False,
        )  # fmt: skip
        known = joined.drop_nulls("theirs")
        parts.append(
            known.select(
                source=pl.lit(str(source)), game_id="game_id", expected="p_werewolf", actual="theirs"
            )
        )
    return pl.concat([part.cast({"expected": pl.Float64, "actual": pl.Float64}) for part in parts])
