"""F3 and persuasion: beliefs aligned to events of a player, and how each kind of utterance moves beliefs.

Four columns stay apart: the probe's output, the ideal reader's posterior, what the viewer states, and the truth
(the share of the aligned rows whose subject is a werewolf). Time is counted in the viewer's own decisions; 0 is the
first decision at which it can have seen the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.stats.bootstrap import Interval, ratio_interval

EVENTS = {
    "was_accused": "is accused for the first time",
    "was_reported_werewolf": "is reported a werewolf",
    "was_reported_other": "is reported harmless",
    "claimed_seer": "claims to be the seer",
    "was_vouched": "is vouched for",
    "went_failed": "goes on a mission with a failure",
    "went_succeeded": "goes on a mission without one",
    "claimed_merlin": "claims to be Merlin",
}
"""Public count (of any game) -> what happened to the subject when it rises above 0."""


def events_in(frame: pl.DataFrame) -> dict[str, str]:
    """Those of `EVENTS` that the game of a frame counts."""
    return {count: words for count, words in EVENTS.items() if count in frame.columns}


SHIFTS = ("speaker_shift", "subject_shift", "stated_shift")
PERSUASION: dict[str, Any] = {
    "speaker_role": pl.String,
    "kind": pl.String,
    "n": pl.Int64,
    "games": pl.Int64,
    "n_stated": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in SHIFTS for end in ("", "_low", "_high")},
}


def aligned(
    frame: pl.DataFrame, columns: Mapping[str, NDArray[Any]], before: int = 2, after: int = 3, least: int = 40
) -> pl.DataFrame:
    """Mean belief around events, by source and by whether the subject has the role asked about (`werewolf`).

    `frame` has schema `frames.rows_schema`, `columns` are beliefs `(n_rows,)`, NaN where there is none. Returns event,
    offset, source, werewolf (bool), belief, n_rows; cells of fewer than `least` rows are left out.
    """
    names, events = list(columns), events_in(frame)
    rows = frame.select("game_id", "viewer", "subject", "seq", "is_werewolf", *events).with_columns(
        **{f"belief_{i}": np.asarray(columns[name], dtype=float) for i, name in enumerate(names)}
    )
    rows = rows.sort("game_id", "viewer", "subject", "seq", maintain_order=True)
    unit = ["game_id", "viewer", "subject"]
    rows = rows.with_columns(place=pl.int_range(pl.len()).over(unit))
    found = []
    for event, words in events.items():
        first = (
            rows.filter(pl.col(event) > 0)
            .group_by(unit, maintain_order=True)
            .agg(start=pl.col("place").min())
        )
        around = (
            rows.join(first.filter(pl.col("start") > 0), on=unit, maintain_order="left")
            .with_columns(offset=pl.col("place").cast(pl.Int32) - pl.col("start").cast(pl.Int32))
            .filter(pl.col("offset").is_between(-before, after))
        )
        for i, name in enumerate(names):
            found.append(
                around.filter(pl.col(f"belief_{i}").is_not_nan())
                .group_by("offset", "is_werewolf", maintain_order=True)
                .agg(belief=pl.col(f"belief_{i}").mean(), n_rows=pl.len().cast(pl.Int64))
                .filter(pl.col("n_rows") >= least)
                .select(event=pl.lit(words), offset="offset", source=pl.lit(name), is_werewolf="is_werewolf",
                        belief="belief", n_rows="n_rows")
            )  # fmt: skip
    return pl.concat(found).sort("event", "source", "is_werewolf", "offset", maintain_order=True)


def persuasion(utterances: pl.DataFrame, beliefs: pl.DataFrame) -> pl.DataFrame:
    """By speaker's role and kind of utterance: how the public posterior and stated beliefs of the subject moved.

    Columns speaker_role, kind, n, games, n_stated, and of each of `SHIFTS` the mean with its interval over games (low,
    high): speaker_shift, subject_shift (posterior, after minus before), stated_shift (the listeners' stated belief
    about the subject: first after minus last before).
    """
    said = utterances.with_row_index("row_")
    stated = beliefs.filter(pl.col("about").is_null() & pl.col("source").is_in(["stated", "stated_words"]))
    stated = stated.select(
        "game_id", pl.col("seq").cast(pl.Int64), "viewer", "subject", p="p_werewolf"
    ).drop_nulls()
    moved = pl.DataFrame(schema={"row_": pl.UInt32, "stated": pl.Float64})
    if len(stated):
        pairs = said.filter(pl.col("subject").is_not_null()).select(
            "row_", "game_id", pl.col("seq").cast(pl.Int64), "speaker", "subject"
        ).join(
            stated.select("game_id", "viewer", "subject").unique(maintain_order=True), on=["game_id", "subject"],
            maintain_order="left",
        )  # fmt: skip
        pairs = pairs.filter(
            (pl.col("viewer") != pl.col("speaker")) & (pl.col("viewer") != pl.col("subject"))
        )
        by = ["game_id", "viewer", "subject"]
        ordered = stated.sort("seq", maintain_order=True)
        last = pairs.sort("seq", maintain_order=True).join_asof(
            ordered, on="seq", by=by, strategy="backward", check_sortedness=False
        ).rename({"p": "p_before"})  # fmt: skip
        both = last.sort("seq", maintain_order=True).join_asof(
            ordered.with_columns(then=pl.col("seq")), on="seq", by=by, strategy="forward",
            allow_exact_matches=False, check_sortedness=False,
        )  # fmt: skip
        moved = (
            both.drop_nulls(["p", "p_before"])
            .group_by("row_", maintain_order=True)
            .agg(stated=(pl.col("p") - pl.col("p_before")).mean())
        )
    shifts = said.join(moved, on="row_", how="left", maintain_order="left").with_columns(
        speaker_shift=pl.col("suspicion_after") - pl.col("suspicion_before"),
        subject_shift=pl.col("subject_after") - pl.col("subject_before"),
        stated_shift=pl.col("stated"),
    )
    rows = []
    for (role, kind), part in shifts.group_by("speaker_role", "kind", maintain_order=True):
        row: dict[str, Any] = {
            "speaker_role": role, "kind": kind, "n": len(part), "games": part["game_id"].n_unique(),
            "n_stated": int(part["stated"].count()),
        }  # fmt: skip
        for name in SHIFTS:
            i = _mean_over_games(part.drop_nulls(name), name)
            row |= {name: None if i is None else i.value}
            row |= {
                f"{name}_low": None if i is None else i.low,
                f"{name}_high": None if i is None else i.high,
            }
        rows.append(row)
    table = pl.DataFrame(rows, schema=PERSUASION)
    return table.sort("speaker_role", "n", descending=[False, True], maintain_order=True)


def _mean_over_games(part: pl.DataFrame, name: str) -> Interval | None:
    if part.is_empty():
        return None
    per_game = part.group_by("game_id", maintain_order=True).agg(total=pl.col(name).sum(), n=pl.len())
    return ratio_interval(per_game["game_id"], per_game["total"], per_game["n"])
