"""The folder of an experiment: the moments drawn, the measurements, and the state needed to resume.

manifest.json       design, runs, models, moments, arms, remarks, how it was carried out
vectors.safetensors the directions, one row each
parts/NNNNN.parquet measurements, a few moments per file: the same command resumes a stopped experiment
outcomes.parquet    all of it, once everything is measured
continuations/      run folders of continuations to the end, where the design asks for them
effects.parquet, effects.html, figures      made of these by `wolfscope effects`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
from safetensors.numpy import load_file, save_file

from harness.atomic import replacing, storage, write_whole
from harness.errors import RunFolderError
from harness.experiment.arms import Arm
from harness.experiment.moments import Moment
from harness.run.manifest import Session
from harness.seals import hold, seal

SCHEMA_VERSION = 1
NAME = "manifest.json"
VERB = "experiment"
MEASURED = (
    NAME, "vectors.safetensors", "outcomes.parquet", "futures.parquet", "acts.parquet", "readout.json",
    "reasoning-moments.parquet", "reasoning-steps.parquet", "reasoning-rollouts.parquet",
    "reasoning-outcomes.parquet", "turns.parquet",
)  # fmt: skip
"""The files of a finished experiment whose digests are kept."""

OUTCOMES: dict[str, Any] = {
    "moment": pl.Int32,
    "arm": pl.String,
    "options": pl.List(pl.Int16),  # in the order shown
    "logprobs": pl.List(pl.Float64),  # of each option as a whole answer, nats
    "seats": pl.List(pl.Int16),  # whose role the viewer was asked for
    "beliefs": pl.List(pl.Float64),  # stated P(werewolf) of each, over the roles
}
"""One row a moment and arm; a moment that has no such change has no row."""


class Source(msgspec.Struct, frozen=True):
    """A run whose games are used."""

    path: str
    name: str
    config_hash: str


class Manifest(msgspec.Struct):
    """The content of `manifest.json`."""

    schema_version: int
    kind: Literal["experiment"]
    status: Literal["asking", "finished"]
    design: dict[str, Any]
    key: str
    """Hash of design, runs and models, which identifies the experiment."""
    runs: list[Source]
    models: list[str]
    """`name@hash` of every model that is asked."""
    moments: list[Moment]
    arms: list[Arm]
    stamps: list[str]
    """Warnings for the page: another layer or site than the direction's own, fewer games than needed."""
    directions: dict[str, str]
    """Direction -> where it comes from, in words."""
    sessions: list[Session]
    scorer: str = ""
    """`packed` or `plain`."""
    off: float = 0.0
    """Largest difference of the packed answers from those of plain passes, nats, on the first moment."""
    seconds: float = 0.0
    """Seconds spent asking, over all sessions."""
    forced: bool = False

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest atomically. Raises StorageError."""
        data = msgspec.json.format(msgspec.json.encode(self), indent=1)
        write_whole(folder / NAME, data + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an experiment's folder. Raises RunFolderError where there is none that can be read, RunDamaged
    where a finished one was changed since."""
    path = folder / NAME
    if not path.is_file():
        raise RunFolderError(f"{folder} is no experiment: it has no {NAME}; `wolfscope experiment` makes one")
    hold(folder, NAME)
    try:
        data = path.read_bytes()
        plain = json.loads(data)
        if not isinstance(plain, dict):
            raise ValueError("it is no manifest")
        if plain.get("kind") != "experiment":
            raise RunFolderError(f"{folder} is a run folder, no experiment; choose another --out")
        if plain.get("schema_version") != SCHEMA_VERSION:
            raise RunFolderError(
                f"{folder} has experiment schema version {plain.get('schema_version')}, this Wolfscope reads "
                f"{SCHEMA_VERSION}: use the version that wrote it, or choose another --out"
            )
        return msgspec.json.decode(data, type=Manifest)  # integer keys are decoded only from JSON text
    except (ValueError, RecursionError) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}): restore it, or choose another --out"
        ) from error


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> None:
    """A part of a table, whole or not at all, with its digest; its folder is made. Raises StorageError."""
    with storage(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part:
        pl.DataFrame(list(rows), schema=dict(schema)).write_parquet(part)
    seal(file.parent, file, verb=VERB)


def read_rows(place: Path, schema: Mapping[str, Any], pattern: str = "[0-9]*.parquet") -> pl.DataFrame:
    """The parts of a table that a folder holds, by name. Raises RunDamaged where one was changed since."""
    hold(place)
    frames = [pl.read_parquet(path) for path in sorted(place.glob(pattern))]
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict(schema))


def write_part(folder: Path, number: int, rows: list[dict[str, Any]]) -> None:
    """Write the measurements of some moments. Raises StorageError."""
    write_rows(folder / "parts" / f"{number:05d}.parquet", rows, OUTCOMES)


def read_parts(folder: Path) -> pl.DataFrame:
    """All that was measured so far (schema `OUTCOMES`). Raises RunDamaged."""
    return read_rows(folder / "parts", OUTCOMES)


def finish(folder: Path, manifest: Manifest) -> None:
    """Mark the experiment as finished, and record the digests of its files. Raises StorageError."""
    manifest.status = "finished"
    manifest.write(folder)
    seal(folder, *(file for name in MEASURED for file in sorted(folder.glob(name))), verb=VERB)


def write_outcomes(folder: Path) -> None:
    """Join the parts, and what continuations of a reasoning came to. Raises StorageError."""
    further = folder / "reasoning-outcomes.parquet"
    rows = [read_parts(folder), *([pl.read_parquet(further)] if further.is_file() else [])]
    with replacing(folder / "outcomes.parquet") as part:
        pl.concat(rows).sort("moment", "arm", maintain_order=True).write_parquet(part)


def write_vectors(folder: Path, vectors: np.ndarray) -> None:
    """Raises StorageError."""
    with replacing(folder / "vectors.safetensors") as part:
        save_file({"vectors": np.ascontiguousarray(vectors)}, part)


def read_vectors(folder: Path) -> np.ndarray:
    """float32 (n_vectors, d_model)."""
    return load_file(folder / "vectors.safetensors")["vectors"]
