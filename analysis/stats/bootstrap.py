"""Uncertainty over games: paired bootstrap of AUROC and of its increments, intervals, Holm's correction.

Games are the units that repeat, so games are resampled, never rows. AUROC is a ratio of two quadratic forms
in the game weights, `w'Uw / w'Vw` with `U[g, h]` the pairs won by positives of game g over negatives of
game h: the matrices are built once, after which a thousand resamples cost a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit
from scipy.stats import t as student

from analysis.stats.metrics import Floats

BLOCK = 4_000_000
"""Number of game weights of a bootstrap of sums that are in memory at once."""
KEPT = 1_000_000
"""Up to this many weights are drawn once and kept for the next statistic over as many games."""


class Interval(NamedTuple):
    """A point estimate with its interval over games, and the two-sided bootstrap p of `value == null`."""

    value: float
    low: float
    high: float
    p: float


def game_weights(n_games: int, n_boot: int, seed: int) -> NDArray[np.float64]:
    """How often each game is drawn in each resample, `(n_boot, n_games)`: multinomial, equal chances."""
    return np.vstack(list(_weights(n_games, n_boot, seed)))


def _weights(n_games: int, n_boot: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """The rows of `game_weights` in blocks of at most `BLOCK` numbers."""
    if n_games < 1:
        raise ValueError("no games to resample; the bootstrap needs at least one")
    if n_games * n_boot <= KEPT:
        yield _kept(n_games, n_boot, seed)
    else:
        yield from _drawn(n_games, n_boot, seed)


def _drawn(n_games: int, n_boot: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng, chances = np.random.default_rng(seed), np.full(n_games, 1.0 / n_games)
    step = max(1, BLOCK // n_games)
    for first in range(0, n_boot, step):
        yield rng.multinomial(n_games, chances, size=min(step, n_boot - first)).astype(np.float64)


@lru_cache(maxsize=8)
def _kept(n_games: int, n_boot: int, seed: int) -> NDArray[np.float64]:
    """All rows of `game_weights`, read-only."""
    weights = np.vstack(list(_drawn(n_games, n_boot, seed)))
    weights.setflags(write=False)
    return weights


def ratio_interval(
    games: ArrayLike, top: ArrayLike, bottom: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> Interval:
    """`sum(top) / sum(bottom)` with its interval over games; `bottom` None: the mean of `top`.

    All are `(n_games,)`, one value a game. `games` names them: rows are sorted by it first, so the interval does not
    depend on the order in which they are given. Sums are computed in a fixed order, independent of the number of
    threads. Without games, or where `bottom` sums to 0, every number is NaN.
    """
    order = np.argsort(np.asarray(games), kind="stable")
    tops = np.asarray(top, dtype=float)[order]
    bottoms = np.ones(len(tops)) if bottom is None else np.asarray(bottom, dtype=float)[order]
    if not len(tops) or not bottoms.sum():
        return Interval(float("nan"), float("nan"), float("nan"), float("nan"))
    both = np.stack([tops, bottoms])
    sums = np.concatenate([np.einsum("bg,kg->bk", w, both) for w in _weights(len(tops), n_boot, seed)])
    known = sums[:, 1] > 0
    return interval(sums[known, 0] / sums[known, 1], float(tops.sum() / bottoms.sum()), n_games=len(tops))


def ratios(sums: Floats, weights: Floats) -> Floats:
    """`sum(top) / sum(bottom)` under each row of `weights` `(n_draws, n_games)`, `(..., n_draws)`.

    sums: `(..., 2, n_games)`, tops before bottoms. NaN where a bottom sums to 0.
    """
    drawn = np.einsum("bg,...vg->...vb", weights, sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        return drawn[..., 0, :] / drawn[..., 1, :]


def change_interval(sums: Floats, n_boot: int = 1000, seed: int = 0) -> Interval:
    """How much `sum(top) / sum(bottom)` rose from before to after, on the same games, drawn together.

    sums: `(2, 2, n_games)`: before and after, tops before bottoms, games in the same order.
    """
    n_games = sums.shape[-1]
    before, after = ratios(sums, np.vstack([np.ones((1, n_games)), game_weights(n_games, n_boot, seed)]))
    return interval(after[1:] - before[1:], float(after[0] - before[0]), n_games=n_games)


def mean_interval(values: ArrayLike, games: ArrayLike, n_boot: int = 1000, seed: int = 0) -> Interval:
    """The mean of `values` with its interval over `games`, both `(n_rows,)`; NaN without rows."""
    names, code = np.unique(np.asarray(games), return_inverse=True)
    return ratio_interval(
        names, np.bincount(code, np.asarray(values, dtype=float)), np.bincount(code), n_boot, seed
    )


def r2_interval(
    truth: ArrayLike, predicted: ArrayLike, games: ArrayLike, n_boot: int = 1000, seed: int = 0
) -> Interval:
    """The share of the variance of `truth` that `predicted` explains, with its interval over `games`.

    All are `(n_rows,)`. A resample has its own mean, from which its variance is taken. NaN where `truth` is constant.
    """
    t, p = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    names, code = np.unique(np.asarray(games), return_inverse=True)
    if not len(names):
        return Interval(float("nan"), float("nan"), float("nan"), float("nan"))
    centred = t - t.mean()  # centred roughly, which keeps the precision of the squares
    parts = np.stack([np.bincount(code, x) for x in (np.ones_like(t), centred, centred**2, (t - p) ** 2)])
    weights = np.vstack([np.ones((1, len(names))), game_weights(len(names), n_boot, seed)])
    n, total, squares, missed = np.einsum("bg,kg->kb", weights, parts)
    spread = squares - total**2 / n
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(spread > 1e-12, 1 - missed / spread, np.nan)
    return interval(found[1:], float(found[0]), n_games=len(names))


class GamePairs:
    """The pair counts of one score by game, from which AUROC under any game weights follows.

    `labels` 0/1, `scores`, `games` (codes 0..n_games-1) and `strata` are all `(n_rows,)`. One block is kept
    for each stratum, over the games that occur in it.
    """

    def __init__(
        self, labels: ArrayLike, scores: ArrayLike, games: ArrayLike, strata: ArrayLike | None = None
    ):
        y, s, g = np.asarray(labels) > 0, np.asarray(scores), np.asarray(games)
        codes = np.zeros(len(y), dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
        self.blocks: list[tuple[NDArray[Any], Floats, NDArray[Any], NDArray[Any]]] = []
        for stratum in range(int(codes.max()) + 1 if len(codes) else 0):
            rows = codes == stratum
            present, local = np.unique(g[rows], return_inverse=True)
            up = np.bincount(local, weights=y[rows], minlength=len(present))
            down = np.bincount(local, weights=~y[rows], minlength=len(present))
            self.blocks.append((present, _won(y[rows], s[rows], local, len(present)), up, down))

    def auroc(self, weights: Floats) -> Floats:
        """AUROC under each row of game weights `(n_boot, n_games)`; NaN where a resample has no pair."""
        wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for games, won, up, down in self.blocks:
            w = weights[:, games]
            wins += np.einsum("bg,bg->b", w @ won, w)
            pairs += (w @ up) * (w @ down)
        return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), np.nan)


def _won(y: NDArray[np.bool_], s: NDArray[Any], games: NDArray[Any], n_games: int) -> Floats:
    """`won[g, h]`: pairs of a positive of game g and a negative of game h that the positive wins (ties one
    half).
    """
    _, value = np.unique(s, return_inverse=True)
    order = np.argsort(value, kind="stable")
    below = np.zeros((n_games,))
    won = np.zeros((n_games, n_games))
    value, y, games = value[order], y[order], games[order]
    # Dense counts of negatives by (distinct value, game), in slabs so that memory stays bounded.
    n_values, start = int(value[-1]) + 1 if len(value) else 0, 0
    slab = max(1, 8_000_000 // max(1, n_games))
    for first in range(0, n_values, slab):
        stop = int(np.searchsorted(value, first + slab))
        v, yy, gg = value[start:stop] - first, y[start:stop], games[start:stop]
        width = min(slab, n_values - first)
        tied = np.bincount(v[~yy] * n_games + gg[~yy], minlength=width * n_games).reshape(width, n_games)
        up_to = np.cumsum(tied, axis=0)
        lower = below + up_to - tied / 2
        own = np.zeros((n_games, width))
        np.add.at(own, (gg[yy], v[yy]), 1.0)
        won += own @ lower
        below = below + up_to[-1]
        start = stop
    return won


def interval(
    samples: ArrayLike, value: float, null: float = 0.0, level: float = 0.95, *, n_games: int
) -> Interval:
    """Expanded percentile interval of bootstrap `samples` over `n_games` games, and the two-sided p against `null`.

    Percentile intervals of few games are too narrow: the variance of a resample is too small by (n-1)/n, and its tails
    are normal instead of Student's. The quantiles are taken further out so that the mean's interval would be Student's
    (Hesterberg 2015, "What teachers should know about the bootstrap", section 3.2); p follows by the same map.
    """
    draws = np.asarray(samples, dtype=float)
    draws = draws[np.isfinite(draws)]
    if not len(draws) or not np.isfinite(value):
        return Interval(float(value), float("nan"), float("nan"), float("nan"))
    degrees = max(1, n_games - 1)
    widening = np.sqrt((degrees + 1) / degrees)
    tail = ndtr(widening * stdtrit(degrees, (1 - level) / 2))
    low, high = np.quantile(draws, [tail, 1 - tail])
    beyond = (min((draws <= null).sum(), (draws >= null).sum()) + 1) / (len(draws) + 1)
    p = 2 * stdtr(degrees, ndtri(min(0.5, beyond)) / widening)
    return Interval(float(value), float(low), float(high), float(min(1.0, p)))


def spread_p(samples: ArrayLike, value: float, *, n_games: int) -> float:
    """The two-sided p of `value == 0` by the spread of bootstrap `samples` and Student's tails.

    A count of draws beyond 0 cannot fall below two over their number, which a correction for many tests then lifts
    above any level; the spread has no such floor. NaN where there is none.
    """
    draws = np.asarray(samples, dtype=float)
    draws = draws[np.isfinite(draws)]
    if len(draws) < 2 or not np.isfinite(value):
        return float("nan")
    deviation = float(draws.std(ddof=1)) * np.sqrt(n_games / max(1, n_games - 1))
    if deviation == 0.0:
        return 1.0 if value == 0.0 else 0.0
    return float(2 * student.sf(abs(value) / deviation, max(1, n_games - 1)))


def auroc_interval(samples: ArrayLike, value: float, *, n_games: int) -> Interval:
    """The interval of an AUROC, within [0, 1], and the p of AUROC = .5."""
    return interval(np.clip(np.asarray(samples, dtype=float), 0.0, 1.0), value, 0.5, n_games=n_games)


def bootstrap_auroc(
    labels: ArrayLike,
    scores: Sequence[ArrayLike],
    games: ArrayLike,
    strata: ArrayLike | None = None,
    n_boot: int = 2000,
    seed: int = 0,
    training: Sequence[ArrayLike] = (),
) -> tuple[Floats, Floats]:
    """AUROC of several scores on the same rows and the same resampled games.

    `training`, one `(n_draws,)` a score, holds the deviations of each score's AUROC when its training games are redrawn
    (`training_variance.training_draws`); they are added to the samples, which otherwise leave out the uncertainty of
    the fits. Returns the values `(n_scores,)` and the samples `(n_scores, n_boot)`; differences of sample rows are
    paired.
    """
    codes = np.unique(np.asarray(games), return_inverse=True)[1]
    n_games = int(codes.max()) + 1 if len(codes) else 0
    weights = np.vstack([np.ones((1, n_games)), game_weights(n_games, n_boot, seed)])
    drawn = np.stack([GamePairs(labels, score, codes, strata).auroc(weights) for score in scores])
    for samples, moved in zip(drawn[:, 1:], training):
        samples += np.resize(np.asarray(moved, dtype=float), n_boot)
    return drawn[:, 0], drawn[:, 1:]


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down adjusted p-values, in the given order; NaN stays NaN and does not count as a test."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors)) if len(order) else []
    return adjusted
