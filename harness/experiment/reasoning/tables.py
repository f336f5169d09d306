"""The tables of each moment's reasoning: four tables, a file each, in the experiment's folder.

reasoning-moments.parquet   one row a moment: the decision, the written and reference beliefs about the others
reasoning-steps.parquet     one row a moment and prefix: the forced decision and the probed beliefs after k steps
reasoning-rollouts.parquet  one row a free continuation of a prefix
reasoning-outcomes.parquet  one row a moment and arm that resamples, as the experiment's outcomes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from harness.atomic import replacing
from harness.experiment.folder import OUTCOMES, read_rows, write_rows

MOMENTS: dict[str, Any] = {
    "moment": pl.Int32,
    "game": pl.String,
    "game_id": pl.String,
    "seq": pl.Int32,
    "seat": pl.Int16,
    "agent": pl.String,
    "role": pl.String,
    "faction": pl.String,
    "subject": pl.Int16,
    "subject_role": pl.String,
    "chosen": pl.Int16,  # the option that was taken in the game
    "n_steps": pl.Int32,
    "n_tokens": pl.Int32,  # of the reasoning
    "options": pl.List(pl.Int16),
    "seats": pl.List(pl.Int16),  # living others, in the order of the lists below; null: nothing known of it
    "written": pl.List(pl.Float64),  # P(werewolf) as last stated in the reasoning
    "posterior": pl.List(pl.Float64),  # of an ideal observer of what the seat has seen
    "posterior_source": pl.String,
    "cold": pl.Float64,  # largest change of the forced distribution when nothing is cached, nats
    "repeated": pl.Float64,  # share of repeated continuations that are the same tokens with the cache on and off
}
STEPS: dict[str, Any] = {
    "moment": pl.Int32,
    "k": pl.Int32,  # steps that are kept; 0: none
    "start": pl.Int32,  # token indices of step k - 1, the last that is kept, in the whole context
    "end": pl.Int32,
    "text": pl.String,
    "category": pl.String,
    "judged": pl.String,  # the same by a judge, null where none was asked
    "named": pl.List(pl.Int16),  # seats that it names
    "logprobs": pl.List(pl.Float64),  # forced: of each option as a whole answer, nats
    "beliefs": pl.List(
        pl.Float64
    ),  # inside: P(werewolf) of each of the moment's seats by the probe, null without one
}
ROLLOUTS: dict[str, Any] = {
    "moment": pl.Int32,
    "arm": pl.String,  # "" as played, or the design's arm under which the reasoning was rewritten
    "k": pl.Int32,  # steps of the played reasoning before it
    "r": pl.Int32,
    "finished": pl.Boolean,  # whether it ended before the token limit
    "same": pl.Boolean,  # its first step equals step k of the played one, or both end
    "step": pl.String,  # its first step
    "n_steps": pl.Int32,
    "n_tokens": pl.Int32,
    "categories": pl.List(pl.String),  # of its steps
    "body": pl.String,  # its words
    "logprobs": pl.List(pl.Float64),  # of each option after it
}
TABLES: Mapping[str, dict[str, Any]] = {
    "moments": MOMENTS, "steps": STEPS, "rollouts": ROLLOUTS, "outcomes": OUTCOMES,
}  # fmt: skip


def write_moment(folder: Path, number: int, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """One moment's rows, the table `moments` last, by which the moment counts as done. Raises StorageError."""
    for name in ("steps", "rollouts", "outcomes", "moments"):
        write_rows(folder / "reasoning" / f"{number:05d}-{name}.parquet", rows[name], TABLES[name])


def done(folder: Path) -> set[int]:
    """The moments that are written."""
    return {int(path.name[:5]) for path in (folder / "reasoning").glob("[0-9]*-moments.parquet")}


def join_tables(folder: Path) -> None:
    """Join the moments' files. Raises StorageError."""
    for name, schema in TABLES.items():
        found = read_rows(folder / "reasoning", schema, f"[0-9]*-{name}.parquet")
        with replacing(folder / f"reasoning-{name}.parquet") as file:
            found.write_parquet(file)
