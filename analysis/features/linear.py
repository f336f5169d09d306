"""How linear beliefs are: linear and nonlinear probes of a posterior's log-odds, on the same rows.

There are three questions. `linearity`: does a kernel or a small network predict more of it than a linear map, on
held-out games? `drift`: is the direction of one layer that of another, up to one linear map a layer, fitted on rows
without labels? `barycentres`: in the simplex werewolf / seer / neither, do a few clusters of latents predict the belief
better than as many random clusters?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.kernel_approximation import Nystroem
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from analysis.probes.probes import PENALTIES
from analysis.rungs.nested import linear
from analysis.rungs.within import Resamples
from analysis.stats.codes import codes_of
from analysis.stats.moments import Doubles, Moments, project
from analysis.stats.splits import Folds

LINEARITY: dict[str, Any] = {
    "layer": pl.String,
    "readout": pl.String,  # linear | kernel | network
    "r2": pl.Float64,
    "gain": pl.Float64,  # R2 minus that of the layer's linear probe, paired over games; null for the linear probe
    "low": pl.Float64,
    "high": pl.Float64,
    "n_rows": pl.Int64,
    "n_games": pl.Int64,
}
DRIFT: dict[str, Any] = {
    "fitted": pl.String,  # layer, or level of a factor, where the probe was fitted
    "read": pl.String,  # where it is applied
    "cosine": pl.Float64,  # cosine of the two directions as they are
    "r2_as_is": pl.Float64,  # R2 of the other layer's (or level's) probe on the rows
    "r2_mapped": pl.Float64,  # after one linear map from this layer to that one
    "r2_own": pl.Float64,
    "ceiling": pl.Float64,  # cosine of two fits on halves of the games: the value for the same direction
}
SIMPLEX: dict[str, Any] = {
    "clusters": pl.Int32, "latents": pl.Int32, "r2": pl.Float64, "r2_null_mean": pl.Float64,
    "r2_null_95": pl.Float64, "p": pl.Float64, "r2_stream": pl.Float64, "n_null": pl.Int32,
}  # fmt: skip
LANDMARKS = 300
NETWORK = (64,)
ALPHA = 0.1
"""Ridge penalty per row of the maps and directions of `drift`."""


def linearity(
    layers: Mapping[str, NDArray[Any]], wanted: Doubles, folds: Folds, games: NDArray[Any], n_boot: int = 1000,
    seed: int = 0, say: Callable[[str], None] = lambda text: None,
) -> pl.DataFrame:  # fmt: skip
    """Schema `LINEARITY`. `layers` are name -> `(n_rows, d)`, `wanted` `(n_rows,)` log-odds, `games` ids."""
    code = codes_of(games)
    draw = Resamples(int(code.max()) + 1, n_boot, seed)
    whole = _by_game(code, (wanted - wanted.mean()) ** 2, draw.n_games)
    rows = []
    for name, x in layers.items():
        say(f"reading {name} by a linear map, a kernel and a network")
        errors = {
            kind: _by_game(code, (wanted - made) ** 2, draw.n_games)
            for kind, made in {
                "linear": linear(x, wanted, folds).outer, "kernel": _kernel(x, wanted, folds, seed),
                "network": _network(x, wanted, folds, seed),
            }.items()
        }  # fmt: skip
        for kind, error in errors.items():
            value, _ = draw.ratio(error, whole)
            row = {"layer": name, "readout": kind, "r2": 1 - value, "gain": None, "low": None, "high": None}
            if kind != "linear":
                gain, samples = draw.ratio(errors["linear"] - error, whole)
                held = draw.interval(samples, gain)
                row |= {"gain": held.value, "low": held.low, "high": held.high}
            rows.append(row | {"n_rows": len(wanted), "n_games": draw.n_games})
    return pl.DataFrame(rows, schema=LINEARITY)


def _kernel(x: NDArray[Any], wanted: Doubles, folds: Folds, seed: int) -> Doubles:
    """Ridge in an RBF kernel's space (Nystroem, `LANDMARKS` training rows), beside the linear columns.

    The width is chosen by the errors of inner folds, as the penalty is.
    """
    z = StandardScaler().fit_transform(np.asarray(x, dtype=np.float64)).astype(np.float32)
    out = np.empty(len(wanted))
    for f in range(folds.n_folds):
        train, test = np.flatnonzero(folds.fold != f), np.flatnonzero(folds.fold == f)
        n = folds.n_folds - 1
        inner = Folds(
            np.searchsorted(np.delete(np.arange(folds.n_folds), f), folds.fold[train]), n, True, "inner"
        )
        fits = []
        for gamma in (0.1 / z.shape[1], 0.5 / z.shape[1], 2.0 / z.shape[1]):
            kernel = Nystroem(gamma=gamma, n_components=min(LANDMARKS, len(train)), random_state=seed).fit(
                z[train]
            )
            both = np.hstack([z, kernel.transform(z).astype(np.float32)])
            fits.append((*_ridge(both[train], wanted[train], inner), both))
        _, w, b, both = min(fits, key=lambda one: one[0])
        out[test] = project(both[test], w, b)[:, 0]
    return out


def _ridge(x: NDArray[Any], y: Doubles, inner: Folds) -> tuple[float, Doubles, Doubles]:
    """(squared error on inner folds, weights, intercept) of ridge whose penalty is chosen on these folds."""
    moments = Moments(inner.n_folds, x.shape[1], 1).add(x, inner.fold, y[:, None])
    errors = np.zeros(len(PENALTIES))
    for g in range(inner.n_folds):
        rest = moments.train(c for c in range(inner.n_folds) if c != g)
        rows = inner.fold == g
        for j, penalty in enumerate(PENALTIES):
            errors[j] += float(((project(x[rows], *rest.ridge(penalty * rest.n))[:, 0] - y[rows]) ** 2).sum())
    whole = moments.train(range(inner.n_folds))
    return (float(errors.min()), *whole.ridge(PENALTIES[int(errors.argmin())] * whole.n))


def _network(x: NDArray[Any], wanted: Doubles, folds: Folds, seed: int) -> Doubles:
    """A network of one hidden layer, stopped early on a tenth of its training rows."""
    out = np.empty(len(wanted))
    for f in range(folds.n_folds):
        train, test = folds.fold != f, folds.fold == f
        scaler = StandardScaler().fit(x[train])
        model = MLPRegressor(
            hidden_layer_sizes=NETWORK,
            alpha=1e-3,
            early_stopping=True,
            n_iter_no_change=8,
            max_iter=150,
            random_state=seed,
        )
        out[test] = model.fit(scaler.transform(x[train]), wanted[train]).predict(scaler.transform(x[test]))
    return out


def drift(
    layers: Mapping[str, NDArray[Any]], wanted: Doubles, folds: Folds, unlabelled: Mapping[str, NDArray[Any]]
) -> pl.DataFrame:
    """Schema `DRIFT` for every layer's probe applied to every later layer.

    unlabelled: layer -> `(n, d)`, the same rows in all layers, of games other than the labelled ones; maps are fitted
    on them.
    """
    names = list(layers)
    rows = [
        _carried(here, there, layers, wanted, folds, unlabelled)
        for i, here in enumerate(names)
        for there in names[i + 1 :]
    ]
    return pl.DataFrame(rows, schema=DRIFT)


def _carried(
    here: str, there: str, layers: Mapping[str, NDArray[Any]], wanted: Doubles, folds: Folds,
    unlabelled: Mapping[str, NDArray[Any]],
) -> dict[str, Any]:  # fmt: skip
    """The probe of layer `here` on rows of `there`, as it is and through a map from `there` to `here`."""
    a, b = np.asarray(layers[here], np.float64), np.asarray(layers[there], np.float64)
    mapping = fitted_map(unlabelled[there], unlabelled[here])
    mapped = mapping(b)
    scores = {key: np.empty(len(wanted)) for key in ("r2_as_is", "r2_mapped", "r2_own")}
    cosines, halves = [], []
    for f in range(folds.n_folds):
        train, test = np.flatnonzero(folds.fold != f), np.flatnonzero(folds.fold == f)
        w, c = direction(a[train], wanted[train])
        v, e = direction(b[train], wanted[train])
        scores["r2_as_is"][test], scores["r2_mapped"][test] = b[test] @ w + c, mapped[test] @ w + c
        scores["r2_own"][test] = b[test] @ v + e
        cosines.append(_cosine(w, v))
        odd = folds.fold[train] % 2 == 0
        if odd.any() and not odd.all():
            halves.append(_cosine(direction(b[train][odd], wanted[train][odd])[0],
                                  direction(b[train][~odd], wanted[train][~odd])[0]))  # fmt: skip
    spread = float(((wanted - wanted.mean()) ** 2).sum())
    found = {key: 1 - float(((wanted - made) ** 2).sum()) / spread for key, made in scores.items()}
    ceiling = float(np.mean(halves)) if halves else None
    return {"fitted": here, "read": there, "cosine": float(np.mean(cosines)), **found, "ceiling": ceiling}


def direction(x: NDArray[Any], y: Doubles) -> tuple[Doubles, float]:
    """Ridge weights `(d,)` for raw columns and intercept, the columns standardised, the penalty `ALPHA` a row."""
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    z = (x - mean) / scale
    w = np.linalg.solve(z.T @ z + ALPHA * len(z) * np.eye(z.shape[1]), z.T @ (y - y.mean())) / scale
    return w, float(y.mean() - mean @ w)


def fitted_map(x: NDArray[Any], y: NDArray[Any]) -> Callable[[NDArray[Any]], Doubles]:
    """One linear map with an offset from rows `x` (n, d) to rows `y` (n, e) of the same tokens, by ridge."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    mean, offset = a.mean(axis=0), b.mean(axis=0)
    z = a - mean
    weights = np.linalg.solve(
        z.T @ z + 1e-3 * np.trace(z.T @ z) / z.shape[1] * np.eye(z.shape[1]), z.T @ (b - offset)
    )
    return lambda rows: (np.asarray(rows, np.float64) - mean) @ weights + offset


def across(
    x: NDArray[Any], wanted: Doubles, level: NDArray[Any], games: NDArray[Any], fewest: int = 200
) -> pl.DataFrame:
    """Schema `DRIFT` for a factor (preset, player, checkpoint): the probe fitted on one level's rows is applied to
    another's. Levels with too few rows are left out. A level's own figure is measured across halves of the games, so
    that no game is on both sides; `r2_mapped` is null, since nothing is mapped."""
    values, counts = np.unique(level.astype(str), return_counts=True)
    kept = [str(v) for v, n in zip(values, counts) if n >= fewest]
    side = codes_of(games) % 2 == 0
    rows = []
    for one in kept:
        for other in kept:
            fit, test = (level.astype(str) == one) & side, (level.astype(str) == other) & ~side
            own = (level.astype(str) == other) & side
            if min(fit.sum(), test.sum(), own.sum()) < fewest // 4:
                continue
            (w, c), (v, e) = direction(x[fit], wanted[fit]), direction(x[own], wanted[own])
            again = direction(x[test], wanted[test])[0]
            spread = float(((wanted[test] - wanted[test].mean()) ** 2).sum())
            r2 = [
                1 - float(((wanted[test] - (x[test] @ d + b)) ** 2).sum()) / spread
                for d, b in ((w, c), (v, e))
            ]
            rows.append(
                {"fitted": one, "read": other, "cosine": _cosine(w, v), "r2_as_is": r2[0], "r2_mapped": None,
                 "r2_own": r2[1], "ceiling": _cosine(v, again)}
            )  # fmt: skip
    return pl.DataFrame(rows, schema=DRIFT)


def barycentres(
    codes: sparse.csr_matrix, directions: NDArray[Any], x: NDArray[Any], belief: Doubles, folds: Folds,
    n_clusters: int = 16, n_null: int = 99, seed: int = 0,
) -> pl.DataFrame:  # fmt: skip
    """Schema `SIMPLEX`: the best of `n_clusters` clusters of latents, compared with the best of as many random
    clusters.

    Latents that are on in at least 20 rows are clustered by direction (k-means on the sphere). A cluster's contribution
    to a row is mapped linearly to weights of the three corners and projected onto the simplex; the targets are the
    beliefs werewolf / seer / neither `(n_rows, 3)`. The cluster is chosen on training games and scored on held-out
    games; null clusters have the same sizes, are drawn among the same latents and chosen in the same way.
    """
    often = np.asarray((codes > 0).sum(axis=0)).ravel()
    alive = np.flatnonzero(often >= 20)
    n_clusters = min(n_clusters, max(1, len(alive) // 4))
    unit = directions[alive] / np.maximum(np.linalg.norm(directions[alive], axis=1, keepdims=True), 1e-12)
    label = KMeans(n_clusters, n_init=3, random_state=seed).fit_predict(unit)
    dense = np.asarray(codes[:, alive].todense(), dtype=np.float64)
    rng = np.random.default_rng([seed, 17])
    real, size = _best_cluster(dense, directions[alive], label, belief, folds)
    null = [
        _best_cluster(dense, directions[alive], rng.permutation(label), belief, folds)[0]
        for _ in range(n_null)
    ]
    stream = _r2(belief, np.stack([linear(x, belief[:, c], folds).outer for c in range(3)], axis=1))
    p = (1 + sum(value >= real for value in null)) / (1 + n_null)
    row = {
        "clusters": n_clusters, "latents": size, "r2": real, "r2_null_mean": float(np.mean(null)),
        "r2_null_95": float(np.quantile(null, 0.95)), "p": p, "r2_stream": stream, "n_null": n_null,
    }  # fmt: skip
    return pl.DataFrame([row], schema=SIMPLEX)


def _best_cluster(
    dense: Doubles,
    directions: NDArray[Any],
    label: NDArray[Any],
    belief: Doubles,
    folds: Folds,
    dims: int = 8,
) -> tuple[float, int]:
    """(held-out R2 of the clusters chosen on training games, latents of the cluster chosen most often)."""
    parts, sizes = [], []
    for c in range(int(label.max()) + 1):
        mine = np.flatnonzero(label == c)
        made = dense[:, mine] @ directions[mine]
        made = made - made.mean(axis=0)
        _, vectors = np.linalg.eigh(made.T @ made)
        parts.append(made @ vectors[:, ::-1][:, :dims])
        sizes.append(len(mine))
    out, chosen = np.empty(belief.shape), []
    for f in range(folds.n_folds):
        train, test = folds.fold != f, folds.fold == f
        fits = []
        for part in parts:
            z = np.column_stack([part, np.ones(len(part))])
            weights = np.linalg.lstsq(z[train], belief[train], rcond=None)[0]
            fits.append(
                (float(((z[train] @ weights - belief[train]) ** 2).sum()), onto_simplex(z[test] @ weights))
            )
        best = int(np.argmin([error for error, _ in fits]))
        out[test] = fits[best][1]
        chosen.append(best)
    return _r2(belief, out), sizes[int(np.bincount(chosen).argmax())]


def onto_simplex(points: Doubles) -> Doubles:
    """The nearest points `(n, k)` with non-negative coordinates that sum to 1 (Held, Wolfe and Crowder 1974)."""
    ordered = -np.sort(-points, axis=1)
    above = np.cumsum(ordered, axis=1) - 1
    n = np.arange(1, points.shape[1] + 1)
    k = (ordered - above / n > 0).sum(axis=1)
    return np.maximum(points - (above[np.arange(len(points)), k - 1] / k)[:, None], 0)


def _r2(wanted: Doubles, made: Doubles) -> float:
    return 1 - float(((wanted - made) ** 2).sum()) / max(
        1e-12, float(((wanted - wanted.mean(axis=0)) ** 2).sum())
    )


def _cosine(a: Doubles, b: Doubles) -> float:
    return float(a @ b / max(1e-12, float(np.linalg.norm(a) * np.linalg.norm(b))))


__all__: Sequence[str] = ("DRIFT", "LINEARITY", "SIMPLEX", "across", "barycentres", "drift", "linearity")


def _by_game(code: NDArray[Any], values: Doubles, n_games: int) -> Doubles:
    return np.bincount(code, values, n_games).astype(np.float64)
