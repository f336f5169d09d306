"""The grammar in which latents are described: predicates of the game's state at a row's decision.

`states(logs)` has one row for each decision, viewer and other seat (dead ones too), and one for the viewer itself.
`predicates(frame)` are the atoms of the grammar, 0/1 columns:

    atom := subject role is R | viewer role is R | same role | subject lives | viewer has been told | subject is itself
          | COUNT >= 1, 2, 3 | decision is K | day is D or later | at most N living | subject sits at S | name is N
    rule := atom | not atom | atom and atom | atom and not atom

COUNT is any public count of the game (`games.statements.Reading.features`): accused, was_accused, claimed_seer, ...
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.frames import GameLog, reading_of
from games.base import Game
from games.records import Event
from games.statements import Reading

STATE: dict[str, Any] = {
    "game_id": pl.String,
    "seq": pl.Int32,
    "viewer": pl.Int16,
    "subject": pl.Int16,
    "subject_role": pl.String,
    "viewer_role": pl.String,
    "lives": pl.Boolean,
    "told": pl.Boolean,  # the subject's role follows from what the viewer was told
    "kind": pl.String,
    "day": pl.Int16,
    "n_living": pl.Int16,
    "name": pl.String,
}
"""The columns of `states`, before those of the game's public counts (Int16)."""
LEVELS = (1, 2, 3)
"""Thresholds of a count."""
FEWEST = 20
"""An atom that holds, or fails, in fewer rows than this is left out."""


def concepts(game: Game) -> dict[str, str]:
    """The known concepts -> the atoms that define them."""
    return {
        "role": f"subject is {game.belief_targets[0].roles[0]}", "alive": "subject lives",
        "accused": "was_accused >= 1", "claimed": "claimed_seer >= 1",
    }  # fmt: skip


def states(logs: Iterable[GameLog]) -> pl.DataFrame:
    """Schema `STATE` and the public counts of the game, in the order of the logs. Raises AnalysisError where the game
    offers no reading of its logs."""
    columns: dict[str, list[Any]] = {name: [] for name in STATE}
    counts: tuple[str, ...] = ()
    for log in logs:
        reading = reading_of(log)
        counts = reading.features
        for row in _rows(log, reading):
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
    return pl.DataFrame(columns, schema=STATE | dict.fromkeys(counts, pl.Int16))


def _rows(log: GameLog, reading: Reading) -> Iterable[dict[str, Any]]:
    facts = log.game.seats(log.config, log.records)
    n = len(facts)
    for record in log.records:
        if isinstance(record, Event):
            reading.see(record)
            continue
        viewer = record.seat
        posterior = reading.posterior(viewer)
        for subject in range(n):
            p = posterior[subject].get(facts[subject].role, 0.0)
            yield {
                "game_id": log.game_id, "seq": record.seq, "viewer": viewer, "subject": subject,
                "subject_role": facts[subject].role, "viewer_role": facts[viewer].role,
                "lives": subject in reading.living, "told": p >= 1, "kind": record.kind, "day": record.day,
                "n_living": len(reading.living), "name": facts[subject].name, **reading.counts(subject, viewer),
            }  # fmt: skip


def predicates(frame: pl.DataFrame, names: bool = True) -> tuple[list[str], NDArray[np.bool_]]:
    """(words of the atoms, their truth `(n_rows, n_atoms)`), for atoms that hold in `FEWEST` rows or more and fail in
    as many."""
    found: dict[str, pl.Series] = {}

    def values(column: str) -> list[Any]:
        return sorted(frame[column].unique(maintain_order=True).drop_nulls().to_list())

    for role in values("subject_role"):
        found[f"subject is {role}"] = frame["subject_role"] == role
    for role in values("viewer_role"):
        found[f"viewer is {role}"] = frame["viewer_role"] == role
    found["same role"] = frame["subject_role"] == frame["viewer_role"]
    found["subject lives"] = frame["lives"]
    found["viewer has been told"] = frame["told"]
    found["subject is itself"] = frame["subject"] == frame["viewer"]
    for count in frame.columns[len(STATE) :]:
        for level in LEVELS:
            found[f"{count} >= {level}"] = frame[count] >= level
    for kind in values("kind"):
        found[f"decision is {kind}"] = frame["kind"] == kind
    for day in values("day")[1:4]:
        found[f"day >= {day}"] = frame["day"] >= day
    for living in values("n_living")[:-1]:
        found[f"living <= {living}"] = frame["n_living"] <= living
    for seat in values("subject"):
        found[f"subject sits at {seat}"] = frame["subject"] == seat
    for name in values("name") if names else ():
        found[f"name is {name}"] = frame["name"] == name
    table = np.stack([series.to_numpy().astype(bool) for series in found.values()], axis=1)
    often = table.sum(axis=0)
    kept = np.flatnonzero((often >= FEWEST) & (len(table) - often >= FEWEST))
    words = list(found)
    return [words[i] for i in kept], table[:, kept]
