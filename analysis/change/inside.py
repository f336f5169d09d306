"""What carries the change between two models: the shares of it that weights and directions add or remove."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from analysis.stats.bootstrap import ratio_interval

SHARES: dict[str, Any] = {
    "arm": pl.String, "layer": pl.String, "way": pl.String, "segment": pl.String,  # all, or one
    "share": pl.Float64,  # of the divergence between the models that the arm removes; 1: all, 0: none, below 0: it adds
    "low": pl.Float64, "high": pl.Float64,
    "kl": pl.Float64,  # nats a token that remain
    "whole": pl.Float64,  # nats a token between the models
    "n_games": pl.Int64,
}  # fmt: skip


def carried_shares(carried: pl.DataFrame, n_boot: int = 500, seed: int = 0) -> pl.DataFrame:
    """Schema `SHARES`: 1 - KL(target || arm) / KL(target || start), over all emitted tokens and by segment."""
    rows = []
    for segment in ("all", *carried["segment"].unique(maintain_order=True)):
        part = carried if segment == "all" else carried.filter(segment=segment)
        sums = part.group_by("arm", "layer", "way", "game_id", maintain_order=True).agg(
            pl.col("kl", "n").sum()
        )
        nothing = sums.filter(arm="nothing").select("way", "game_id", start="kl")
        joined = sums.join(nothing, on=["way", "game_id"], how="inner", maintain_order="left")
        for (arm, layer, way), one in joined.group_by("arm", "layer", "way", maintain_order=True):
            left, start = one["kl"].to_numpy(), one["start"].to_numpy()
            repeats = one["n"].to_numpy().sum() / max(
                1.0, float(sums.filter(arm="nothing", way=way)["n"].to_numpy().sum())
            )
            i = ratio_interval(one["game_id"], left / max(repeats, 1.0), start, n_boot, seed)
            n = float(one["n"].to_numpy().sum())
            rows.append(
                {
                    "arm": arm, "layer": layer, "way": way, "segment": segment, "share": 1 - i.value,
                    "low": 1 - i.high, "high": 1 - i.low, "kl": float(left.sum()) / n,
                    "whole": float(start.sum()) / (n / max(repeats, 1.0)), "n_games": len(one),
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=SHARES)


def with_probe(
    layers: pl.DataFrame, directions: dict[str, np.ndarray[Any, Any]], probes: dict[str, np.ndarray[Any, Any]]
) -> pl.DataFrame:
    """The layers with the share of a probe's direction that lies in the kept principal directions (`probe`, null
    without a probe at that layer), and the expected share of a random direction (`by_chance`)."""
    inside, chance = [], []
    for name in layers["layer"]:
        kept, w = directions[name].astype(np.float64), probes.get(name)
        fits = w is not None and w.shape == (kept.shape[1],)
        inside.append(float(((kept @ w) ** 2).sum()) if fits and w is not None else None)
        chance.append(len(kept) / kept.shape[1])
    return layers.with_columns(
        probe=pl.Series(inside, dtype=pl.Float64), by_chance=pl.Series(chance, dtype=pl.Float64)
    )
