"""T4: lies compared with truths and with honest mistakes, at every captured window.

Within a role only what is said differs. A contrast that crosses roles can be answered by the role alone, which is in
the prompt, and is marked so. Recall is at the threshold that 1% of the honest speech in the same contrast exceeds; the
transfer matrix shows that threshold on other data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from analysis.data.captures import attach
from analysis.data.frames import Rows
from analysis.data.targets import SiteActivations, Target
from analysis.evaluation.audits import changed_contexts
from analysis.evaluation.evaluate import Settings, folds_of
from analysis.evaluation.monitor import Texts, monitor
from analysis.probes.probes import ProbeResult, probe
from analysis.rungs.nested import stack
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc, interval
from analysis.stats.metrics import brier, ece, recall_at_fpr
from analysis.stats.splits import Folds
from games.base import Game

WINDOWS: dict[str, Any] = {
    "contrast": pl.String,
    "within_role": pl.Boolean,
    "window": pl.String,  # the site
    "auroc": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "recall": pl.Float64,  # at 1% false positives
    "brier": pl.Float64,
    "ece": pl.Float64,
    "monitor": pl.Float64,  # AUROC of a monitor that reads the text alone
    "boost": pl.Float64,  # what the probe adds to it, nested
    "boost_low": pl.Float64,
    "boost_high": pl.Float64,
    "no_role_line": pl.Float64,  # AUROC of fits on unchanged contexts where the line that tells the role was removed
    "no_role_line_low": pl.Float64,
    "no_role_line_high": pl.Float64,
    "removal": pl.Float64,  # that minus the same fits' AUROC with the line, on the same rows
    "removal_low": pl.Float64,
    "removal_high": pl.Float64,
    "n_rows": pl.Int64,
    "n_positive": pl.Int64,
    "n_games": pl.Int64,
}


def contrasts(
    game: Game, own: Rows, statements: pl.DataFrame, speeches: pl.DataFrame, runs: Sequence[tuple[str, Any]]
) -> list[tuple[Target, bool]]:
    """The speech contrasts with their activations, each with whether it stays within a role."""
    guilty = game.belief_targets[0]
    mistaken = (
        statements.group_by("game_id", "seq", maintain_order=True)
        .agg(mistake=(pl.col("honest_mistake") & ~pl.col("believed_false").fill_null(False)).any())
        .with_columns(pl.col("mistake").fill_null(False))
    )
    said = speeches.filter(pl.col("n_statements") > 0).select(
        "game_id", "seq", pl.col("speaker").alias("viewer"), lie="any_known_false", false="any_false"
    )
    keyed = (
        own.frame.with_row_index("row_")
        .join(said, on=["game_id", "seq", "viewer"], how="inner", maintain_order="left")
        .join(mistaken, on=["game_id", "seq"], how="left", maintain_order="left")
        .with_columns(wolf=pl.col("viewer_role").is_in(guilty.roles))
        .sort("row_", maintain_order=True)
    )
    lie, wolf = pl.col("lie"), pl.col("wolf")
    honest = ~lie & pl.col("mistake")
    truth = ~lie & ~pl.col("false")
    asked = [
        (f"{guilty.plural}: lie against truth", wolf & (lie | truth), True),
        ("others: bluff against truth", ~wolf & (lie | truth), True),
        ("others: bluff against honest mistake", ~wolf & (lie | honest), True),
        (f"{guilty.plural}' lies against others' honest mistakes", (wolf & lie) | (~wolf & honest), False),
    ]
    found = []
    for name, where, within in asked:
        rows = keyed.filter(where)
        at = rows["row_"].to_numpy()
        target = Target(
            name, name, own.frame[at], rows["lie"].to_numpy().astype(float), np.arange(len(at)), own.reads[at],
            own.lines,
        )  # fmt: skip
        found.append((attach(target, runs, own=True) if len(at) else target, within))
    return found


def windows(
    targets: Sequence[tuple[Target, bool]], settings: Settings, texts: Texts | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """Every contrast at every window (schema `WINDOWS`), and which could not be evaluated, in words.

    `texts`: the words of every speech, for the monitor that reads them; None: no monitor.
    """
    rows: list[dict[str, Any]] = []
    absent: list[str] = []
    for target, within in targets:
        originals = [r for r in target.activations if r.variant == "original"]
        if not originals:
            absent.append(f"{target.name}: {target.missing or 'no such speech by a model'}")
        for captured in originals:
            stored = np.flatnonzero(captured.at >= 0)
            part = target.take(stored)
            folds = folds_of(part, settings)
            if isinstance(folds, str):
                absent.append(f"{target.name}, {captured.site}: {folds}")
                continue
            mine = captured.take(stored)
            found = probe([mine.layer(i) for i in mine.probed], part.y, folds, part.games)
            values, samples = bootstrap_auroc(
                part.y, [found.scores], part.games, folds.fold, settings.n_boot // 4, settings.seed,
                [found.training],
            )  # fmt: skip
            i = auroc_interval(samples[0], values[0], n_games=part.n_games)
            watched: dict[str, float | None] = dict.fromkeys(("monitor", "boost", "boost_low", "boost_high"))
            if texts is not None:
                watched |= _boost(part, texts, folds, found, settings)
            rows.append(
                {
                    "contrast": target.name, "within_role": within, "window": captured.site, "auroc": i.value,
                    "low": i.low, "high": i.high, "recall": recall_at_fpr(part.y, found.scores),
                    "brier": brier(part.y, found.scores), "ece": ece(part.y, found.scores), "n_rows": len(stored),
                    "n_positive": int(part.y.sum()), "n_games": part.n_games, **watched,
                }
                | _without_role(part, captured, folds, found, settings)
            )  # fmt: skip
    return pl.DataFrame(rows, schema=WINDOWS), absent


def _boost(
    part: Target, texts: Texts, folds: Folds, found: ProbeResult, settings: Settings
) -> dict[str, float | None]:
    """The text monitor's AUROC, and what the probe adds to it."""
    sources = monitor(part, texts, folds, settings.seed, settings.trees)
    alone, both = stack(sources, part.y, folds), stack([*sources, found.nested], part.y, folds)
    values, samples = bootstrap_auroc(
        part.y, [alone, both], part.games, folds.fold, settings.n_boot // 4, settings.seed
    )
    gain = interval(samples[1] - samples[0], values[1] - values[0], n_games=part.n_games)
    return {"monitor": float(values[0]), "boost": gain.value, "boost_low": gain.low, "boost_high": gain.high}


def _without_role(
    part: Target, captured: SiteActivations, folds: Folds, found: ProbeResult, settings: Settings
) -> dict[str, float | None]:
    """Scores, by fits on unchanged contexts, of contexts without the role line; nulls where these were not captured."""
    names = [name + end for name in ("no_role_line", "removal") for end in ("", "_low", "_high")]
    nothing: dict[str, float | None] = dict.fromkeys(names)
    if not any(r.variant == "no_role_line" and r.site == captured.site for r in part.activations):
        return nothing
    place = found.place
    layer = captured.probed[place]
    first = sorted(part.activations, key=lambda r: (r.site != captured.site, r.variant != "original"))
    changed = changed_contexts(replace(part, activations=tuple(first)), first[0].layer(layer), folds, layer)
    c = next((one for one in changed if one.variant == "no_role_line"), None)
    if c is None:
        return nothing
    games = part.games[c.rows]
    values, samples = bootstrap_auroc(
        part.y[c.rows], [c.before, c.after], games, folds.fold[c.rows], settings.n_boot // 4, settings.seed
    )
    n = len(np.unique(games))
    without = auroc_interval(samples[1], float(values[1]), n_games=n)
    gone = interval(samples[1] - samples[0], float(values[1] - values[0]), n_games=n)
    return dict(zip(names, (*without[:3], *gone[:3]), strict=True))
