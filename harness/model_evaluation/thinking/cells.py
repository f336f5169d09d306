"""The figures of the tables, each with its 95% interval over games."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.stats.bootstrap import game_weights, interval, mean_interval

N_BOOT = 1000
Floats = NDArray[np.float64]


class Cell(NamedTuple):
    """One figure with its interval."""

    value: float
    low: float
    high: float
    n: int
    """Number of rows."""

    def __str__(self) -> str:
        """The figure with its interval; empty without rows."""
        return "" if self.n == 0 else f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


NOTHING = Cell(np.nan, np.nan, np.nan, 0)


def mean(values: np.ndarray, games: np.ndarray) -> Cell:
    """The mean of values `(n,)`."""
    found = mean_interval(values, games)
    return Cell(found.value, found.low, found.high, len(values))


def game_sums(games: np.ndarray, rows: Floats) -> Floats:
    """The sums of rows `(n, ...)` over each game `(n_games, ...)`, games in the order of their numbers."""
    numbers, group = np.unique(games, return_inverse=True)
    sums = np.zeros((len(numbers), *rows.shape[1:]))
    np.add.at(sums, group, rows)
    return sums


def slopes(x: np.ndarray, y: np.ndarray, games: np.ndarray) -> list[Cell]:
    """The least-squares coefficients of y `(n,)` on x `(n, k)`, without an intercept, of lowest norm where they are not
    determined."""
    k = x.shape[1]
    if not len(x):
        return [NOTHING] * k
    rows = np.concatenate([x[:, :, None] * x[:, None, :], x[:, :, None] * y[:, None, None]], axis=2)
    sums = game_sums(games, rows)
    weights = np.vstack([np.ones((1, len(sums))), game_weights(len(sums), N_BOOT, 0)])
    both = np.tensordot(weights, sums, 1)
    drawn = (np.linalg.pinv(both[..., :k], hermitian=True) @ both[..., k:])[..., 0]
    found = [interval(drawn[1:, i], float(drawn[0, i]), n_games=len(sums)) for i in range(k)]
    return [Cell(one.value, one.low, one.high, len(x)) for one in found]
