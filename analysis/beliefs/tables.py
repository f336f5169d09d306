"""What observers' results look like: rows, frames and their schemas, and how parts are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

SCHEMA = {
    "game_id": pl.String,
    "seq": pl.Int32,
    "viewer": pl.Int16,
    "subject": pl.Int16,
    "source": pl.String,
    "p_werewolf": pl.Float64,  # in another game: the role of its first belief target
    "p_seer": pl.Float64,  # the same for its second
}
SECOND = {
    "game_id": pl.String,
    "seq": pl.Int32,
    "viewer": pl.Int16,
    "subject": pl.Int16,
    "about": pl.Int16,
    "expected": pl.Float64,  # what the viewer expects the subject to believe of `about`
    "actual": pl.Float64,  # what the subject believes
}
UTTERANCES = {
    "game_id": pl.String,
    "seq": pl.Int32,  # of the decision that spoke
    "speaker": pl.Int16,
    "speaker_role": pl.String,
    "kind": pl.String,  # of the first act; silence
    "subject": pl.Int16,  # of the first act
    "suspicion_before": pl.Float64,  # of the speaker, to one who knows only what is public
    "suspicion_after": pl.Float64,
    "subject_before": pl.Float64,
    "subject_after": pl.Float64,
    "advantage": pl.Float64,  # known lies: how much less suspect the speaker's side is than after the truth
    "nats": pl.Float64,  # known lies: how far the public belief over role assignments moved
}
LAPSE = 0.02
"""Share of a model's acts that are taken to follow no scripted policy."""


@dataclass
class Watched:
    """An observer's results for some games."""

    beliefs: pl.DataFrame
    """`SCHEMA`."""
    utterances: pl.DataFrame
    second: pl.DataFrame
    speakers: dict[tuple[str, int], tuple[tuple[str, ...], NDArray[np.float64]]]
    """(game_id, seq of a speech) -> roles, and the speaker's posterior `(n_seats, n_roles)` when it spoke."""
    why: str
    """Why rows are missing, in words; empty where none is."""
    prior: str = ""
    """The observer's prior over characters, in words."""
    rungs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))
    """`SCHEMA`, source: a rung of the game's evidence ladder, for the games that the observers of every rung follow."""
    fitted: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))
    """`SCHEMA`, source `fitted`."""
    no_fit: str = ""
    """Why rows of `fitted` are missing, in words."""


@dataclass
class Found:
    """An observer's rows for one game, in the columns of the schemas."""

    beliefs: list[tuple[Any, ...]] = field(default_factory=list)
    utterances: list[tuple[Any, ...]] = field(default_factory=list)
    second: list[tuple[Any, ...]] = field(default_factory=list)
    speakers: dict[tuple[str, int], tuple[tuple[str, ...], NDArray[np.float64]]] = field(default_factory=dict)
    rungs: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Adds the rows of another game."""
        for name in ("beliefs", "utterances", "second", "rungs"):
            getattr(self, name).extend(getattr(other, name))
        self.speakers.update(other.speakers)


def together(parts: Sequence[Watched]) -> Watched:
    """The results of several sets of games joined."""
    return Watched(
        pl.concat([part.beliefs for part in parts]),
        pl.concat([part.utterances for part in parts]),
        pl.concat([part.second for part in parts]),
        {key: value for part in parts for key, value in part.speakers.items()},
        "",
        rungs=pl.concat([part.rungs for part in parts]),
        fitted=pl.concat([part.fitted for part in parts]),
    )


def partly(failed: int, n: int, why: str) -> str:
    """A sentence saying that some games could not be followed to their end."""
    return f"{failed} of {n} games could be followed in part only ({why})" if failed else ""


def watched_of(rows: Found, why: str) -> Watched:
    """The rows as frames."""
    return Watched(
        pl.DataFrame(rows.beliefs, schema=SCHEMA, orient="row"),
        pl.DataFrame(rows.utterances, schema=UTTERANCES, orient="row"),
        pl.DataFrame(rows.second, schema=SECOND, orient="row"),
        rows.speakers,
        why,
        rungs=pl.DataFrame(rows.rungs, schema=SCHEMA, orient="row"),
    )
