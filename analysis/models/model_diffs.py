"""Two checkpoints compared: what `wolfscope diff` has left in a run's folder, counted.

Which tokens the predictions part on (by kind and by word, intervals over games), whether B came to expect what was
said more than A did, and along which directions the streams moved: how much of the move is one shift of every token,
how few directions hold the rest, and whether the headline probe's direction is among them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import load_file

from analysis.stats.bootstrap import ratio_interval
from analysis.stats.errors import AnalysisError

VERSION = 1
LEAST = 30
"""Tokens that a word needs to be listed."""


@dataclass(frozen=True)
class ModelDiff:
    """One comparison, counted."""

    a: str
    b: str
    n_games: int
    kinds: pl.DataFrame
    """kind, n, kl (mean, nats a token), low, high, share (of all KL), gain (mean log p of what stood there, B minus
    A)."""
    words: pl.DataFrame
    """text, n, kl, share, gain: words by their mean KL, `LEAST` tokens or more."""
    layers: pl.DataFrame
    """layer, moved, cosine, shared, explained (list), probe: the share of the probe's direction that lies in the
    directions kept, null where there is no probe at that layer; by_chance: that of a random direction."""


def model_diffs(
    runs: Sequence[tuple[str, Any]], probes: dict[str, np.ndarray[Any, Any]], n_boot: int = 500
) -> list[ModelDiff]:
    """Every comparison in the runs' folders. `probes` are unit directions by layer (`resid_post.3`).

    Raises AnalysisError for one of another schema version.
    """
    found = []
    for _, run in runs:
        for file in sorted((Path(run.path) / "model_diff").glob("*/diff.json")):
            info = json.loads(file.read_text(encoding="utf-8"))
            if info.get("schema_version") != VERSION:
                raise AnalysisError(
                    f"{file} has schema version {info.get('schema_version')}, this version reads {VERSION}; "
                    "run `wolfscope diff` again"
                )
            tokens = pl.read_parquet(file.with_name("tokens.parquet"))
            layers = pl.read_parquet(file.with_name("layers.parquet"))
            directions = load_file(file.with_name("directions.safetensors"))
            found.append(
                ModelDiff(
                    info["a"], info["b"], tokens["game_id"].n_unique(), by_kind(tokens, n_boot), by_word(tokens),
                    with_probe(layers, directions, probes),
                )
            )  # fmt: skip
    return found


def by_kind(tokens: pl.DataFrame, n_boot: int = 500, seed: int = 0) -> pl.DataFrame:
    """Mean KL by kind of token, emitted ones apart, with intervals over games; largest share first."""
    named = tokens.with_columns(kind=pl.when("emitted").then(pl.lit("answers")).otherwise("kind"))
    whole = float(named["kl"].cast(pl.Float64).to_numpy().sum()) or 1.0
    rows = []
    for (kind,), part in named.group_by("kind", maintain_order=True):
        sums = part.group_by("game_id", maintain_order=True).agg(
            kl=pl.col("kl").cast(pl.Float64).sum(), n=pl.len()
        )
        i = ratio_interval(sums["game_id"], sums["kl"], sums["n"], n_boot, seed)
        kl, n = sums["kl"].to_numpy(), sums["n"]
        rows.append(
            {
                "kind": kind, "n": int(n.sum()), "kl": i.value, "low": i.low, "high": i.high,
                "share": float(kl.sum()) / whole, "gain": float((part["logp_b"] - part["logp_a"]).to_numpy().mean()),
            }
        )  # fmt: skip
    return pl.DataFrame(rows).sort("share", descending=True, maintain_order=True)


def by_word(tokens: pl.DataFrame) -> pl.DataFrame:
    """Words by their mean KL, those with `LEAST` tokens or more."""
    kl = pl.col("kl").cast(pl.Float64)
    return (
        tokens.group_by("text", maintain_order=True)
        .agg(n=pl.len(), kl=kl.mean(), total=kl.sum(), gain=(pl.col("logp_b") - pl.col("logp_a")).mean())
        .with_columns(share=pl.col("total") / pl.col("total").sum())
        .filter(pl.col("n") >= LEAST)
        .sort("kl", descending=True, maintain_order=True)
        .select("text", "n", "kl", "share", "gain")
    )


def with_probe(
    layers: pl.DataFrame, directions: dict[str, np.ndarray[Any, Any]], probes: dict[str, np.ndarray[Any, Any]]
) -> pl.DataFrame:
    """The layers with how much of a probe's direction lies in the directions kept."""
    inside, chance = [], []
    for name in layers["layer"]:
        kept, w = directions[name].astype(np.float64), probes.get(name)
        fits = w is not None and w.shape == (kept.shape[1],)
        inside.append(float(((kept @ w) ** 2).sum()) if fits and w is not None else None)
        chance.append(len(kept) / kept.shape[1])
    return layers.with_columns(
        probe=pl.Series(inside, dtype=pl.Float64), by_chance=pl.Series(chance, dtype=pl.Float64)
    )
