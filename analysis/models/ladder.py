"""How deep a reader's inference goes: its beliefs compared with observers that use evidence only up to a rung.

`agents.werewolf.observer.ladder` and `agents.avalon.observer.ladder` name the rungs. All sources are scored on the same
rows, once for each model: those that played, each on its own games, and, where one model played, those that were
captured on its contexts. Checkpoints whose names end in the tokens trained make a course. Only some games of each model
are read (`analysis.beliefs.rung_games`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.targets import SiteActivations
from analysis.evaluation.evaluate import Evaluation, Settings, too_few
from analysis.models.checkpoints import tokens_trained
from analysis.probes.probes import check_classes, probe
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc, interval
from analysis.stats.splits import Folds, game_folds

REPRESENTED, STATED = "represented", "stated"
LADDER: dict[str, Any] = {
    "model": pl.String,
    "tokens": pl.Int64,  # trained on; null where the name tells no number
    "source": pl.String,  # a rung, stated, represented
    "auroc": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "above": pl.List(
        pl.String
    ),  # rungs that it beats: paired difference over games with its interval above 0
    "below": pl.List(pl.String),  # rungs that beat it
    "n_rows": pl.Int64,
    "n_games": pl.Int64,
}


def ladder(
    e: Evaluation,
    beliefs: pl.DataFrame,
    checkpoints: Mapping[str, SiteActivations],
    rungs: Sequence[str],
    settings: Settings,
) -> tuple[pl.DataFrame, list[str]]:
    """AUROC of every source for every model (schema `LADDER`), by tokens trained, and in words what is left out.

    `beliefs` (`observers.SCHEMA`) are those of the observers of every rung, `rungs` their names from the lowest; games
    without any are not looked at.
    """
    target, absent, found = e.target, list[str](), list[dict[str, Any]]()
    played = target.frame["model"].fill_null("").to_numpy()
    models = [m for m in dict.fromkeys(played.tolist()) if m]
    for model in models:
        rows = np.flatnonzero(played == model)
        by_rung = _joined(target.frame[rows], beliefs, rungs)
        known = np.isfinite(by_rung).all(axis=1)
        rows, by_rung = rows[known], by_rung[known]
        why = too_few(target.y[rows], target.games[rows])
        if why:
            absent.append(f"{model.split('@')[0]}: {why} that every rung could follow")
            continue
        main = target.activations[0]
        read = [(model, main)] if len(models) > 1 else [*checkpoints.items(), (model, main)]
        for name, captured in read:
            stated = target.stated.get("stated", target.stated.get("stated_words")) if name == model else None
            part = rows[captured.at[rows] >= 0]
            of_rungs = dict(zip(rungs, by_rung[np.isin(rows, part)].T, strict=True))
            why = too_few(target.y[part], target.games[part])
            if why:
                absent.append(f"{name.split('@')[0]}: {why} that every rung could follow")
                continue
            found += _scored(
                name, target.y[part], target.games[part], of_rungs, captured.take(part),
                None if stated is None else stated[part], e.folds.n_folds, settings,
            )  # fmt: skip
    frame = pl.DataFrame(found, schema=LADDER)
    return frame.sort("tokens", "model", nulls_last=True, maintain_order=True), absent


def _joined(frame: pl.DataFrame, beliefs: pl.DataFrame, rungs: Sequence[str]) -> NDArray[np.float64]:
    """`(n_rows, n_rungs)`, NaN where a rung has no belief."""
    keys = frame.select("game_id", pl.col("seq").cast(pl.Int32), "viewer", "subject").with_row_index("row_")
    wide = keys.join(beliefs, on=["game_id", "seq", "viewer", "subject"], how="left", maintain_order="left")
    out = np.full((len(frame), len(rungs)), np.nan)
    for at, name in enumerate(rungs):
        mine = wide.filter(pl.col("source") == name)
        out[mine["row_"].to_numpy(), at] = mine["p_werewolf"].to_numpy()
    return out


def _scored(
    model: str, y: NDArray[Any], games: NDArray[Any], rungs: Mapping[str, NDArray[np.float64]],
    captured: SiteActivations, stated: NDArray[np.float64] | None, n_folds: int, settings: Settings,
) -> list[dict[str, Any]]:  # fmt: skip
    """The table's rows for one model. Where a stated belief is absent, the lowest rung's belief replaces it."""
    folds: Folds = game_folds(games, min(n_folds, len(np.unique(games))), settings.seed)
    check_classes(y, folds)
    own = probe([captured.layer(i) for i in captured.probed], y, folds, games)
    sources = dict(rungs)
    if stated is not None and np.isfinite(stated).mean() > 0.5:
        sources[STATED] = np.where(np.isfinite(stated), stated, next(iter(rungs.values())))
    sources[REPRESENTED] = own.scores
    training = [own.training if name == REPRESENTED else np.zeros(1) for name in sources]
    values, samples = bootstrap_auroc(
        y, list(sources.values()), games, folds.fold, settings.n_boot // 2, settings.seed, training
    )
    n_games = len(np.unique(games))
    found = []
    for i, name in enumerate(sources):
        mine = auroc_interval(samples[i], values[i], n_games=n_games)
        gains = [
            interval(samples[i] - samples[r], values[i] - values[r], n_games=n_games)
            for r in range(len(rungs))
        ]
        found.append(
            {
                "model": model, "tokens": tokens_trained(model), "source": name, "auroc": mine.value, "low": mine.low,
                "high": mine.high, "above": [r for r, g in zip(rungs, gains) if g.low > 0],
                "below": [r for r, g in zip(rungs, gains) if g.high < 0], "n_rows": len(y), "n_games": n_games,
            }
        )  # fmt: skip
    return found
