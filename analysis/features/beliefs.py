"""How linear beliefs are in a run: the tables of `analysis.features.linear` on its rows.

linearity.parquet, drift.parquet, across_<factor>.parquet, simplex.parquet      in RUN/features/beliefs-SITE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.beliefs.joined import joined_belief
from analysis.beliefs.observe import observe
from analysis.data.captures import attach, checkpoints_of
from analysis.data.frames import Logs, subject_rows
from analysis.data.labels import label
from analysis.data.levels import levels_of
from analysis.data.targets import Target, targets_of, thin
from analysis.features.linear import across, barycentres, drift, linearity
from analysis.features.material import joined, material_of
from analysis.rungs.nested import log_odds
from analysis.stats.errors import AnalysisError
from analysis.stats.splits import Folds, game_folds
from analysis.stats.threads import one_thread
from harness.run.derived import inputs_of, write_table

MOST_ROWS = 8_000
FACTORS = ("viewer_role", "kind", "preset", "model", "agent")
"""Directions are compared between the levels of these columns of the rows, where there are two; then between lexicons,
runs, levels of the runs' factors, and checkpoints on the same contexts."""
Runs = Sequence[tuple[str, Any]]
"""(prefix of the game ids, run), the first without a prefix."""
FEWEST_LEVEL = 400
Say = Callable[[str], None]


def write_linear(
    run: Any,
    site: str,
    dictionary: Path | None = None,
    say: Say = lambda text: None,
    beside: Sequence[Any] = (),
) -> dict[str, pl.DataFrame]:
    """Compute the tables and write them. Raises AnalysisError where no observer follows the games, or no row of the
    site was captured.

    beside: runs with the same layers at the site (other rules, words, players, a checkpoint), whose directions are
    compared with this run's; all other tables are of this run alone.
    """
    runs: Runs = [("", run), *((f"{number}:", other) for number, other in enumerate(beside, start=2))]
    with one_thread():
        target, belief = believed(runs, Logs(runs), site, say)
        own = np.flatnonzero([":" not in game for game in target.games])
        mine = target.take(own)
        wanted, games = log_odds(belief[own, 0]), mine.games
        folds = game_folds(games, 5)
        main = mine.activations[0]
        layers = {main.layers[i]: main.layer(i) for i in main.probed}
        tables = {"linearity": linearity(layers, wanted, folds, games, say=say)}
        tables["drift"] = drift_of(run, mine, layers, wanted, folds, site)
        best = (
            tables["linearity"]
            .filter(readout="linear")
            .sort("r2", descending=True, maintain_order=True)["layer"][0]
        )
        tables |= compared(runs, target, log_odds(belief[:, 0]), main.layers.index(best))
        if dictionary is not None:
            say("clusters of latents against clusters drawn at random")
            tables["simplex"] = simplex_of(run, dictionary, mine, belief[own])
    home = Path(run.path) / "features" / f"beliefs-{site.replace(':', '-')}"
    inputs = inputs_of([run.path], ("decisions.parquet", "events.parquet", "activations"))
    for name, table in tables.items():
        write_table(home / f"{name}.parquet", table, inputs)
    return tables


def compared(runs: Runs, target: Target, wanted: NDArray[np.float64], layer: int) -> dict[str, pl.DataFrame]:
    """`across_<factor>` for every factor with two levels of enough rows. layer: its position in the probed layers."""
    x, games = target.activations[0].layer(layer), target.games
    levels = {name: target.frame[name].fill_null("").to_numpy() for name in FACTORS}
    named = dict.fromkeys(f for _, run in runs for cell in run.manifest.cells for f in cell.factors)
    for name in ("lexicon", "run", *named):
        # a factor that some run lacks is left out
        if name in ("lexicon", "run") or all(
            name in cell.factors for _, run in runs for cell in run.manifest.cells
        ):
            of_game = levels_of(runs, name)
            levels[name] = np.array([of_game[game] for game in games])
    tables = {
        f"across_{name}": across(x, wanted, level, games, FEWEST_LEVEL) for name, level in levels.items()
    }
    parts = [(runs[0][1].activations().info.model, x, np.arange(len(x)))]
    for model, captured in checkpoints_of(target, runs).items():
        kept = np.flatnonzero(captured.at >= 0)
        parts.append((model, captured.take(kept).layer(layer), kept))
    if len(parts) > 1:
        rows = np.concatenate([kept for *_, kept in parts])
        level = np.concatenate([np.full(len(kept), model) for model, _, kept in parts])
        both = np.concatenate([own for _, own, _ in parts])
        tables["across_checkpoint"] = across(both, wanted[rows], level, games[rows], FEWEST_LEVEL)
    return {name: rows for name, rows in tables.items() if rows["fitted"].n_unique() > 1}


def believed(runs: Runs, logs: Logs, site: str, say: Say) -> tuple[Target, NDArray[np.float64]]:
    """(the rows about others, the ideal reader's belief werewolf / seer / neither of each, `(n_rows, 3)`)."""
    others, own = subject_rows(logs), subject_rows(logs, about="self")
    labels = label(logs)
    target = thin(targets_of(logs.game, others, own, labels["speeches"], labels["ballots"])[0], MOST_ROWS)
    target = attach(target, runs, False, site)
    where = ", ".join(str(run.path) for _, run in runs)
    if not target.activations or target.activations[0].site != site:
        raise AnalysisError(f"{where} has no rows at site {site!r}: {target.missing or 'capture it first'}")
    if target.missing:
        say(target.missing)
    say(f"following {len(logs):,} games with an ideal reader")
    watched = observe(logs, set(), True)
    beliefs = watched.beliefs
    if not beliefs.height:
        raise AnalysisError(f"no ideal reader follows the games of {where}: {watched.why}")
    source = beliefs["source"].unique(maintain_order=True)[0]
    mine = beliefs.filter(source=source)
    columns = [joined_belief(target.frame, mine, column) for column in ("p_werewolf", "p_seer")]
    p = np.stack([column.fill_null(float("nan")).to_numpy().astype(float) for column in columns], axis=1)
    kept = np.flatnonzero(np.isfinite(p[:, 0]))
    if len(kept) < 200:
        raise AnalysisError(
            f"{len(kept)} rows have a belief of the ideal reader {source!r}, too few to be read"
        )
    p = np.nan_to_num(p[kept])
    return target.take(kept), np.column_stack([p, np.clip(1 - p.sum(axis=1), 0, 1)])


def drift_of(
    run: Any,
    target: Target,
    layers: dict[str, NDArray[Any]],
    wanted: NDArray[np.float64],
    folds: Folds,
    site: str,
) -> pl.DataFrame:
    """Schema `linear.DRIFT`; maps are fitted on half of the games, probes are compared on the others."""
    games = np.unique(target.games)
    away = set(games[np.random.default_rng(7).permutation(len(games))[: len(games) // 2]].tolist())
    store = run.activations()
    lines = store.index(site=site, games=sorted(away))
    lines = lines[:: max(1, lines.height // 6000)]
    names = {name: name if name == "embed" else f"resid_post.{name}" for name in layers}
    unlabelled = {name: store.read(lines, names[name]) for name in layers}
    kept = np.flatnonzero(~np.isin(target.games, list(away)))
    part = game_folds(target.games[kept], folds.n_folds)
    return drift({name: x[kept] for name, x in layers.items()}, wanted[kept], part, unlabelled)


def simplex_of(run: Any, folder: Path, target: Target, belief: NDArray[np.float64]) -> pl.DataFrame:
    """Schema `linear.SIMPLEX` on the rows that the dictionary never saw."""
    material = material_of(run, folder)
    at, rows = joined(material.lines, target.frame)
    found = material.found
    directions = found.w_dec / np.float32(found.card.scale)
    folds = game_folds(target.games[rows], 5)
    return barycentres(material.codes[at], directions, material.x[at], belief[rows], folds)


def linear_lines(tables: dict[str, pl.DataFrame]) -> list[str]:
    """What was found, in words."""
    lines = []
    frame = tables["linearity"]
    best = frame.filter(readout="linear").sort("r2", descending=True, maintain_order=True).row(0, named=True)
    lines.append(f"best linear probe of the posterior's log-odds: layer {best['layer']}, R2 {best['r2']:.3f}")
    lines += [
        f"layer {r['layer']}, {r['readout']}: R2 {r['r2']:.3f}, above the linear one by {r['gain']:+.3f} "
        f"[{r['low']:+.3f}, {r['high']:+.3f}]"
        for r in frame.filter(pl.col("readout") != "linear").iter_rows(named=True)
    ]
    lines += [
        f"probe of layer {r['fitted']} at layer {r['read']}: as it is R2 {r['r2_as_is']:.2f}, through one map "
        f"{r['r2_mapped']:.2f}, own {r['r2_own']:.2f}; cosine {r['cosine']:.2f} (two halves of the games: "
        f"{r['ceiling']:.2f})"
        for r in tables["drift"].iter_rows(named=True)
    ]
    for name, part in tables.items():
        if name.startswith("across_"):
            lines += [
                f"{name.removeprefix('across_')} {r['fitted']} read at {r['read']}: R2 {r['r2_as_is']:.2f}, own "
                f"{r['r2_own']:.2f}, cosine {r['cosine']:.2f} (two halves: {r['ceiling']:.2f})"
                for r in part.filter(pl.col("fitted") != pl.col("read")).iter_rows(named=True)
            ]
    for r in tables["simplex"].iter_rows(named=True) if "simplex" in tables else ():
        lines.append(
            f"belief triangle: best of {r['clusters']} clusters ({r['latents']} latents) R2 {r['r2']:.3f}, random "
            f"clusters {r['r2_null_mean']:.3f} (95%: {r['r2_null_95']:.3f}), p {r['p']:.2f}; the whole stream "
            f"{r['r2_stream']:.3f}"
        )
    return lines
