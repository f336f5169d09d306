"""Rates before and after on the same deals: the difference with its interval, games drawn together in both runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from analysis.change.acts import LAST_DAY, MEASURES, merged
from analysis.stats.bootstrap import Interval, game_weights, holm, interval, ratio_interval, ratios, spread_p

DIFFERENCES: dict[str, Any] = {
    "measure": pl.String,
    "role": pl.String,
    "days": pl.String,  # all, 1, 2, 3+
    "before": pl.Float64,
    "after": pl.Float64,
    "difference": pl.Float64,  # after minus before
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,  # by the spread over resampled games
    "p_adjusted": pl.Float64,  # Holm, over the rows of all days
    "n_before": pl.Float64,  # occasions
    "n_after": pl.Float64,
    "n_games": pl.Int64,  # deals that both have
    "verdict": pl.String,  # changed, not shown to change, too few
}
FEWEST = 20
"""A row is tested only with this many occasions in each run."""
COURSE: dict[str, Any] = {
    "run": pl.Int32, "model": pl.String, "measure": pl.String, "role": pl.String, "value": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "n": pl.Float64,
}  # fmt: skip


def differences(counts: pl.DataFrame, n_boot: int = 2000, seed: int = 0) -> pl.DataFrame:
    """Schema `DIFFERENCES`, in the order of the measures: the last run against the first, on the deals of both."""
    if counts.is_empty():
        return pl.DataFrame(schema=DIFFERENCES)
    first, last = 0, int(counts["run"].to_numpy().max())
    deals = [set(counts.filter(pl.col("run") == r)["deal"].to_list()) for r in (first, last)]
    shared = sorted(deals[0] & deals[1])
    place = {deal: i for i, deal in enumerate(shared)}
    if not shared or first == last:
        return pl.DataFrame(schema=DIFFERENCES)
    weights = np.vstack([np.ones((1, len(shared))), game_weights(len(shared), n_boot, seed)])
    rows = []
    for name, days in (("all", None), ("1", (1,)), ("2", (2,)), (f"{LAST_DAY}+", (LAST_DAY,))):
        kept = merged(counts.filter(pl.col("run").is_in([first, last])), days)
        for measure in MEASURES:
            for role in sorted(kept.filter(measure=measure)["role"].unique(maintain_order=True)):
                part = kept.filter(measure=measure, role=role)
                sums = np.zeros((2, 2, len(shared)))  # before/after, value/n, deal
                for run, deal, value, n in part.select("run", "deal", "value", "n").iter_rows():
                    if deal in place:
                        sums[int(run != first), :, place[deal]] += (value, n)
                rows.append({"measure": measure, "role": role, "days": name, **_difference(sums, weights)})
    frame = pl.DataFrame(
        rows, schema={k: v for k, v in DIFFERENCES.items() if k not in ("p_adjusted", "verdict")}
    )
    tested = (frame["days"] == "all").to_numpy() & (frame["n_before"] >= FEWEST).to_numpy() & (
        frame["n_after"] >= FEWEST
    ).to_numpy()  # fmt: skip
    adjusted = holm(np.where(tested, frame["p"].to_numpy(), np.nan))
    few = (pl.col("n_before") < FEWEST) | (pl.col("n_after") < FEWEST)
    return frame.with_columns(p_adjusted=pl.Series(adjusted).fill_nan(None)).with_columns(
        verdict=pl.when(few).then(pl.lit("too few"))
        .when(pl.col("p_adjusted") < 0.05).then(pl.lit("changed"))
        .when(pl.col("p_adjusted").is_not_null()).then(pl.lit("not shown to change"))
    ).select(list(DIFFERENCES))  # fmt: skip


def _difference(sums: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    rates = ratios(sums, weights)
    moved = rates[1] - rates[0]
    i: Interval = interval(moved[1:], float(moved[0]), n_games=sums.shape[2])
    known = {
        "before": float(rates[0, 0]), "after": float(rates[1, 0]), "difference": i.value, "low": i.low, "high": i.high,
        "p": spread_p(moved[1:], float(moved[0]), n_games=sums.shape[2]),
    }  # fmt: skip
    finite = {key: value if np.isfinite(value) else None for key, value in known.items()}
    counts = {"n_before": float(sums[0, 1].sum()), "n_after": float(sums[1, 1].sum())}
    return finite | counts | {"n_games": sums.shape[2]}


def course(counts: pl.DataFrame, n_boot: int = 500, seed: int = 0) -> pl.DataFrame:
    """The rates of every run with intervals over its games (schema `COURSE`), where there are checkpoints between."""
    rows = []
    for (run, model, measure, role), part in merged(counts).group_by(
        "run", "model", "measure", "role", maintain_order=True
    ):
        i = ratio_interval(part["deal"], part["value"], part["n"], n_boot, seed)
        n = float(part["n"].to_numpy().sum())
        rows.append((run, model, measure, role, i.value, i.low, i.high, n))
    return pl.DataFrame(rows, schema=COURSE, orient="row")
