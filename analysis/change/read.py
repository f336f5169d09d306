"""Every comparison of two models that `wolfscope diff` has written into the runs' folders, summarised."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import load_file

from analysis.change.acts import COUNTS
from analysis.change.inside import carried_shares, with_probe
from analysis.change.paired import course, differences
from analysis.change.words import by_segment, by_word, triggers
from analysis.stats.errors import AnalysisError
from harness.seals import hold

VERSION = 2


@dataclass(frozen=True)
class Change:
    """One comparison, summarised."""

    a: str
    """`name@hash`."""
    b: str
    run: str
    """The folder of the run whose contexts are read."""
    n_games: int
    acts: pl.DataFrame
    """`paired.DIFFERENCES`; empty without a run of the other model on the same deals."""
    course: pl.DataFrame
    """`paired.COURSE`."""
    segments: pl.DataFrame
    """`words.by_segment`."""
    words: pl.DataFrame
    """`words.by_word`."""
    triggers: pl.DataFrame
    """`words.TRIGGERS`."""
    partings: pl.DataFrame
    """The decisions at which the models diverge most, as text (`harness.compare.words.PARTINGS`)."""
    layers: pl.DataFrame
    """`harness.compare.moved.LAYERS` with `probe` and `by_chance`."""
    carried: pl.DataFrame
    """`inside.SHARES`; empty where that part was left out."""
    features: pl.DataFrame
    """`harness.compare.features.LATENTS`; empty where that part was left out."""
    features_carried: pl.DataFrame
    """`inside.SHARES` of the latents' arms; empty where that part was left out."""


def changes(
    runs: Sequence[tuple[str, Any]], probes: dict[str, np.ndarray[Any, Any]], n_boot: int = 500
) -> list[Change]:
    """Every comparison in the runs' folders. `probes` are unit directions by layer (`resid_post.3`).

    Raises AnalysisError for one of another schema version.
    """
    files = [f for _, run in runs for f in sorted((Path(run.path) / "model_diff").glob("*/diff.json"))]
    return [read_change(file.parent, probes, n_boot) for file in files]


def read_change(
    folder: Path, probes: dict[str, np.ndarray[Any, Any]] | None = None, n_boot: int = 500
) -> Change:
    """One comparison from its folder. Raises AnalysisError for one of another schema version, RunDamaged for one that
    was changed since."""
    hold(folder)
    try:
        info = json.loads((folder / "diff.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AnalysisError(
            f"{folder / 'diff.json'} cannot be read ({error}); run `wolfscope diff` again"
        ) from error
    if info.get("schema_version") != VERSION:
        raise AnalysisError(
            f"{folder / 'diff.json'} has schema version {info.get('schema_version')}, this version reads {VERSION}; "
            "run `wolfscope diff` again"
        )

    def table(name: str) -> pl.DataFrame:
        path = folder / f"{name}.parquet"
        return pl.read_parquet(path) if path.is_file() else pl.DataFrame()

    tokens, counts = table("tokens"), table("acts")
    carried, by_latents = table("carried"), table("features_carried")
    directions = load_file(folder / "directions.safetensors")
    counts = counts if len(counts) else pl.DataFrame(schema=COUNTS)
    return Change(
        info["a"], info["b"], str(folder.parent.parent), tokens["game_id"].n_unique(),
        differences(counts, 2 * n_boot), course(counts, n_boot), by_segment(tokens, n_boot), by_word(tokens),
        triggers(table("decisions"), n_boot), table("partings"), with_probe(table("layers"), directions, probes or {}),
        carried_shares(carried, n_boot) if len(carried) else pl.DataFrame(), table("features"),
        carried_shares(by_latents, n_boot) if len(by_latents) else pl.DataFrame(),
    )  # fmt: skip
