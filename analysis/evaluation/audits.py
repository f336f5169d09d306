"""The audits beside a headline: leaks, selectivity, other sites, and the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.targets import SiteActivations, Target
from analysis.probes.permutation import NULL_PENALTY, control_task
from analysis.probes.probes import ProbeResult, cell_scores, leave_names_out
from analysis.rungs.within import Resamples, within_pairs
from analysis.stats.bootstrap import Interval, auroc_interval, bootstrap_auroc
from analysis.stats.codes import codes_of
from analysis.stats.metrics import auroc
from analysis.stats.moments import Moments
from analysis.stats.splits import Folds, buckets, game_folds, row_folds

AUDIT_BOOT = 300
"""Resamples of the games behind the intervals of audits."""


def leakage(
    target: Target, x: NDArray[Any], folds: Folds, found: ProbeResult, seed: int, layer: int
) -> pl.DataFrame:
    """T3: the same layer and ridge penalty under splits that leak and under splits stricter than the report's.

    `x` (n_rows, d_model) is the layer at position `layer` of the probe. Captures of changed contexts (variants of the
    headline's site) are scored by fits on unchanged contexts of other games.
    """
    y, frame = target.y, target.frame
    rows: list[dict[str, Any]] = []

    def add(split: str, scores: NDArray[Any], strata: NDArray[Any], note: str) -> None:
        i = over_games(target, scores, strata, seed)
        rows.append({"split": split, "auroc": i.value, "low": i.low, "high": i.high, "note": note})

    k = folds.n_folds
    plan = [([c for c in range(k) if c != f], [f]) for f in range(k)]
    leaking = row_folds(target.games, k, seed, force=True)
    scores, _ = cell_scores(x, y, leaking.fold, plan)
    add("rows at random", scores, leaking.fold, "the mistake: games on both sides; claims nothing")
    scores, _ = cell_scores(x, y, folds.fold, plan)
    add("whole games", scores, folds.fold, "what this report uses")
    turns = folds.fold * 1000 + frame["turn"].to_numpy()
    add("whole games, within a turn", scores, turns, "only rows of the same turn are compared")
    if (frame["viewer"] != frame["subject"]).any():
        i = within_decisions(target, scores, seed)
        note = "only subjects of one moment are compared"
        rows.append(
            {
                "split": "whole games, within a decision",
                "auroc": i.value,
                "low": i.low,
                "high": i.high,
                "note": note,
            }
        )
    bucket = buckets(frame["name"].to_numpy(), 4, seed)
    if bucket.max() > 0:
        scores, fit = leave_names_out(x, y, folds, bucket)
        add("whole games and unseen names", scores, fit, "no name of the test rows was trained on")
    for c in changed_contexts(target, x, folds, layer):
        value = float(auroc(target.y[c.rows], c.after, strata=folds.fold[c.rows]))
        note = f"trained on the unchanged contexts; {len(c.rows) / len(target.y):.0%} of the rows"
        rows.append(
            {
                "split": f"context changed: {c.variant}",
                "auroc": value,
                "low": None,
                "high": None,
                "note": note,
            }
        )
    add("nested, logistic", found.scores, folds.fold, "the headline: layer and penalty chosen inside")
    return pl.DataFrame(rows, infer_schema_length=None)


def over_games(target: Target, scores: NDArray[Any], strata: NDArray[Any], seed: int = 0) -> Interval:
    """AUROC within strata with its interval over games; the interval leaves out the uncertainty of the fits."""
    values, samples = bootstrap_auroc(target.y, [scores], target.games, strata, AUDIT_BOOT, seed)
    return auroc_interval(samples[0], float(values[0]), n_games=target.n_games)


def within_decisions(target: Target, scores: NDArray[Any], seed: int = 0) -> Interval:
    """AUROC within a decision with its interval over games; the interval leaves out the uncertainty of the fits."""
    draw = Resamples(target.n_games, AUDIT_BOOT, seed)
    value, samples = draw.ratio(*within_pairs(target.y, scores, target.decisions, codes_of(target.games)))
    return draw.interval(samples, value, 0.5)


class Changed(NamedTuple):
    """Scores of one variant by fits on unchanged contexts."""

    variant: str
    rows: NDArray[np.int64]
    """(n,): the target's rows that have the variant."""
    before: NDArray[np.float64]
    """(n,): their scores in the unchanged contexts, out of fold."""
    after: NDArray[np.float64]
    """(n,): their scores by the same fits in the changed contexts."""


def changed_contexts(target: Target, x: NDArray[Any], folds: Folds, layer: int) -> list[Changed]:
    """Scores of each variant of the headline's site that has rows of both classes."""
    site, out = target.activations[0].site, []
    moments = Moments(folds.n_folds, x.shape[1], 1).add(x, folds.fold, target.y[:, None])
    k = folds.n_folds
    fits = [moments.ridge((c for c in range(k) if c != f), NULL_PENALTY) for f in range(k)]
    for captured in target.activations:
        if captured.variant in ("original", "untrained") or captured.site != site:
            continue
        stored = np.flatnonzero(captured.at >= 0)
        if len(np.unique(target.y[stored])) < 2:
            continue
        z, fold = captured.x[captured.at[stored], layer].astype(np.float64), folds.fold[stored]
        before, after = np.empty(len(stored)), np.empty(len(stored))
        for f, (w, b) in enumerate(fits):
            before[fold == f] = x[stored[fold == f]] @ w[:, 0] + b[0]
            after[fold == f] = z[fold == f] @ w[:, 0] + b[0]
        out.append(Changed(captured.variant, stored, before, after))
    return out


def selectivity(
    target: Target, x: Sequence[NDArray[Any]], folds: Folds, real: NDArray[np.float64], seed: int
) -> pl.DataFrame:
    """T5: real task against a control task whose labels are random by (name, kind of decision, day)."""
    frame = target.frame
    types = frame.select(
        pl.concat_str("name", "kind", pl.col("day").cast(pl.String), separator="|")
    ).to_series()
    control = control_task(list(x), types.to_numpy(), float(target.y.mean()), folds, seed=seed)
    return pl.DataFrame(
        {"layer": list(range(len(control))), "real": real, "control": control, "selectivity": real - control}
    )


def ridge_by_layer(
    captured: SiteActivations, labels: NDArray[Any], folds: Folds, by: NDArray[Any] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROC `(n_layers,)` of ridge at a fixed penalty over the rows that were captured, and its scores.

    With `by` (n_rows,), one probe for each of its values (a name); pairs are then compared within a value. The
    scores are `(n_layers, n_rows)`, NaN where a row has none.
    """
    stored = np.flatnonzero(captured.at >= 0)
    y, at, fold = labels[stored], captured.at[stored], folds.fold[stored]
    groups = np.zeros(len(y), dtype=int) if by is None else np.asarray(by)[stored].astype(int)
    found = np.full((len(captured.layers), len(labels)), np.nan)
    if not len(y):
        return np.full(len(captured.layers), np.nan), found
    strata = fold * (int(groups.max()) + 1) + groups
    k, values = folds.n_folds, []
    plan = [([c for c in range(k) if c != f], [f]) for f in range(k)]
    for layer in range(len(captured.layers)):
        x = captured.x[at, layer]
        scores = np.full(len(y), np.nan)
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            present = np.unique(fold[rows])
            if len(present) == k and np.ptp(y[rows]) > 0:
                scores[rows] = cell_scores(x[rows], y[rows], fold[rows], plan, NULL_PENALTY)[0]
        done = np.isfinite(scores)
        values.append(auroc(y[done], scores[done], strata=strata[done]) if done.any() else float("nan"))
        found[layer, stored] = scores
    return np.asarray(values), found


SITES: dict[str, Any] = {
    "site": pl.String,
    "layer": pl.String,
    "auroc": pl.Float64,  # over pairs of rows of one probe and one fold
    "within": pl.Float64,  # over pairs of rows of one decision; NaN where decisions have one row
    "low": pl.Float64,  # of `within`, over games
    "high": pl.Float64,
    "probe": pl.String,
}


def site_map(target: Target, folds: Folds) -> pl.DataFrame:
    """F2: AUROC of every captured site and layer (schema `SITES`).

    Where a site is bound to a subject, one probe serves all subjects. Where it is not, there is one probe a name,
    shared over seats (models see names and no seat numbers), and, where the capture keeps it, the unembedding of the
    subject's name without a fit.
    """
    rows = []
    decision, names = target.decisions, target.frame["name"].to_numpy()
    games, draw = codes_of(target.games), Resamples(target.n_games, AUDIT_BOOT, 0)

    def inside(score: NDArray[Any]) -> Interval:
        done = np.isfinite(score)
        sums = [np.zeros(target.n_games), np.zeros(target.n_games)]
        if done.any():
            for total, found in zip(
                sums, within_pairs(target.y[done], score[done], decision[done], games[done])
            ):
                total[: len(found)] = found
        value, samples = draw.ratio(*sums)
        return draw.interval(samples, value, 0.5)

    for captured in target.activations:
        if captured.variant != "original":
            continue

        def add(
            kind: str, values: NDArray[Any], scores: NDArray[Any], site: SiteActivations = captured
        ) -> None:
            for layer, value, score in zip(site.layers, values, scores):
                i = inside(score)
                rows.append((site.site, layer, float(value), i.value, i.low, i.high, kind))

        by = None if captured.per_subject else codes_of(names)
        kind = "one for all subjects" if captured.per_subject else "one a name"
        add(kind, *ridge_by_layer(captured, target.y, folds, by))
        if not captured.per_subject and captured.unembedding is not None:
            lens = name_logits(captured, names)
            done = np.isfinite(lens[0])
            values = auroc(target.y[done], lens[:, done].T, strata=decision[done])
            add("unembedding of the name, nothing fitted", np.atleast_1d(values), lens)
    return pl.DataFrame(rows, schema=SITES, orient="row")


def name_logits(captured: SiteActivations, names: NDArray[Any]) -> NDArray[np.float64]:
    """Logit-lens scores of the subject's name, `(n_layers, n_rows)`; NaN for a name without an unembedding vector.

    A score is the stream times the unembedding of the name's first token, with the final norm's scale folded in
    (nostalgebraist 2020). The norm's division is left out: it is the same for all names of a decision. Scores are not
    normalised over names.
    """
    given = captured.unembedding or {}
    out = np.full((len(captured.layers), len(names)), np.nan)
    for name in np.unique(names):
        rows = np.flatnonzero((names == name) & (captured.at >= 0))
        if name in given and len(rows):
            out[:, rows] = (captured.x[captured.at[rows]].astype(np.float64) @ given[str(name)]).T
    return out


def learning_curve(target: Target, x: NDArray[Any], folds: Folds, seed: int, parts: int = 8) -> pl.DataFrame:
    """F9: AUROC on the same held-out games when only a share of the training games is used."""
    code = np.unique(target.games, return_inverse=True)[1]
    parts = max(2, min(parts, int(np.bincount(folds.fold[np.unique(code, return_index=True)[1]]).min())))
    part = np.empty(len(code), dtype=np.int64)
    for f in range(folds.n_folds):
        rows = np.flatnonzero(folds.fold == f)
        if len(np.unique(code[rows])) < parts:
            return pl.DataFrame(schema={"training games": pl.Int64, "auroc": pl.Float64})
        part[rows] = game_folds(code[rows], parts, seed + f).fold
    cell, k, rows_out = folds.fold * parts + part, folds.n_folds, []
    for used in sorted({1, 2, 3, parts // 2, 3 * parts // 4, parts} - {0}):
        if used > parts:
            continue
        plan = [
            (
                [g * parts + p for g in range(k) if g != f for p in range(used)],
                [f * parts + p for p in range(parts)],
            )
            for f in range(k)
        ]
        scores, _ = cell_scores(x, target.y, cell, plan, NULL_PENALTY)
        n = round(target.n_games * (k - 1) / k * used / parts)
        i = over_games(target, scores, folds.fold, seed)
        rows_out.append({"training games": n, "auroc": i.value, "low": i.low, "high": i.high})
    return pl.DataFrame(rows_out)
