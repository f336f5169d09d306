"""Attention over tokens: a probe of a span whose tokens are pooled by a learned query.

    logit(row) = b + sum_t a_t (v . z_t),   a = softmax over the span's tokens of (q . z_t)

with z standardised activations (the attention probe of McKenzie et al. 2025). With a span of one token it is logistic
regression, so the mean-token and the last-token probe are the same fit on other inputs: same objective, same steps,
same folds. Many labellings are fitted in parallel, which gives a null with the probe's own flexibility: labels permuted
within games, everything refitted, the best layer of each permutation kept.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.data.spans import Spans
from analysis.probes.permutation import LayerNull, permute_within_games
from analysis.stats.logistic import probabilities
from analysis.stats.metrics import auroc
from analysis.stats.moments import Doubles
from analysis.stats.splits import Folds

STEPS = 100
"""Fixed number of gradient steps (Adam): scored rows never decide when to stop."""
RATE = 0.05
PENALTIES = (2e-2, 1e-3)
"""Penalty on `|v|^2 / 2` and `|q|^2 / 2`, added to the mean log-loss."""
COLUMNS = 32
"""At most this many labellings are fitted in parallel."""
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
    """Fitted probes of one layer, one a labelling, for raw activations."""

    mean: Singles
    scale: Singles
    """`(d,)`."""
    v: Singles
    q: Singles
    """`(d, n_columns)`, for standardised features."""
    b: Singles

    def attention(self, x: NDArray[Any], start: NDArray[np.int64]) -> Singles:
        """Attention weight of each token in its span, `(n_tokens, n_columns)`."""
        return _softmax(_standard(x, self.mean, self.scale) @ self.q, start)

    def logits(self, x: NDArray[Any], start: NDArray[np.int64]) -> Singles:
        """`(n_rows, n_columns)`."""
        z = _standard(x, self.mean, self.scale)
        weighed = _softmax(z @ self.q, start) * (z @ self.v)
        return np.asarray(np.add.reduceat(weighed, start[:-1], axis=0) + self.b, dtype=np.float32)


@dataclass(frozen=True)
class SpanResult:
    """Out-of-fold results of one probe of spans."""

    name: str
    scores: Doubles
    """`(n_rows,)` probabilities, each from a fit without the row's fold, the layer chosen inside."""
    auroc: float
    chosen_layer: tuple[int, ...]
    null: LayerNull


def loss(
    v: NDArray[Any],
    q: NDArray[Any],
    b: NDArray[Any],
    z: NDArray[Any],
    start: NDArray[np.int64],
    y: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The objective `(n_columns,)` and its gradients by v, q `(d, n_columns)` and b `(n_columns,)`.

    `z` (n_tokens, d) standardised, `start` (n_rows + 1,), `y` (n_rows, n_columns) 0/1.
    """
    counts, n = np.diff(start), len(start) - 1
    keys, values = z @ q, z @ v
    a = _softmax(keys, start)
    pooled = np.add.reduceat(a * values, start[:-1], axis=0)
    logits = pooled + b
    residual = (0.5 * (1 + np.tanh(0.5 * logits)) - y) / n
    at_token = np.repeat(residual, counts, axis=0) * a
    by_key = at_token * (values - np.repeat(pooled, counts, axis=0))
    value = (np.logaddexp(0, logits) - y * logits).mean(axis=0)
    value = value + (PENALTIES[0] * (v**2).sum(axis=0) + PENALTIES[1] * (q**2).sum(axis=0)) / 2
    return value, z.T @ at_token + PENALTIES[0] * v, z.T @ by_key + PENALTIES[1] * q, residual.sum(axis=0)


def fit_spans(x: NDArray[Any], start: NDArray[np.int64], y: NDArray[Any]) -> Fit:
    """Fits every labelling `(n_rows, n_columns)` of the rows by `STEPS` steps from v = q = 0."""
    mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 1e-6 * max(1e-12, float(scale.max())), scale, 1.0)
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    z, labels, d, k = _standard(x, mean, scale), y.astype(np.float32), x.shape[1], y.shape[1]
    rate = np.clip(labels.mean(axis=0), 1e-3, 1 - 1e-3)
    at = np.concatenate([np.zeros((2 * d, k)), np.log(rate / (1 - rate))[None]]).astype(np.float32)
    first, second = np.zeros_like(at), np.zeros_like(at)
    single = bool((np.diff(start) == 1).all())
    for step in range(1, STEPS + 1):
        _, dv, dq, db = loss(at[:d], at[d:-1], at[-1], z, start, labels)
        gradient = np.concatenate([dv, dq * (not single), db[None]])
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        rise = RATE * (1 - step / (STEPS + 1))  # falls to zero, so that the last steps converge
        at -= rise * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
    return Fit(mean, scale, at[:d], at[d:-1], at[-1])


def read_spans(
    name: str,
    spans: Spans,
    labels: ArrayLike,
    games: ArrayLike,
    folds: Folds,
    n_permutations: int = 39,
    seed: int = 0,
) -> SpanResult:
    """Out-of-fold scores with the layer chosen inside, and the null over layers with labels permuted within games.

    `labels` and `games` are `(n_rows,)`. The layer is chosen by AUROC on the other folds, each held out in turn from a
    fit on the rest. Raises UngroupedSplit where games are on both sides.
    """
    folds.require_grouped()
    y, k, n_layers = np.asarray(labels, dtype=np.uint8), folds.n_folds, len(spans.layers)
    drawn = permute_within_games(y, np.asarray(games), n_permutations, seed)
    columns = np.hstack([y[:, None], drawn])
    logits = np.empty((n_layers, len(y), columns.shape[1]), dtype=np.float32)
    inner = np.full((k, k, n_layers), np.nan)
    for layer in range(n_layers):
        for f in range(k):
            logits[layer, folds.fold == f] = _held_out(spans, layer, columns, folds, (f,))[0]
            for g in range(f + 1, k):
                for held, out, found in zip(
                    (g, f), (f, g), _held_out(spans, layer, y[:, None], folds, (f, g))[::-1]
                ):
                    inner[out, held, layer] = auroc(y[folds.fold == held], found[:, 0].astype(float))
    chosen = np.nanmean(inner, axis=1).argmax(axis=1)
    scores = probabilities(logits[chosen[folds.fold], np.arange(len(y)), 0])
    values = np.stack([auroc(columns, layer.astype(float), strata=folds.fold) for layer in logits], axis=-1)
    null = LayerNull(values[None, 0], values[None, 1:])
    return SpanResult(name, scores, float(auroc(y, scores, strata=folds.fold)), tuple(map(int, chosen)), null)


def _held_out(
    spans: Spans, layer: int, columns: NDArray[Any], folds: Folds, held: Collection[int]
) -> list[Singles]:
    """Logits of the rows of each held fold under fits on all other folds."""
    train = np.flatnonzero(~np.isin(folds.fold, list(held)))
    mine = spans.take(train)
    tests = [spans.take(np.flatnonzero(folds.fold == f)) for f in held]
    parts: list[list[Singles]] = [[] for _ in tests]
    for first in range(0, columns.shape[1], COLUMNS):
        fit = fit_spans(mine.x[:, layer], mine.start, columns[train, first : first + COLUMNS])
        for test, part in zip(tests, parts):
            part.append(fit.logits(test.x[:, layer], test.start))
    return [np.hstack(part) for part in parts]


def _standard(x: NDArray[Any], mean: Singles, scale: Singles) -> Singles:
    return np.asarray((x - mean) / scale, dtype=np.float32)


def _softmax(keys: NDArray[Any], start: NDArray[np.int64]) -> NDArray[Any]:
    """Over the tokens of each span, column by column."""
    counts = np.diff(start)
    raised = np.exp(keys - np.repeat(np.maximum.reduceat(keys, start[:-1], axis=0), counts, axis=0))
    return np.asarray(raised / np.repeat(np.add.reduceat(raised, start[:-1], axis=0), counts, axis=0))
