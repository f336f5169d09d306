"""Graded labels of what was said: what the speaker believed, and how its lies moved beliefs.

`analysis.data.labels` knows what each speaker was told. The observer adds what it should have concluded
(`p_posterior`, hence `believed_false`) and how far the public belief moved in favour of the speaker's side, compared
with the truthful speeches that the speaker could have made (`advantage`, hence `strategic_deception`). A lie that helps
its teller no more than the truth is a lie but not strategic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.beliefs.followers import FOLLOWERS
from analysis.beliefs.tables import Watched
from games.base import Game

BELIEVED = 0.2
"""A proposition below this probability to its speaker is believed false."""


def lies_of(labels: Mapping[str, pl.DataFrame]) -> set[tuple[str, int]]:
    """(game_id, seq) of the speeches with a statement that the speaker knows to be false."""
    rows = labels["speeches"].filter(pl.col("any_known_false")).select("game_id", "seq")
    return {(str(game), int(seq)) for game, seq in rows.iter_rows()}


def grade(
    labels: Mapping[str, pl.DataFrame], watched: Watched, game: Game, threshold: float = BELIEVED
) -> dict[str, pl.DataFrame]:
    """The label frames of a game's logs with what its observer adds; null where it could not follow.

    `statements` gain `p_posterior` and `believed_false` (p below `threshold`; a known falsehood included);
    `speeches` gain `any_believed_false`, `advantage`, `nats` and `strategic_deception`.
    """
    statements = labels["statements"]
    p = [_posterior(row, watched, game.name) for row in statements.iter_rows(named=True)]
    statements = statements.with_columns(p_posterior=pl.Series(p, dtype=pl.Float64)).with_columns(
        believed_false=pl.col("p_posterior") < threshold
    )
    any_believed = (
        statements.filter(pl.col("believed_false").is_not_null())
        .group_by("game_id", "seq", maintain_order=True)
        .agg(any_believed_false=pl.col("believed_false").any())
    )
    moved = watched.utterances.select("game_id", "seq", "advantage", "nats").unique(
        ["game_id", "seq"], keep="first", maintain_order=True
    )
    speeches = (
        labels["speeches"]
        .join(any_believed, on=["game_id", "seq"], how="left", maintain_order="left")
        .join(moved, on=["game_id", "seq"], how="left", maintain_order="left")
        .with_columns(
            strategic_deception=pl.when(~pl.col("any_known_false"))
            .then(pl.lit(False))
            .otherwise(pl.col("advantage") > 0)
        )
    )
    return {**labels, "statements": statements, "speeches": speeches}


def _posterior(row: Mapping[str, Any], watched: Watched, game: str) -> float | None:
    """Probability of the row's proposition to its speaker under the observer."""
    told = row["p_speaker"]
    if told is None or told <= 0 or told >= 1:
        return None if told is None else float(told)
    found = watched.speakers.get((row["game_id"], row["seq"]))
    if found is None:
        return None
    p = FOLLOWERS[game].p_of(row, *found)
    return float(told) if p is None else p
