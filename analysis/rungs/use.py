"""Rung 4, by behaviour: which belief explains whom a player votes for.

A conditional logit (McFadden 1974) of the chosen player among those that the voter could not place by the rules alone,
fitted on other games. Public information may move votes differently from how it predicts the truth, so the surface is
fitted to the votes themselves. The increment of a belief is the gain in held-out log-likelihood a ballot. This is still
correlation: a common cause of belief and vote would show up here; the causal table is a separate test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.probes.probes import Nested
from analysis.rungs.within import Resamples
from analysis.stats.bootstrap import Interval
from analysis.stats.moments import Doubles
from analysis.stats.splits import Folds

RIDGE = 1e-3
"""Ridge penalty per ballot, in standardised columns."""
FEWEST_BALLOTS = 60
EXPLAINED: dict[str, Any] = {
    "belief": pl.String,
    "alone": pl.Float64,  # nats a ballot over a choice at random, by this belief alone
    "beyond_surface": pl.Float64,  # nats a ballot that it adds to what is public
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "beyond_exact": pl.Float64,  # nats that it adds to what is public and the ideal reader's posterior
    "exact_low": pl.Float64,
    "exact_high": pl.Float64,
    "n_ballots": pl.Int64,
    "n_games": pl.Int64,
}


def votes_explained(
    chosen: Doubles, decision: NDArray[Any], games: NDArray[Any], folds: Folds, surface: Sequence[Nested],
    beliefs: Mapping[str, Nested], exact: str, draw: Resamples,
) -> pl.DataFrame:  # fmt: skip
    """Schema `EXPLAINED`, one row a belief. `chosen` (n_rows,) 0/1, one 1 a decision; `decision` and `games` codes.

    `exact`: the key of the ideal reader's posterior among `beliefs`, or empty.
    """
    n_ballots, n = int(decision.max(initial=-1)) + 1, draw.n_games
    game_of = np.zeros(n_ballots, dtype=np.int64)
    game_of[decision] = games
    counts = np.bincount(game_of, minlength=n).astype(float)
    blind = -np.log(np.bincount(decision, minlength=n_ballots))

    def told(sources: Sequence[Nested]) -> Doubles:
        return _log_likelihood(chosen, decision, folds, sources)

    def gain(over: Doubles, under: Doubles) -> Interval:
        return draw.mean(np.bincount(game_of, over - under, n).astype(float), counts)

    public = told(surface)
    by_exact = told([*surface, beliefs[exact]]) if exact else None
    rows = []
    for name, belief in beliefs.items():
        more = gain(told([*surface, belief]), public)
        beyond = None
        if by_exact is not None and name != exact:
            beyond = gain(told([*surface, beliefs[exact], belief]), by_exact)
        rows.append(
            {
                "belief": name, "alone": gain(told([belief]), blind).value, "beyond_surface": more.value,
                "low": more.low, "high": more.high, "p": more.p,
                "beyond_exact": None if beyond is None else beyond.value,
                "exact_low": None if beyond is None else beyond.low,
                "exact_high": None if beyond is None else beyond.high, "n_ballots": n_ballots,
                "n_games": int((counts > 0).sum()),
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=EXPLAINED)


def _log_likelihood(
    chosen: Doubles, decision: NDArray[Any], folds: Folds, sources: Sequence[Nested]
) -> Doubles:
    """Log-likelihood `(n_ballots,)` of the choices, each by a fit on other folds."""
    out = np.empty(int(decision.max(initial=-1)) + 1)
    for f in range(folds.n_folds):
        train, test = np.flatnonzero(folds.fold != f), np.flatnonzero(folds.fold == f)
        if not len(test):
            continue
        z = np.stack([s.inner[f, train] for s in sources], axis=1)
        mean, scale = z.mean(axis=0), np.maximum(z.std(axis=0), 1e-9)
        w = _fit((z - mean) / scale, chosen[train], decision[train])
        tested = (np.stack([s.outer[test] for s in sources], axis=1) - mean) / scale
        p = _softmax(tested @ w, decision[test])
        took = chosen[test] > 0
        out[decision[test][took]] = np.log(np.maximum(p[took], 1e-12))
    return out


def _fit(z: Doubles, chosen: Doubles, decision: NDArray[Any]) -> Doubles:
    """Weights `(d,)` by Newton's method; the log-likelihood is concave."""
    code = np.unique(decision, return_inverse=True)[1]
    n, w = int(code.max()) + 1, np.zeros(z.shape[1])
    for _ in range(25):
        p = _softmax(z @ w, code)
        mean = np.zeros((n, z.shape[1]))
        np.add.at(mean, code, p[:, None] * z)
        gradient = ((chosen - p)[:, None] * z).sum(axis=0) / n - RIDGE * w
        hessian = ((p[:, None] * z).T @ z - mean.T @ mean) / n + RIDGE * np.eye(len(w))
        step = np.linalg.solve(hessian, gradient)
        w = w + step * min(1.0, 4.0 / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-6:
            break
    return w


def _softmax(score: Doubles, decision: NDArray[Any]) -> Doubles:
    code = np.unique(decision, return_inverse=True)[1]
    top = np.full(int(code.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(top, code, score)
    e = np.exp(score - top[code])
    return np.asarray(e / np.bincount(code, e)[code])
