"""Results by chance alone: permuted role assignments, and control tasks.

k werewolves share a game, and their rows share its table talk, so rows are not exchangeable; role
assignments within a game are. The null distribution permutes them over the players of each game, refits
everything, and keeps the maximum over layers, so that the best of many layers is compared with the best of
many layers. A control task (Hewitt & Liang 2019) gives every type of input a fixed random label; a probe
that solves it as well as the real task says little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.probes.probes import Layers, as_layers
from analysis.stats.metrics import auroc, wins_float32
from analysis.stats.moments import Doubles, Moments
from analysis.stats.splits import Folds

NULL_PENALTY = 0.1
"""Ridge penalty per row, fixed in advance: if the null chose it, every permutation would have to choose it."""


@dataclass(frozen=True)
class LayerNull:
    """Ridge probes of the true and of permuted labels, out of fold."""

    observed: Doubles
    """`(n_targets, n_layers)` AUROC within held-out folds."""
    null: Doubles
    """`(n_targets, n_permutations, n_layers)`."""

    @property
    def null_max(self) -> Doubles:
        """`(n_targets, n_permutations)`: the best layer of each permutation."""
        return np.asarray(self.null.max(axis=2))

    @property
    def p(self) -> Doubles:
        """`(n_targets,)`: how often a permutation's best layer reaches the true best layer, (k+1)/(n+1)."""
        reached = (self.null_max >= self.observed.max(axis=1)[:, None]).sum(axis=1)
        return np.asarray((reached + 1) / (self.null.shape[1] + 1))


def permute_within_games(labels: NDArray[Any], games: NDArray[Any], n: int, seed: int) -> NDArray[np.uint8]:
    """`n` permutations of unit labels within each game, `(n_units, n)`; `labels` and `games` are
    `(n_units,)`.
    """
    rng = np.random.default_rng(seed)
    code = np.unique(games, return_inverse=True)[1]
    base = np.argsort(code, kind="stable")
    sorted_code = code[base].astype(np.float64)
    out = np.empty((len(labels), n), dtype=np.uint8)
    for column in range(n):
        drawn = base[np.argsort(sorted_code + rng.random(len(base)))]
        out[base, column] = labels[drawn]
    return out


def units_of(
    games: ArrayLike, member: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Codes of (game, member) pairs: the unit of each row, and for each unit its game and the first row of
    it.
    """
    pairs = np.stack(
        [
            np.unique(np.asarray(games), return_inverse=True)[1],
            np.unique(np.asarray(member), return_inverse=True)[1],
        ],
        axis=1,
    )
    found, first, unit = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    return unit.reshape(-1).astype(np.int64), found[:, 0].astype(np.int64), first.astype(np.int64)


def layer_null(
    x: Layers,
    labels: ArrayLike,
    unit: ArrayLike,
    unit_games: ArrayLike,
    folds: Folds,
    n_permutations: int = 1000,
    seed: int = 0,
    penalty: float = NULL_PENALTY,
) -> LayerNull:
    """AUROC of every layer under the true and under permuted labels.

    `labels` is `(n_units,)` or `(n_units, n_targets)`: constant within a unit (a player of a game); `unit`
    (n_rows,) names each row's unit, `unit_games` (n_units,) the unit's game. Raises UngroupedSplit where
    games are on both sides.
    """
    folds.require_grouped()
    layers, rows_unit = as_layers(x), np.asarray(unit)
    y = np.asarray(labels, dtype=np.uint8)
    y = y[:, None] if y.ndim == 1 else y
    columns = [
        np.hstack(
            [y[:, [t]], permute_within_games(y[:, t], np.asarray(unit_games), n_permutations, seed + t)]
        )
        for t in range(y.shape[1])
    ]
    values = np.empty((y.shape[1], n_permutations + 1, len(layers)))
    held = [np.flatnonzero(folds.fold == f) for f in range(folds.n_folds)]
    for number, rows_x in enumerate(layers):
        moments = Moments(folds.n_folds, rows_x.shape[1], y.shape[1] * (n_permutations + 1))
        moments.add(rows_x, folds.fold, np.hstack(columns), rows_unit)
        wins, pairs = np.zeros(values.shape[:2]), np.zeros(values.shape[:2])
        for f, rows in enumerate(held):
            weights = moments.ridge((c for c in range(folds.n_folds) if c != f), penalty)[0].astype(
                np.float32
            )
            # No intercept: it does not change the order of scores in a fold. Centred, for float32 precision.
            z = (rows_x[rows] - rows_x[rows].mean(axis=0, dtype=np.float64).astype(np.float32)).astype(
                np.float32
            )
            for target, block in enumerate(columns):
                mine = weights[:, target * (n_permutations + 1) : (target + 1) * (n_permutations + 1)]
                for start in range(0, n_permutations + 1, 256):
                    part = slice(start, start + 256)
                    won, total = wins_float32(
                        np.ascontiguousarray(block[rows_unit[rows], part].T),
                        np.ascontiguousarray(mine[:, part].T) @ z.T,
                    )
                    wins[target, part] += won
                    pairs[target, part] += total
        values[:, :, number] = wins / np.maximum(pairs, 1)
    return LayerNull(values[:, 0], values[:, 1:])


def control_task(
    x: Layers,
    types: ArrayLike,
    rate: float,
    folds: Folds,
    n_draws: int = 10,
    seed: int = 0,
    penalty: float = NULL_PENALTY,
) -> Doubles:
    """AUROC `(n_layers,)` of reading out a fixed random label of the row's type, mean over `n_draws`
    labellings.

    `types` (n_rows,) are whatever the input could be memorised by (name, day, kind of question); `rate` is
    the share of ones, that of the real task.
    """
    rng = np.random.default_rng(seed)
    code = np.unique(np.asarray(types), return_inverse=True)[1]
    y = (rng.random((int(code.max()) + 1, n_draws)) < rate).astype(float)[code]
    result = []
    for rows_x in as_layers(x):
        moments = Moments(folds.n_folds, rows_x.shape[1], n_draws).add(rows_x, folds.fold, y)
        scores = np.empty(y.shape)
        for f in range(folds.n_folds):
            w, b = moments.ridge((c for c in range(folds.n_folds) if c != f), penalty)
            rows = folds.fold == f
            scores[rows] = rows_x[rows].astype(np.float64) @ w + b
        result.append(np.nanmean(auroc(y, scores, strata=folds.fold)))
    return np.asarray(result)
