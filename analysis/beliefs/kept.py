"""Observers' results for a run's games, kept as derived tables, so that the next report need not compute them again.

`derived/observers_<name>.parquet` in the first run's folder, each with the digests of the tables it was made from
(`harness.run.derived`) and a key of the request and of the code. Where any of these has changed, or a file is damaged,
the observers follow the games again. Nothing is kept in a run folder that cannot be written to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from analysis.beliefs.followers import FOLLOWERS
from analysis.beliefs.tables import SCHEMA, SECOND, UTTERANCES, Watched
from analysis.data.frames import Logs
from harness.run.derived import Inputs, StorageError, current, digest_of, inputs_of, write_table

SPEAKERS: dict[str, Any] = {
    "game_id": pl.String, "seq": pl.Int32, "roles": pl.List(pl.String), "p": pl.List(pl.Float64),
}  # fmt: skip
FRAMES: dict[str, dict[str, Any]] = {
    "beliefs": SCHEMA, "utterances": UTTERANCES, "second": SECOND, "rungs": SCHEMA, "fitted": SCHEMA,
    "speakers": SPEAKERS,
}  # fmt: skip
WORDS = ("why", "prior", "no_fit")
TOLD: dict[str, Any] = dict.fromkeys(("key", *WORDS), pl.String)
"""Columns of `observers_told`, one row: the key, and the text fields of `Watched`."""
READ = ("events.parquet", "decisions.parquet")
"""The tables of a run that observers read."""


def write_watched(folder: Path, watched: Watched, prefix: str = "", inputs: Inputs | None = None) -> None:
    """Write the frames into a folder; `inputs` makes them derived tables. Raises StorageError, OSError."""
    for name in FRAMES:
        frame = _speakers_of(watched) if name == "speakers" else getattr(watched, name)
        path = folder / f"{prefix}{name}.parquet"
        if inputs is None:
            frame.write_parquet(path)
        else:
            write_table(path, frame, inputs)


def read_watched(folder: Path, prefix: str = "") -> Watched:
    """The frames that `write_watched` wrote. Raises OSError, PolarsError, ValueError."""
    frames: dict[str, Any] = {name: pl.read_parquet(folder / f"{prefix}{name}.parquet") for name in FRAMES}
    for name, frame in frames.items():
        if frame.schema != pl.Schema(FRAMES[name]):
            raise ValueError(f"{folder / f'{prefix}{name}.parquet'} has columns {', '.join(frame.columns)}")
    speakers = {
        (game, seq): (tuple(roles), np.array(p).reshape(-1, len(roles)))
        for game, seq, roles, p in frames.pop("speakers").iter_rows()
    }
    return Watched(**frames, speakers=speakers, why="")


def keep(logs: Logs, asked: Any, watched: Watched) -> None:
    """Keep the results in the first run's folder, unless it cannot be written to or has no tables yet."""
    folder, inputs = _home(logs) / "derived", _inputs(logs)
    if not inputs.digests:
        return
    try:
        write_watched(folder, watched, "observers_", inputs)
        told = (_key(logs, asked), *(getattr(watched, name) for name in WORDS))
        write_table(
            folder / "observers_told.parquet", pl.DataFrame([told], schema=TOLD, orient="row"), inputs
        )
    except (StorageError, OSError):
        return


def kept(logs: Logs, asked: Any) -> Watched | None:
    """The kept results of the same request for the same games, tables and code; else None."""
    folder, now = _home(logs) / "derived", _inputs(logs)
    paths = [folder / f"observers_{name}.parquet" for name in (*FRAMES, "told")]
    if not now.digests or not all(current(path, now) for path in paths):
        return None
    try:
        key, *words = pl.read_parquet(paths[-1]).row(0)
        if key != _key(logs, asked):
            return None
        watched = read_watched(folder, "observers_")
    except (OSError, ValueError, TypeError, pl.exceptions.PolarsError):
        return None
    for name, text in zip(WORDS, words):
        setattr(watched, name, text)
    return watched


def _home(logs: Logs) -> Path:
    return Path(logs.runs[0][1].path)


def _inputs(logs: Logs) -> Inputs:
    return inputs_of([run.path for _, run in logs.runs], READ)


def _key(logs: Logs, asked: Any) -> str:
    """Key of the request, the games, the priors and the code."""
    parts = [msgspec.json.encode([logs.ids, asked, str(sorted(logs.mixes.items(), key=str))])]
    places = [Path(str(follower.OBSERVER.__file__)).parent for follower in FOLLOWERS.values()]
    for place in (*places, Path(__file__).parent):
        parts += [path.read_bytes() for path in sorted(place.rglob("*.py"))]
    return digest_of(b"\n".join(parts))


def _speakers_of(watched: Watched) -> pl.DataFrame:
    rows: list[tuple[Any, ...]] = [
        (game, seq, list(roles), p.ravel().tolist()) for (game, seq), (roles, p) in watched.speakers.items()
    ]
    return pl.DataFrame(rows, schema=SPEAKERS, orient="row")
