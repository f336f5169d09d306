"""The folder of an experiment: what was drawn before anything was asked, what was measured, and the way back into it.

manifest.json       design, runs, models, moments, arms, remarks, how it was carried out
vectors.safetensors the directions, one row each
parts/NNNNN.parquet what was measured, a few moments a file: a stopped experiment goes on by the same command
outcomes.parquet    all of it, once everything is measured
continuations/      run folders of continuations to the end, where the design asks for them
effects.parquet, effects.html, figures      made of these by `wolfscope effects`
"""

from __future__ import annotations

import json
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

SCHEMA_VERSION = 1
NAME = "manifest.json"

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
    """Hash of design, runs and models: what the folder belongs to."""
    runs: list[Source]
    models: list[str]
    """`name@hash` of every model that is asked."""
    moments: list[Moment]
    arms: list[Arm]
    stamps: list[str]
    """Remarks that belong on the page: another layer or site than the direction's own, fewer games than needed."""
    directions: dict[str, str]
    """Direction -> where it comes from, in words."""
    sessions: list[Session]
    scorer: str = ""
    """`packed` or `plain`."""
    off: float = 0.0
    """Largest difference of the packed answers from those of plain passes, nats, on the first moment."""
    seconds: float = 0.0
    """Of asking, all sessions together."""
    forced: bool = False

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest at once. Raises StorageError."""
        data = msgspec.json.format(msgspec.json.encode(self), indent=1)
        write_whole(folder / NAME, data + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an experiment's folder. Raises RunFolderError where there is none that can be read."""
    path = folder / NAME
    if not path.is_file():
        raise RunFolderError(f"{folder} is no experiment: it has no {NAME}; `wolfscope experiment` makes one")
    try:
        data = path.read_bytes()
        plain = json.loads(data)
        if plain.get("kind") != "experiment":
            raise RunFolderError(f"{folder} is a run folder, no experiment; choose another --out")
        if plain.get("schema_version") != SCHEMA_VERSION:
            raise RunFolderError(
                f"{folder} has experiment schema version {plain.get('schema_version')}, this Wolfscope reads "
                f"{SCHEMA_VERSION}: use the version that wrote it, or choose another --out"
            )
        return msgspec.json.decode(data, type=Manifest)  # keys of numbers are read as such only from the text
    except (ValueError, msgspec.ValidationError) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}): restore it, or choose another --out"
        ) from error


def write_part(folder: Path, number: int, rows: list[dict[str, Any]]) -> None:
    """What was measured of some moments, whole or not at all. Raises StorageError."""
    with storage(folder):
        (folder / "parts").mkdir(exist_ok=True)
    with replacing(folder / "parts" / f"{number:05d}.parquet") as part:
        pl.DataFrame(rows, schema=OUTCOMES).write_parquet(part)


def read_parts(folder: Path) -> pl.DataFrame:
    """All that was measured so far (schema `OUTCOMES`)."""
    parts = sorted((folder / "parts").glob("[0-9]*.parquet"))
    frames = [pl.read_parquet(path) for path in parts]
    return pl.concat(frames) if frames else pl.DataFrame(schema=OUTCOMES)


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
