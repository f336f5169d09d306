"""How much each step matters: the decision if another step were in its place, compared with a split-half null.

Importance by resampling (after Bogdan et al., 2025, "Thought Anchors"): among free continuations from before a step,
take those whose own next step says something else. Importance is the smoothed KL divergence of the decision after them
from the decision after continuations that begin after the step. The divergence of two finite samples is above zero even
without an effect, so the same is computed between two halves of the unchanged continuations, of equal size; the
difference is reported. A null arm has the same resampling without a change: the continuations from before the step that
say the same there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from analysis.effects.table import over_games
from analysis.reasoning.commitment import TABLE
from analysis.reasoning.read import Floats, Reasonings, shares_of

SMOOTHING = 0.01
"""Smoothing: added to every option's share before shares are compared."""
NULL_ARM = "null arm: the same step"
SPLITS = 40
"""Number of random halves that are averaged over."""
IMPORTANCE: dict[str, Any] = {
    "moment": pl.Int32,
    "game": pl.String,
    "faction": pl.String,
    "step": pl.Int32,  # index of the step in its reasoning (the first of a stretch, where prefixes were thinned out)
    "category": pl.String,
    "text": pl.String,
    "share": pl.Float64,  # of the reasoning that is written before it
    "n_other": pl.Int64,  # continuations whose step says something else
    "importance": pl.Float64,  # nats; null with fewer than two of them
    "null": pl.Float64,  # the same between halves of the unchanged continuations
    "beyond": pl.Float64,  # importance - null
    "null_arm": pl.Float64,  # the same difference of the continuations that say the same; null with fewer than two
    "forced": pl.Float64,  # total variation between the decisions demanded before and after the step
}


def divergence(p: Floats, q: Floats) -> float:
    """Smoothed KL(p || q), nats."""
    a, b = p + SMOOTHING, q + SMOOTHING
    a, b = a / a.sum(), b / b.sum()
    return float((a * np.log(a / b)).sum())


def importance(r: Reasonings, seed: int = 0) -> pl.DataFrame:
    """One row a step (schema `IMPORTANCE`)."""
    written = r.rollouts.filter(pl.col("arm") == "")
    drawn: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in written.iter_rows(named=True):
        drawn.setdefault((row["moment"], row["k"]), []).append(row)
    rows = []
    for part in r.steps.partition_by("moment", maintain_order=True):
        steps = part.sort("k", maintain_order=True).to_dicts()
        for before, after in pairwise(steps):
            moment = before["moment"]
            first = drawn.get((moment, before["k"]), [])
            other, again = (
                [shares_of(x["logprobs"]) for x in first if x["same"] == same] for same in (False, True)
            )
            kept = [shares_of(x["logprobs"]) for x in drawn.get((moment, after["k"]), [])]
            rng = np.random.default_rng([seed, moment, before["k"]])
            value, null = against_halves(other, kept, rng)
            unmoved, its_null = against_halves(again, kept, rng)
            a, b = shares_of(before["logprobs"]), shares_of(after["logprobs"])
            rows.append(
                {
                    "moment": moment, "game": before["game"], "faction": before["faction"], "step": before["k"],
                    "category": after["category"], "text": after["text"], "share": before["share"],
                    "n_other": len(other), "importance": value, "null": null,
                    "beyond": None if value is None or null is None else value - null,
                    "null_arm": None if unmoved is None or its_null is None else unmoved - its_null,
                    "forced": float(0.5 * np.abs(a - b).sum()),
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=IMPORTANCE)


def against_halves(
    other: Sequence[Floats], kept: Sequence[Floats], rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """(divergence of changed from unchanged decisions, of unchanged from unchanged), between means of equally many."""
    n = min(len(other), len(kept) // 2)
    if n < 2:
        return None, None
    a, b = np.stack(other), np.stack(kept)
    values, nulls = [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(b))
        half, rest = b[order[:n]].mean(axis=0), b[order[n : 2 * n]].mean(axis=0)
        values.append(divergence(a[rng.permutation(len(a))[:n]].mean(axis=0), half))
        nulls.append(divergence(rest, half))
    return float(np.mean(values)), float(np.mean(nulls))


def importance_table(r: Reasonings, n_boot: int = 2000, seed: int = 0) -> pl.DataFrame:
    """Importance beyond the null by category and by place, 95% intervals over games.

    Schema `TABLE` with `measure` the group (`all`, `category: plan`, `first third`, `NULL_ARM`) and a column `null`.
    """
    known = importance(r, seed)
    found = known.filter(pl.col("beyond").is_not_null())
    groups: list[tuple[str, pl.DataFrame]] = [("all", found)]
    categories = found["category"].drop_nulls().unique(maintain_order=True).sort()
    groups += [(f"category: {c}", found.filter(pl.col("category") == c)) for c in categories]
    thirds = (("first third", 0.0, 1 / 3), ("middle third", 1 / 3, 2 / 3), ("last third", 2 / 3, 1.01))
    for name, low, high in thirds:
        groups.append((name, found.filter(pl.col("share") >= low, pl.col("share") < high)))
    unmoved = known.filter(pl.col("null_arm").is_not_null()).with_columns(beyond="null_arm")
    groups.append((NULL_ARM, unmoved))
    rows = []
    for name, part in groups:
        if len(part):
            i = over_games(part["game"].to_numpy(), part["beyond"].to_numpy(), n_boot, seed)
            rows.append(
                {"faction": "all", "measure": name, "value": i.value, "low": i.low, "high": i.high, "n": len(part),
                 "n_games": part["game"].n_unique(), "null": part["null"].drop_nulls().mean()}
            )  # fmt: skip
    return pl.DataFrame(rows, schema=TABLE | {"null": pl.Float64})
