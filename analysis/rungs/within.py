"""Sums by game for bootstrap statistics over games: AUROC within a decision, ratios, means.

A decision lies in one game, so won pairs and pairs add up over games, and a resample is a weighted sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats.bootstrap import Interval, game_weights, interval
from analysis.stats.metrics import wins_by

Doubles = NDArray[np.float64]


def within_pairs(
    labels: ArrayLike, scores: ArrayLike, decision: NDArray[Any], games: NDArray[Any]
) -> tuple[Doubles, Doubles]:
    """Won pairs and pairs of rows of one decision, summed over each game: both `(n_games,)`; ties count one half.

    `labels` 0/1, `scores`, `decision` and `games` (codes) are `(n_rows,)`; each decision lies in one game.
    """
    n_decisions, n_games = int(decision.max(initial=-1)) + 1, int(games.max(initial=-1)) + 1
    won, pairs = wins_by(np.asarray(labels), np.asarray(scores), decision)
    game = np.zeros(n_decisions, dtype=np.int64)
    game[decision] = games
    return np.bincount(game, won, n_games).astype(float), np.bincount(game, pairs, n_games).astype(float)


class Resamples:
    """The same resamples of the games for every statistic, so that differences are paired."""

    def __init__(self, n_games: int, n_boot: int, seed: int) -> None:
        """`n_boot` resamples of `n_games` games."""
        self.n_games = n_games
        self.weights = game_weights(n_games, n_boot, seed)

    def ratio(self, top: Doubles, bottom: Doubles) -> tuple[float, Doubles]:
        """Sum of `top` by sum of `bottom`, both `(n_games,)`: the value, and the samples `(n_boot,)`."""
        below = self.weights @ bottom
        samples = np.where(below > 0, (self.weights @ top) / np.where(below > 0, below, 1.0), np.nan)
        total = float(bottom.sum())
        return (float(top.sum()) / total if total > 0 else float("nan")), samples

    def interval(self, samples: Doubles, value: float, null: float = 0.0) -> Interval:
        """The interval of a statistic from its samples."""
        return interval(samples, value, null, n_games=self.n_games)

    def mean(self, total: Doubles, n: Doubles, null: float = 0.0) -> Interval:
        """The interval of a mean from sums and counts by game."""
        value, samples = self.ratio(total, n)
        return self.interval(samples, value, null)
