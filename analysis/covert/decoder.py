"""What a reader who has seen other games learns from a speech: a cross-fitted conditional logit, in bits.

The information is measured as usable information (Xu et al. 2020, "A theory of usable information under computational
constraints"): the cross-entropy in bits of the secret given what is public, minus that given what is public and the
speech, both of decoders fitted on other games and read on held-out ones. In expectation it is a lower bound of the
mutual information; a value below zero says that the decoder learnt noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from analysis.covert.utterances import Choices
from analysis.stats.remember import remembered
from analysis.stats.splits import game_folds

Floats = NDArray[np.float64]

PENALTIES = (1.0, 6.0, 36.0)
"""Ridge penalties from which each training set chooses, on a fold of whole games inside it."""


@remembered
def fit(x: Floats, start: NDArray[np.int64], chosen: NDArray[np.int64], penalty: float) -> Floats:
    """Weights `(n_features,)` of a conditional logit: softmax of `x @ w` over the rows of each moment.

    x: `(n_rows, n_features)`; start: `(n_moments,)`, the first row of each; chosen: `(n_moments,)`, its target's row.
    """
    sums = x[chosen].sum(axis=0)
    sizes = np.diff([*start.tolist(), len(x)])

    def loss(w: Floats) -> tuple[float, Floats]:
        scores = x @ w
        top = np.repeat(np.maximum.reduceat(scores, start), sizes)
        raised = np.exp(scores - top)
        total = np.add.reduceat(raised, start)
        p = raised / np.repeat(total, sizes)
        value = -(scores[chosen] - top[chosen] - np.log(total)).sum() + penalty / 2 * (w @ w)
        return float(value), p @ x - sums + penalty * w

    found: Any = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x, dtype=float)


def log2_p(x: Floats, w: Floats, start: NDArray[np.int64]) -> Floats:
    """log2 probability of each row among those of its moment, `(n_rows,)`."""
    sizes = np.diff([*start.tolist(), len(x)])
    scores = x @ w
    top = np.repeat(np.maximum.reduceat(scores, start), sizes)
    total = np.log(np.add.reduceat(np.exp(scores - top), start))
    return np.asarray((scores - top - np.repeat(total, sizes)) / np.log(2.0))


def held_out(
    rows: Choices, sets: Sequence[Floats], n_folds: int = 5, seed: int = 0, may_abstain: bool = True
) -> Floats:
    """log2 probability `(n_rows,)` of every candidate, by decoders fitted on other games.

    sets: feature sets that a decoder may use, each `(n_rows, n_features)`. Each training set chooses a feature set (or
    none) and a penalty on a fold of whole games inside it, so that a reader with too few games to learn a code uses
    less. may_abstain: whether using none is allowed. Raises ValueError with fewer games than folds.
    """
    scaled = [x / np.maximum(x.std(axis=0), 1e-9) for x in sets]
    if may_abstain:
        scaled.insert(0, np.zeros((len(rows.public), 1)))
    folds = game_folds(rows.games, n_folds, seed).require_grouped().fold
    out = np.zeros(len(rows.public))
    for k in range(n_folds):
        inner = (k + 1) % n_folds
        best, choice = -np.inf, (0, PENALTIES[0])
        for which, x in enumerate(scaled):
            for penalty in PENALTIES if x.any() else PENALTIES[:1]:
                w = _fitted(rows, x, (folds != k) & (folds != inner), penalty)
                found = float(_score(rows, x, folds == inner, w).sum())
                if found > best:
                    best, choice = found, (which, penalty)
        x = scaled[choice[0]]
        w = _fitted(rows, x, folds != k, choice[1])
        part, start, _, where = _part(rows, x, folds == k)
        out[where] = log2_p(part, w, start)
    return out


def _part(
    rows: Choices, x: Floats, moments: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rows of some moments: x, starts, chosen, and their positions among all rows."""
    ends = np.append(rows.start[1:], len(x))
    picked = np.flatnonzero(moments)
    where = np.concatenate([np.arange(rows.start[i], ends[i]) for i in picked])
    sizes = ends[picked] - rows.start[picked]
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    return x[where], start, start + (rows.chosen[picked] - rows.start[picked]), where


def _fitted(rows: Choices, x: Floats, moments: NDArray[np.bool_], penalty: float) -> Floats:
    part, start, chosen, _ = _part(rows, x, moments)
    return fit(part, start, chosen, penalty)


def _score(rows: Choices, x: Floats, moments: NDArray[np.bool_], w: Floats) -> Floats:
    part, start, chosen, _ = _part(rows, x, moments)
    return log2_p(part, w, start)[chosen]


def hits(rows: Choices, scores: Floats) -> Floats:
    """Whether the likeliest candidate is the target, `(n_moments,)`; ties count for their share."""
    ends = np.append(rows.start[1:], len(scores))
    return np.array(
        [hit(scores[start:end], chosen - start) for start, end, chosen in zip(rows.start, ends, rows.chosen)]
    )


def hit(scores: Floats, chosen: int) -> float:
    """1 where the candidate `chosen` has the highest of the scores; ties count for their share."""
    best = np.isclose(scores, scores.max())
    return float(best[chosen]) / float(best.sum())


def exchanged(strata: Sequence[tuple[int, ...]], rng: np.random.Generator) -> list[int]:
    """A permutation of the moments within each public state."""
    order = np.arange(len(strata))
    for stratum in sorted(set(strata)):
        mine = np.flatnonzero([s == stratum for s in strata])
        order[mine] = rng.permutation(mine)
    return [int(i) for i in order]
