"""From logs to the input of the evaluation: labels, observers, targets with activations and all sources' beliefs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.beliefs.deception import grade
from analysis.beliefs.joined import joined_belief
from analysis.beliefs.observe import Asked, Following
from analysis.beliefs.rung_games import rung_games
from analysis.beliefs.tables import Watched
from analysis.data.captures import attach, stores_of
from analysis.data.frames import Logs, both_rows
from analysis.data.labels import label
from analysis.data.targets import Target, targets_of, thin
from analysis.evaluation.contrasts import contrasts
from analysis.evaluation.evaluate import Settings
from analysis.evaluation.registry import TARGETS
from games.base import BeliefTarget
from games.records import Decision
from harness.machine import cores
from harness.run.folder import load_run
from harness.run.typed import probability

KEYS = ("game_id", "seq", "viewer", "subject", "source", "p_werewolf")
"""Columns of a belief: `p_werewolf` is for the game's first belief target; `p_NAME` of the others follow."""
FEW, OBSERVED = 20, 1000
"""Where nothing was captured: number of games whose rows are made, and largest number that observers follow."""
SECOND_GAMES = 200
"""Second-order expectations are computed for one decision of each of this many games, besides the requested ones."""


@dataclass
class Prepared:
    """The input of the evaluation and of the descriptive sections."""

    targets: list[Target]
    labels: dict[str, pl.DataFrame]
    """`statements`, `speeches`, `ballots`, graded by the observer."""
    beliefs: pl.DataFrame
    """All stated beliefs, first and second order. Columns `KEYS`, one for each further belief target, and `about`."""
    watched: Watched
    contrasts: list[tuple[Target, bool]]
    """Speech contrasts with their activations, each with whether it stays within a role."""


class Preparing:
    """Prepares the targets and their activations while observers follow the games; `finish` waits for the observers.

    spare: for runs without captures, where there is nothing to probe: rows are made of a few games, no character is
    fitted, and observers follow at most `OBSERVED` games, drawn at random.
    """

    def __init__(self, logs: Logs, settings: Settings, spare: bool = False) -> None:
        self.logs, self.settings = logs, settings
        self.captured = not spare or any(stores_of(run)[0] for _, run in logs.runs)
        self.game = logs.game
        more = {f"p_{t.name}": sum_of(t) for t in self.game.belief_targets[1:]}
        self._columns = (*KEYS, *more)
        self.beliefs = stated_beliefs(logs, more).select(*self._columns, "about").collect()
        self._followed = logs if self.captured else drawn(logs, OBSERVED, settings.seed)
        asked = asked_of(self._followed, self.beliefs, settings, self.captured)
        # One core is kept for the fits, where there are any.
        n_cores = cores()
        self._following = Following(self._followed, asked, max(1, n_cores - 1) if self.captured else n_cores)
        few = logs if self.captured else logs.some(logs.ids[:FEW])
        self._others, self._own = both_rows(few)
        self._labels = label(logs)
        self.targets = [
            self._attached(target, target.name.startswith("own_"))
            for target in targets_of(
                self.game, self._others, self._own, self._labels["speeches"], self._labels["ballots"]
            )
        ]
        """The project's own targets, with their activations and without beliefs yet."""

    def _attached(self, target: Target, own: bool) -> Target:
        thinned = thin(target, self.settings.max_rows, self.settings.seed)
        return attach(thinned, self.logs.runs, own, self.settings.site)

    def finish(self) -> Prepared:
        """The whole input, with targets registered from outside. Raises AnalysisError where an observer's process
        failed."""
        watched = self._following.result()
        if len(self._followed) < len(self.logs):
            watched.prior += (
                f"; {len(self._followed):,} of {len(self.logs):,} games were followed, drawn at random"
            )
        labels = grade(self._labels, watched, self.game)
        first = self.beliefs.filter(pl.col("about").is_null()).select(self._columns)
        found = (with_columns(frame, self._columns) for frame in (watched.beliefs, watched.fitted))
        sources = pl.concat([first, *found])
        note = "; ".join(dict.fromkeys(filter(None, (watched.why, watched.no_fit))))
        more = [self._attached(t.rows(self._others, self._own, labels), t.own) for t in TARGETS.values()]
        targets = [
            replace(with_beliefs(target, sources), note=note, prior=watched.prior) if target.role else target
            for target in (*self.targets, *more)
        ]
        speech = contrasts(self.game, self._own, labels["statements"], labels["speeches"], self.logs.runs)
        return Prepared(targets, labels, self.beliefs, watched, speech)

    def stop(self) -> None:
        """Ends the observers, where `finish` will not be called."""
        self._following.stop()


def prepare(logs: Logs, settings: Settings, spare: bool = False) -> Prepared:
    """The targets and label frames of all games; see `Preparing`."""
    return Preparing(logs, settings, spare).finish()


def follow_ahead(path: str | Path) -> None:
    """Let observers follow a run's games for its report, which finds in `derived/` what they said: while activations
    that the report waits for are still read."""
    logs = Logs([("", load_run(path))])
    beliefs = stated_beliefs(logs, {}).collect()
    Following(logs, asked_of(logs, beliefs, Settings(), captured=True)).result()


def stated_beliefs(logs: Logs, more: Mapping[str, pl.Expr]) -> pl.LazyFrame:
    """All beliefs that the runs' players stated, with further columns."""
    return pl.concat(
        [
            run.beliefs.with_columns(game_id=pl.lit(prefix) + pl.col("game_id"), **more)
            for prefix, run in logs.runs
        ]
    )


def asked_of(logs: Logs, beliefs: pl.DataFrame, settings: Settings, captured: bool) -> Asked:
    """What a report asks observers of the games: all of it where there is something to probe."""
    return Asked(
        tuple(sorted(_second_at(logs, beliefs))),
        captured,
        rung_games(logs.runs, settings.rung_games, settings.seed) if captured else (),
        captured and settings.character,
        settings.seed,
    )


def sum_of(target: BeliefTarget) -> pl.Expr:
    """The probability that a belief assigns to a target; null where none of its roles was asked for."""
    asked = [probability(role) for role in target.roles]
    told = pl.any_horizontal(*(p.is_not_null() for p in asked))
    return pl.when(told).then(pl.sum_horizontal(*asked)).otherwise(None)


def with_columns(beliefs: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The beliefs with these columns; a column that an observer does not give is null."""
    second = next((name for name in columns[len(KEYS) :]), "p_seer")
    beliefs = beliefs.rename({"p_seer": second})  # `observers.SCHEMA` uses Werewolf's name for it
    absent = {name: pl.lit(None, pl.Float64) for name in columns if name not in beliefs.columns}
    return beliefs.with_columns(**absent).select(columns)


def drawn(logs: Logs, most: int, seed: int) -> Logs:
    """At most `most` of the games, drawn at random."""
    if len(logs) <= most:
        return logs
    kept = np.random.default_rng(seed).choice(len(logs), most, replace=False)
    return logs.some([logs.ids[i] for i in kept])


def _second_at(logs: Logs, beliefs: pl.DataFrame, most: int = 2000) -> set[tuple[str, int]]:
    asked = (
        beliefs.filter(pl.col("about").is_not_null())
        .select("game_id", "seq")
        .unique(maintain_order=True)
        .sort("game_id", "seq", maintain_order=True)
    )
    found = {(str(game), int(seq)) for game, seq in asked.head(most).iter_rows()}
    for log in logs.some(logs.ids[:: max(1, len(logs) // SECOND_GAMES)]):
        ballots = [r for r in log.records if isinstance(r, Decision) and r.kind in log.game.belief_moments]
        if ballots:
            found.add((log.game_id, ballots[len(ballots) // 2].seq))
    return found


def with_beliefs(target: Target, stated: pl.DataFrame) -> Target:
    """The target with every source's belief that the subject has the role asked about: the viewer's latest at or before
    the decision."""
    found = {}
    for source in stated["source"].drop_nulls().unique(maintain_order=True):
        column = f"p_{target.role}" if f"p_{target.role}" in stated.columns else KEYS[-1]
        p = joined_belief(target.frame, stated.filter(pl.col("source") == source), column)
        if p.is_not_null().any():
            found[str(source)] = p.fill_null(float("nan")).to_numpy().astype(float)
    return replace(target, stated=found)


def posterior_of(target: Target, exact: pl.DataFrame, least: float = 0.9) -> NDArray[np.float64] | None:
    """The ideal reader's P(werewolf) for each row, the rules' where it has none; None where it covers too few rows."""
    p = joined_belief(target.frame, exact, "p_werewolf").fill_null(float("nan")).to_numpy().astype(float)
    known = np.isfinite(p)
    if not len(p) or known.mean() <= least:
        return None
    return np.where(known, p, target.frame["p_rules"].to_numpy())
