"""Does a probe hold where it was not trained: another run, preset, lexicon, model or checkpoint?

The diagonal is held out too (grouped folds within the group), so that it is comparable with the other cells. The layer
is chosen on the training group alone. A threshold is set on the training group's out-of-fold negatives and applied to
the test group: its recall and its actual false-positive rate there are reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.targets import Target
from analysis.evaluation.evaluate import too_few
from analysis.probes.probes import check_classes, probe
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc
from analysis.stats.metrics import cosine, threshold_at_fpr
from analysis.stats.moments import Moments
from analysis.stats.splits import game_folds

TRANSFER: dict[str, Any] = {
    "by": pl.String,  # what tells the groups apart
    "train": pl.String,
    "test": pl.String,
    "auroc": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "recall": pl.Float64,  # at the training group's threshold for 1% false positives
    "fpr": pl.Float64,  # that threshold's false-positive rate on the test group
    "cosine": pl.Float64,  # between the two groups' mass-mean directions at the training group's layer
    "layer": pl.String,
    "n_games": pl.Int64,  # of the test group
}
MOST_GROUPS = 8


def groupings(target: Target, factors: pl.DataFrame) -> dict[str, NDArray[Any]]:
    """The ways to split the rows into groups large enough to train on: name -> `(n_rows,)` labels.

    `factors` has a game_id and one column a factor (run, preset, lexicon); the model comes from the rows. Factors that
    make the same groups as an earlier one are left out.
    """
    joined = target.frame.select("game_id", "model").join(
        factors, on="game_id", how="left", maintain_order="left"
    )
    found: dict[str, NDArray[Any]] = {}
    seen: list[NDArray[Any]] = []
    for name in ("run", "model", "preset", "lexicon"):
        if name not in joined.columns:
            continue
        labels = joined[name].fill_null("none").to_numpy().astype(str)
        code = np.unique(labels, return_inverse=True)[1]
        if code.max(initial=0) < 1 or any(np.array_equal(code, other) for other in seen):
            continue
        seen.append(code)
        found[name] = labels
    return found


def transfer(
    target: Target, by: str, labels: NDArray[Any], n_boot: int = 500, seed: int = 0
) -> tuple[pl.DataFrame, list[str]]:
    """The matrix of one grouping (schema `TRANSFER`), and which groups are too small, in words."""
    groups, small = _usable(target, labels)
    rows: list[dict[str, Any]] = []
    main = target.activations[0]
    layers = [main.layer(i) for i in main.probed]
    names = [main.layers[i] for i in main.probed]
    means = {g: _difference(layers, target.y, at) for g, at in groups.items()}
    for train, at in groups.items():
        y, games = target.y[at], target.games[at]
        folds = game_folds(games, 5, seed)
        found = probe([x[at] for x in layers], y, folds, games, "ridge")
        place = found.place
        trained = Moments(1, layers[place].shape[1], 1).add(
            layers[place][at], np.zeros(len(at), dtype=int), y[:, None]
        ).train([0])  # fmt: skip
        w, b = trained.ridge(found.penalty * trained.n)
        threshold = threshold_at_fpr(found.scores[y <= 0])
        for test, there in groups.items():
            own = test == train
            scores = found.scores if own else layers[place][there].astype(np.float64) @ w[:, 0] + b[0]
            truth = target.y[there]
            values, samples = bootstrap_auroc(
                truth, [scores], target.games[there], folds.fold if own else None, n_boot, seed,
                [found.training] if own else (),
            )  # fmt: skip
            n = len(np.unique(target.games[there]))
            i = auroc_interval(samples[0], values[0], n_games=n)
            rows.append(
                {
                    "by": by, "train": train, "test": test, "auroc": i.value, "low": i.low, "high": i.high,
                    "recall": float((scores[truth > 0] > threshold).mean()),
                    "fpr": float((scores[truth <= 0] > threshold).mean()),
                    "cosine": cosine(means[train][place], means[test][place]), "layer": names[place],
                    "n_games": n,
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=TRANSFER), small


def _usable(target: Target, labels: NDArray[Any]) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    groups: dict[str, NDArray[np.int64]] = {}
    small: list[str] = []
    for group in list(dict.fromkeys(labels))[: 2 * MOST_GROUPS]:
        at = np.flatnonzero(labels == group)
        reason = too_few(target.y[at], target.games[at])
        if not reason and len(groups) == MOST_GROUPS:
            reason = f"only the first {MOST_GROUPS} groups are shown"
        if not reason:
            try:
                check_classes(target.y[at], game_folds(target.games[at], 5, 0))
            except ValueError as error:
                reason = str(error)
        if reason:
            small.append(f"{group}: {reason}")
        else:
            groups[str(group)] = at
    return groups, small


def _difference(layers: Sequence[NDArray[Any]], y: NDArray[np.float64], at: NDArray[np.int64]) -> list[Any]:
    up, down = at[y[at] > 0], at[y[at] <= 0]
    return [x[up].mean(axis=0, dtype=np.float64) - x[down].mean(axis=0, dtype=np.float64) for x in layers]


def factors_of(runs: Sequence[tuple[str, Any]]) -> pl.DataFrame:
    """game_id, run, preset, lexicon of every game of the runs (prefix of the game ids, run)."""
    parts, used = [], dict[str, int]()
    for prefix, run in runs:
        name = run.manifest.name
        used[name] = used.get(name, 0) + 1
        label = name if used[name] == 1 else f"{name} ({used[name]})"
        parts.append(
            run.frame("games").select(
                game_id=pl.lit(prefix) + pl.col("game_id"), run=pl.lit(label), preset="preset", lexicon="lexicon"
            ).collect()
        )  # fmt: skip
    return pl.concat(parts)


def in_words(matrix: pl.DataFrame) -> str:
    """What the matrix says: how far the held-out diagonal falls when the probe moves."""
    home = matrix.filter(pl.col("train") == pl.col("test"))
    own, found = home["auroc"].to_numpy(), home["recall"].to_numpy()
    away = matrix.filter(pl.col("train") != pl.col("test"))
    if not len(away):
        return "one group only"
    fpr, recall = away["fpr"].to_numpy(), away["recall"].to_numpy()
    worst: Mapping[str, Any] = away.sort("auroc", maintain_order=True).row(0, named=True)
    return (
        f"Held out within its own group {own.mean():.2f} on average, on another group "
        f"{float(away['auroc'].to_numpy().mean()):.2f}; lowest {worst['auroc']:.2f} "
        f"(from {worst['train']} to {worst['test']}). A threshold set for 1% false positives at home finds "
        f"{found.mean():.0%} of the positives there; elsewhere it finds {recall.min():.0%} to {recall.max():.0%} and "
        f"lets through {fpr.min():.0%} to {fpr.max():.0%} of the negatives."
    )
