"""Scores of a binary probe: AUROC, log-loss, Brier, calibration error, recall at a false-positive rate.

Everything is vectorised over columns (targets, permutations, layers): labels and scores are `(n_rows,)` or
`(n_rows, n_columns)`, results are floats or `(n_columns,)`. AUROC can be restricted to pairs within a
stratum (the held-out fold, the turn): scores of different folds come from different fits and are never
compared, which also keeps a constant baseline at exactly .5. A column with a single class has no AUROC:
NaN, never a guess.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

_BLOCK = 4_000_000  # sorted at a time: keeps the working set in cache and memory flat


def auroc(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None, strata: ArrayLike | None = None
) -> Any:
    """Probability that a positive outscores a negative of its stratum, ties counting one half.

    `labels` 0/1 and `scores` broadcast against each other as `(n_rows,)` or `(n_rows, n_columns)`;
    `weights` (n_rows,) are non-negative row weights; `strata` (n_rows,) restricts the pairs, strata
    weighing by their number of pairs. Returns a float for vectors, `(n_columns,)` otherwise; NaN where no
    pair exists.
    """
    y, s = np.asarray(labels), np.asarray(scores)
    if y.shape[0] != s.shape[0]:
        raise ValueError(
            f"labels have {y.shape[0]} rows, scores {s.shape[0]}; they must describe the same rows"
        )
    flat = y.ndim == 1 and s.ndim == 1
    y2, s2 = np.broadcast_arrays(np.atleast_2d(y.T).T, np.atleast_2d(s.T).T)
    codes = (
        np.zeros(y2.shape[0], dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    )
    wins: Floats = np.zeros(y2.shape[1])
    pairs: Floats = np.zeros(y2.shape[1])
    if weights is None and s2.dtype != np.float32:
        wins, pairs = _wins_within(y2, s2, codes)
    else:
        order = np.argsort(codes, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            if weights is None:
                won, total = _wins(y2[rows], s2[rows])
            else:
                won, total = _weighted_wins(y2[rows], s2[rows], np.asarray(weights, dtype=float)[rows])
            wins += won
            pairs += total
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), np.nan)
    return float(value[0]) if flat else value


def _wins_within(y: NDArray[Any], s: NDArray[Any], codes: NDArray[Any]) -> tuple[Floats, Floats]:
    """Won pairs and pairs of each column within the strata `codes` (0.., `(n_rows,)`), by one ranking of all rows."""
    columns = y.shape[1]
    wins, pairs = np.empty(columns), np.empty(columns)
    for column in range(columns):
        won, total = wins_by(y[:, column], s[:, column], codes)
        wins[column], pairs[column] = won.sum(), total.sum()
    return wins, pairs


def wins_by(labels: NDArray[Any], scores: NDArray[Any], codes: NDArray[Any]) -> tuple[Floats, Floats]:
    """Won pairs and pairs of rows of each stratum, both `(n_strata,)`; ties count one half.

    `labels`, `scores` and `codes` (0.., of the strata) are `(n_rows,)`. All are multiples of one half, so exact. NaN
    where any score is.
    """
    s, up = np.asarray(scores, dtype=float), np.asarray(labels) > 0
    size = np.bincount(codes)
    positive = np.bincount(codes[up], minlength=len(size)).astype(float)
    pairs = positive * (size - positive)
    if not len(s) or np.isnan(s).any():
        return np.full(len(size), np.nan), pairs
    # By stratum, and within it by score: numbers of 16 bits are sorted in linear time.
    order = np.argsort(s)
    small = codes.astype(np.uint16) if len(size) <= 1 << 16 else codes
    order = order[np.argsort(small[order], kind="stable")]
    s, up, code = s[order], up[order], codes[order]
    first = np.append(True, (s[1:] != s[:-1]) | (code[1:] != code[:-1]))  # of the rows of one score
    starts, ups = np.flatnonzero(first), np.append(0, np.cumsum(up))
    ends = np.append(starts[1:], len(s))
    won = ups[ends] - ups[starts]
    lost = ends - starts - won
    before = (starts - ups[starts]) - (np.cumsum(size) - size - np.append(0, np.cumsum(positive))[:-1])[
        code[starts]
    ]
    return np.bincount(code[starts], won * (before + lost / 2), len(size)).astype(float), pairs


def _wins(y: NDArray[Any], s: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Won pairs and pairs of each column, both `(n_columns,)`."""
    n, columns = y.shape
    wins, pairs = np.empty(columns), np.empty(columns)
    step = max(1, _BLOCK // n)
    for start in range(0, columns, step):
        block = slice(start, start + step)
        wins[block], pairs[block] = wins_float32(
            np.ascontiguousarray(y[:, block].T), np.ascontiguousarray(s[:, block].T)
        )
    return wins, pairs


def wins_float32(y: NDArray[Any], s: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Won pairs and pairs of each ROW of `(n_columns, n_rows)` float32 scores, by one plain integer sort.

    The label rides in the lowest mantissa bit of an order-preserving integer image of the score, so no
    argsort is needed; scores that agree in all other bits count as tied (a relative difference of 2e-7).
    """
    key = (s + np.float32(0)).view(np.int32)  # + 0 turns -0.0 into 0.0
    turned = key >> 31
    turned &= np.int32(0x7FFFFFFF)
    key ^= turned
    key &= np.int32(~1)
    key |= y > 0
    key.sort(axis=1)
    label = key & 1
    n = key.shape[1]
    positive = label.sum(axis=1, dtype=np.int64).astype(float)
    wins = label @ np.arange(n, dtype=np.float64) - positive * (positive - 1) / 2
    # Equal scores with different labels: the sort put the negatives first and won the pair outright.
    tied = np.flatnonzero(((key[:, 1:] ^ key[:, :-1]) == 1).any(axis=1))
    if tied.size:
        score, won = (key[tied] >> 1).ravel(), label[tied].ravel()
        first = np.append(True, score[1:] != score[:-1])
        first[::n] = True
        starts = np.flatnonzero(first)
        ups = np.add.reduceat(won, starts)
        downs = np.diff(np.append(starts, len(score))) - ups
        wins[tied] -= np.bincount(starts // n, ups * downs / 2)
    return wins, positive * (n - positive)


def _weighted_wins(y: NDArray[Any], s: NDArray[Any], w: Floats) -> tuple[Floats, Floats]:
    wins, pairs = np.empty(y.shape[1]), np.empty(y.shape[1])
    for column in range(y.shape[1]):
        _, value = np.unique(s[:, column], return_inverse=True)
        positive = y[:, column] > 0
        up = np.bincount(value, weights=w * positive)
        down = np.bincount(value, weights=w * ~positive)
        wins[column] = (up * (np.cumsum(down) - down / 2)).sum()
        pairs[column] = up.sum() * down.sum()
    return wins, pairs


def log_loss(labels: ArrayLike, probabilities: ArrayLike, floor: float = 1e-6) -> Any:
    """Mean negative log-likelihood in nats, probabilities clipped to [floor, 1 - floor]."""
    p = np.clip(np.asarray(probabilities, dtype=float), floor, 1 - floor)
    y = np.asarray(labels, dtype=float)
    return _plain(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean(axis=0))


def log_odds(p: ArrayLike, floor: float = 0.01) -> NDArray[np.float64]:
    """Natural log-odds of probabilities held within [floor, 1 - floor]: certainty has no finite ones."""
    q = np.clip(np.asarray(p, dtype=np.float64), floor, 1 - floor)
    return np.asarray(np.log(q) - np.log1p(-q))


def brier(labels: ArrayLike, probabilities: ArrayLike) -> Any:
    """Mean squared error of the probabilities."""
    return _plain(
        ((np.asarray(probabilities, dtype=float) - np.asarray(labels, dtype=float)) ** 2).mean(axis=0)
    )


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error over `bins` bins of equal count (equal width leaves empty bins at skewed
    rates).
    """
    return float(
        sum(abs(b["observed"] - b["predicted"]) * b["n"] for b in reliability(labels, probabilities, bins))
        / max(1, len(np.asarray(labels)))
    )


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> list[dict[str, float]]:
    """The reliability diagram: per bin of equal count `predicted`, `observed` (both means) and `n`."""
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    order = np.argsort(p, kind="stable")
    return [
        {"predicted": float(p[rows].mean()), "observed": float(y[rows].mean()), "n": float(len(rows))}
        for rows in np.array_split(order, bins)
        if len(rows)
    ]


def threshold_at_fpr(negative_scores: ArrayLike, fpr: float = 0.01) -> float:
    """The lowest threshold that at most a share `fpr` of the negatives exceeds (strictly)."""
    s = np.sort(np.asarray(negative_scores, dtype=float))
    if not len(s):
        raise ValueError("no negatives to set a threshold on; recall at a false-positive rate needs some")
    return float(s[max(0, int(np.ceil((1 - fpr) * len(s))) - 1)])


def recall_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float = 0.01) -> float:
    """Share of the positives above the threshold that `fpr` of the negatives exceed; NaN with one class."""
    y, s = np.asarray(labels) > 0, np.asarray(scores, dtype=float)
    if not y.any() or y.all():
        return float("nan")
    return float((s[y] > threshold_at_fpr(s[~y], fpr)).mean())


def roc(labels: ArrayLike, scores: ArrayLike, points: int = 60) -> list[dict[str, float]]:
    """The ROC curve at `points` false-positive rates and the ends: `fpr` and `tpr`; empty with one class."""
    y, s = np.asarray(labels) > 0, np.asarray(scores, dtype=float)
    if not y.any() or y.all():
        return []
    thresholds = np.concatenate([[np.inf], np.quantile(s[~y], np.linspace(1, 0, points)), [-np.inf]])
    return [{"fpr": float((s[~y] > t).mean()), "tpr": float((s[y] > t).mean())} for t in thresholds]


def r2(truth: ArrayLike, predicted: ArrayLike) -> Any:
    """Share of the variance explained (can be negative), per column."""
    t, p = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    spread = ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _plain(1 - ((t - p) ** 2).sum(axis=0) / np.where(spread > 0, spread, np.nan))


def cosine(a: ArrayLike, b: ArrayLike) -> float:
    """Cosine of the angle between two vectors `(d,)`; NaN where one is zero."""
    x, y = np.asarray(a), np.asarray(b)
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norm if norm > 0 else float("nan")


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value
