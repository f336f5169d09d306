"""Which level of a factor each game belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.stats.errors import AnalysisError
from harness.run.folder import Run

OF_PLAYERS = ("agent", "model")
"""Columns of decisions that distinguish players; several of them play in one game."""
OF_GAMES = ("preset", "lexicon")
"""Columns of the games table that distinguish games and are not a factor of the run."""


def levels_of(runs: Sequence[tuple[str, Any]], factor: str) -> dict[str, str]:
    """Game id (with the run's prefix) -> level of `factor`: a factor of the runs, preset, lexicon or run.

    Raises AnalysisError for a factor that no run has; the message lists the existing ones.
    """
    found: dict[str, str] = {}
    known: dict[str, None] = dict.fromkeys((*OF_PLAYERS, "run", *OF_GAMES))
    for number, (prefix, run) in enumerate(runs):
        cells = [cell.factors for cell in run.manifest.cells]
        known |= dict.fromkeys(name for factors in cells for name in factors)
        games = run.frame("games").select("game_id", "cell", *OF_GAMES).collect()
        for row in games.iter_rows(named=True):
            factors = cells[row["cell"]]
            if factor == "run":
                level: Any = f"{run.manifest.name} ({number + 1})" if len(runs) > 1 else run.manifest.name
            elif factor in factors:
                level = factors[factor]
            elif factor in OF_GAMES:
                level = row[factor]
            else:
                continue
            found[prefix + row["game_id"]] = str(level)
    n_games = sum(run.frame("games").select(pl.len()).collect().item() for _, run in runs)
    if len(found) < n_games:
        raise AnalysisError(
            f"{factor!r} is no factor of {'all of ' if found else ''}these runs; there are: {', '.join(known)}"
        )
    return found


class Part(Run):
    """Some games of a run, read as a run of their own."""

    def __init__(self, run: Run, games: Sequence[str]) -> None:
        """`games`: ids of the games of this part."""
        super().__init__(run.path)
        self._kept = list(games)

    def frame(self, table: str) -> pl.LazyFrame:
        """One table, these games alone."""
        return super().frame(table).filter(pl.col("game_id").is_in(self._kept))


def parts_by(runs: Sequence[Run], factor: str) -> list[tuple[str, list[Run]]]:
    """(level, the runs' games of that level), levels sorted. Raises AnalysisError for a factor that does not exist.

    `agent` and `model` do not split the games, because several of them play in one game; the tables have a row for
    each.
    """
    if factor in OF_PLAYERS:
        raise AnalysisError(
            f"{factor}s play in the same games, and these tables have a row for each; name a factor of the runs"
        )
    prefixes = [f"{i}:" for i in range(len(runs))]
    by_game = levels_of(list(zip(prefixes, runs)), factor)
    found = []
    for level in sorted(set(by_game.values())):
        parts: list[Run] = []
        for prefix, run in zip(prefixes, runs):
            mine = [
                game[len(prefix) :]
                for game, its in by_game.items()
                if its == level and game.startswith(prefix)
            ]
            if mine:
                parts.append(Part(run, mine))
        found.append((level, parts))
    return found
