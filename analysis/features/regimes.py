"""The five regimes of the fight: full data, few games, a rare class, noisy labels, a shift.

Each is a list of splits of whole games. The training rows of a split have inner folds of games, on which all choices
are made. Noise and thinning change training rows alone; every regime is tested on true labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.features.readers import Split
from analysis.stats.codes import codes_of
from analysis.stats.errors import AnalysisError
from analysis.stats.moments import Doubles
from analysis.stats.splits import game_folds

REGIMES = ("full", "few games", "imbalance", "label noise", "shift")


@dataclass(frozen=True)
class Plan:
    """Parameters of the regimes."""

    n_folds: int = 5
    n_inner: int = 4
    few: int = 12
    """Number of training games in the regime of few games."""
    draws: int = 4
    """Number of draws of these games."""
    rare: float = 0.05
    """Share of positives in training, where the class is made rare."""
    noise: float = 0.25
    """Share of training labels that are flipped."""
    seed: int = 0


def splits_of(
    regime: str, y: Doubles, games: NDArray[Any], plan: Plan, shift: NDArray[np.bool_] | None = None
) -> list[Split]:
    """The splits of a regime; empty where the rows do not allow it.

    `y` 0/1 and `games` (ids) are `(n_rows,)`; `shift` marks the test rows of the last regime (other rules or words,
    another day, another checkpoint); all other rows are its training rows.
    """
    rng = np.random.default_rng([plan.seed, REGIMES.index(regime)])
    code = codes_of(games)
    n_games = int(code.max(initial=-1)) + 1
    if n_games < plan.n_folds:
        return []
    if regime == "few games":
        found = []
        for _ in range(plan.draws if n_games >= 2 * plan.few else 0):
            chosen = rng.choice(n_games, plan.few, replace=False)
            inside = np.isin(code, chosen)
            found.append(_split(np.flatnonzero(inside), y, code, np.flatnonzero(~inside), plan))
        return _whole(found, y)
    fold = game_folds(games, plan.n_folds, plan.seed).fold
    found = []
    for f in range(plan.n_folds):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        labels = y
        if regime == "shift":
            if shift is None:
                return []
            train, test = train[~shift[train]], test[shift[test]]
        elif regime == "imbalance":
            train = _thinned(train, y, plan.rare, rng)
        elif regime == "label noise":
            labels = np.where(rng.random(len(y)) < plan.noise, 1 - y, y)
        found.append(_split(train, labels, code, test, plan))
    return _whole(found, y)


def _thinned(
    rows: NDArray[np.int64], y: Doubles, share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The rows without a random part of the positives, so that positives are the given share."""
    up, down = rows[y[rows] > 0], rows[y[rows] <= 0]
    kept = min(len(up), max(1, round(share / (1 - share) * len(down))))
    return np.sort(np.concatenate([down, rng.choice(up, kept, replace=False)]))


def _split(
    train: NDArray[np.int64], y: Doubles, code: NDArray[Any], test: NDArray[np.int64], plan: Plan
) -> Split | None:
    n = len(np.unique(code[train]))
    if n < 2 or not len(test):
        return None
    inner = game_folds(code[train], min(plan.n_inner, n), plan.seed + 1).fold
    return Split(train, y[train].astype(np.float64), inner, test)


def _whole(found: list[Split | None], y: Doubles) -> list[Split]:
    """The splits with both classes in the test rows and in the training rows outside each inner fold."""
    kept = []
    for split in found:
        if split is None or y[split.test].min() == y[split.test].max():
            continue
        n = int(split.inner.max()) + 1
        if all(np.ptp(split.y[split.inner != f]) > 0 for f in range(n)):
            kept.append(split)
    return kept


def later_days(day: NDArray[Any]) -> tuple[str, NDArray[np.bool_]]:
    """The shift that every run has: trained on the first day's rows, tested on those of later days."""
    return "first day to later days", np.asarray(day) > 1


def shift_of(
    level: NDArray[Any], by: str, own: NDArray[np.bool_] | None = None
) -> tuple[str, NDArray[np.bool_]]:
    """A shift between the levels `(n_rows,)` of a factor: trained on the level with most rows (of `own`, where that is
    given), tested on all others. Raises AnalysisError where there is one level."""
    named = np.asarray(level).astype(str)
    values, counts = np.unique(named[own] if own is not None else named, return_counts=True)
    if len(np.unique(named)) < 2:
        raise AnalysisError(
            f"{by} has one level, {values[0]}: there is nothing to shift to; name a run of another beside (--beside)"
        )
    most = values[int(counts.argmax())]
    others = [str(value) for value in np.unique(named) if value != most]
    return f"{by} {most} to {others[0] if len(others) == 1 else 'others'}", named != most
