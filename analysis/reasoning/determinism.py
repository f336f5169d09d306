"""How determined a reasoning is: n continuations of the same prefix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from analysis.effects.table import over_games
from analysis.reasoning.read import Reasonings, bits, shares_of

REPEATED: dict[str, Any] = {
    "moment": pl.Int32,
    "game": pl.String,
    "k": pl.Int32,
    "share": pl.Float64,  # of the reasoning that is written
    "n": pl.Int64,
    "decision": pl.Float64,  # bits: entropy of the decision over all continuations
    "within": pl.Float64,  # bits: mean entropy of the decision after one continuation
    "next_step": pl.Float64,  # bits: entropy of what the next step says
    "repetition": pl.Float64,  # share of pairs of continuations that are the same words to the end
    "played": pl.Float64,  # share whose next step says what was played
}


def repeated(r: Reasonings) -> pl.DataFrame:
    """One row a moment and prefix that was continued (schema `REPEATED`)."""
    share = {(s["moment"], s["k"]): s for s in r.steps.iter_rows(named=True)}
    rows = []
    for part in r.rollouts.filter(pl.col("arm") == "").partition_by("moment", "k", maintain_order=True):
        x = part.to_dicts()
        if len(x) < 2:
            continue
        at = share[x[0]["moment"], x[0]["k"]]
        shares = np.stack([shares_of(one["logprobs"]) for one in x])
        bodies = [words(one["body"]) for one in x]
        rows.append(
            {
                "moment": at["moment"], "game": at["game"], "k": at["k"], "share": at["share"], "n": len(x),
                "decision": bits(shares.mean(axis=0)), "within": float(np.mean([bits(p) for p in shares])),
                "next_step": counted_bits([words(one["step"]) for one in x]), "repetition": same_pairs(bodies),
                "played": float(np.mean([one["same"] for one in x])),
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=REPEATED)


def words(text: str) -> str:
    """A text without case, punctuation and spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def counted_bits(values: Sequence[str]) -> float:
    """Plug-in entropy of a sample, bits; at most the logarithm of its size."""
    counts = np.array(list(Counter(values).values()), dtype=float)
    return bits(counts / counts.sum())


def same_pairs(values: Sequence[str]) -> float:
    """The share of pairs of a sample that are equal."""
    n = len(values)
    return sum(c * (c - 1) for c in Counter(values).values()) / (n * (n - 1))


def determinism_table(r: Reasonings, bins: int = 4, n_boot: int = 1000, seed: int = 0) -> pl.DataFrame:
    """The measures by how much of the reasoning is written, intervals over games.

    Columns written (`0%`, `1-25%`, ...), measure, value, low, high, n, n_games.
    """
    found = repeated(r)
    edge = pl.col("share")
    groups = [("0%", found.filter(edge <= 0))]
    for i in range(bins):
        low, high = i / bins, (i + 1) / bins
        name = f"{100 * low:.0f}-{100 * high:.0f}%"
        groups.append((name, found.filter(edge > low, edge <= high + (1e-9 if i == bins - 1 else 0))))
    rows = []
    for name, part in groups:
        for measure in ("decision", "within", "next_step", "repetition", "played"):
            if len(part):
                mean = over_games(part["game"].to_numpy(), part[measure].to_numpy(), n_boot, seed)
                rows.append((name, measure, *mean[:3], len(part), part["game"].n_unique()))
    schema = {
        "written": pl.String, "measure": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64,
        "n": pl.Int64, "n_games": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")
