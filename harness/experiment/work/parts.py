"""The played parts of an experiment: one file per moment, so that a stopped experiment resumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.atomic import replacing, storage
from harness.experiment.continuations import FUTURES
from harness.experiment.folder import Manifest, read_parts, read_rows, write_rows
from harness.experiment.moments import Moment
from harness.experiment.strategic import ACTS
from harness.experiment.work.workers import Left, Workers


def run_strategic(
    folder: Path, moments: Sequence[Moment], workers: Workers, say: Callable[[str], None]
) -> Path:
    """Play out the menus of a design's moments and write `acts.parquet`; returns its path. Resumes after a stop."""
    place = folder / "acts"
    with storage(folder):
        place.mkdir(parents=True, exist_ok=True)
    todo = [(m, None) for m in moments if not _part(place, m).is_file()]
    left = Left("acts of ", len(moments) - len(todo), len(moments), say)
    for moment, rows in workers.each("acts", todo):
        write_rows(_part(place, moment), rows, ACTS)
        left.add()
    out = folder / "acts.parquet"
    with replacing(out) as file:
        read_rows(place, ACTS).write_parquet(file)
    return out


def play_continuations(
    folder: Path, manifest: Manifest, workers: Workers, say: Callable[[str], None]
) -> None:
    """Play an experiment's remaining continuations and write `futures.parquet`. Raises StorageError."""
    place = folder / "continuations"
    with storage(folder):
        place.mkdir(exist_ok=True)
    measured = read_parts(folder).partition_by("moment", as_dict=True, maintain_order=True)
    todo = [
        (m, measured[m.id,].to_dicts() if (m.id,) in measured else [])
        for m in manifest.moments
        if not _part(place, m).is_file()
    ]
    left = Left("continuations of ", len(manifest.moments) - len(todo), len(manifest.moments), say)
    for moment, rows in workers.each("follow", todo):
        write_rows(_part(place, moment), rows, FUTURES)
        left.add()
    with replacing(folder / "futures.parquet") as file:
        read_rows(place, FUTURES).write_parquet(file)


def _part(place: Path, moment: Moment) -> Path:
    return place / f"{moment.id:05d}.parquet"
