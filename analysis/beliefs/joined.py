"""A belief at a decision: the latest that was held at or before it."""

from __future__ import annotations

import polars as pl


def joined_belief(keys: pl.DataFrame, stated: pl.DataFrame, column: str = "p_werewolf") -> pl.Series:
    """For each row of `keys` (game_id, seq, viewer, subject): the latest belief at or before it, null without one."""
    numbered = keys.select("game_id", pl.col("seq").cast(pl.Int64), "viewer", "subject").with_row_index(
        "row_"
    )
    mine = stated.select("game_id", pl.col("seq").cast(pl.Int64), "viewer", "subject", column)
    joined = numbered.sort("seq", maintain_order=True).join_asof(
        mine.drop_nulls(column).sort("seq", maintain_order=True), on="seq", by=["game_id", "viewer", "subject"],
        strategy="backward", check_sortedness=False,
    )  # fmt: skip
    return joined.sort("row_", maintain_order=True)[column]
