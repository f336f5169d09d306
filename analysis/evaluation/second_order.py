"""Second-order rung 3: do the activations at a player's name hold what that player can be expected to believe?

The ideal reader in the viewer's seat expects of each other player j a belief about the viewer itself
(`agents.werewolf.observer.second_order`). It is predicted from the activations at j's mention, beyond the surface and
the viewer's own belief about j, on held-out games.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.evaluation.baselines import CEILINGS
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.probes.probes import Nested
from analysis.rungs.inference import partial_r2
from analysis.rungs.nested import linear, log_odds
from analysis.rungs.rungs import NONE
from analysis.rungs.within import Resamples
from analysis.stats.bootstrap import Interval
from analysis.stats.codes import codes_of
from analysis.stats.splits import Folds

FEWEST_ROWS, FEWEST_GAMES = 200, 30


@dataclass(frozen=True)
class SecondOrder:
    """The result, or why there is none."""

    r2: Interval = NONE
    """Partial R2 of the expected belief's log-odds by the activations."""
    n_rows: int = 0
    n_games: int = 0
    why: str = ""


def second_order(e: Evaluation, expected: pl.DataFrame, settings: Settings) -> SecondOrder:
    """The second-order partial R2. `expected` has schema `observers.SECOND`, for the decisions that have
    expectations."""
    source = next((name for name in CEILINGS if name in e.target.stated), None)
    if source is None:
        return SecondOrder(why="no ideal reader follows this question")
    keys = ["game_id", "seq", "viewer", "subject"]
    about_me = expected.filter(pl.col("about") == pl.col("viewer")).select(*keys, "expected")
    joined = e.target.frame.select(keys).join(about_me, on=keys, how="left", maintain_order="left")
    first = e.target.stated[source]
    known = joined["expected"].is_not_null().to_numpy() & np.isfinite(first)
    rows = np.flatnonzero(known)
    n_games = len(np.unique(e.target.games[rows]))
    if len(rows) < FEWEST_ROWS or n_games < FEWEST_GAMES:
        return SecondOrder(
            n_rows=len(rows), n_games=n_games,
            why=f"{len(rows):,} rows of {n_games} games; at least {FEWEST_ROWS} of {FEWEST_GAMES} are needed",
        )  # fmt: skip
    folds = Folds(e.folds.fold[rows], e.folds.n_folds, e.folds.grouped, e.folds.how)
    wanted = log_odds(joined["expected"].to_numpy()[rows])
    place = e.probe.place
    x = e.target.activations[0].layer(e.target.activations[0].probed[place])[rows]
    given = [linear(e.features[rows], wanted, folds), Nested.given(log_odds(first[rows]), folds.n_folds)]
    draw = Resamples(n_games, settings.n_boot // 2, settings.seed)
    found = partial_r2(wanted, given, linear(x, wanted, folds), folds, codes_of(e.target.games[rows]), draw)
    return SecondOrder(found, len(rows), n_games)
