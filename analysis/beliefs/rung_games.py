"""Which games the observers of every rung of evidence follow: only some of each model's, because each rung costs a
pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl


def rung_games(runs: Sequence[tuple[str, Any]], most: int, seed: int) -> tuple[str, ...]:
    """At most `most` games of each model that played in the runs (prefix of the game ids, run), drawn at random."""
    played = pl.concat(
        [
            run.frame("seats").select(game_id=pl.lit(prefix) + pl.col("game_id"), model="model")
            for prefix, run in runs
        ]
    ).drop_nulls().unique(maintain_order=True).collect()  # fmt: skip
    rng, found = np.random.default_rng(seed), set[str]()
    for model in sorted(played["model"].unique(maintain_order=True)):
        games = sorted(played.filter(pl.col("model") == model)["game_id"])
        found |= {games[i] for i in rng.choice(len(games), min(most, len(games)), replace=False)}
    return tuple(sorted(found))
