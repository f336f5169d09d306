"""Scores of a run by saved probes, record by record: the table that the viewer shows beside the game.

`RUN/derived/probe_scores.parquet` holds one row for each (record, viewer, subject) at the probe's own site, and one
for each token of the sites `tokens:...` that were captured. Nothing is fitted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.stats.errors import AnalysisError
from analysis.stats.threads import one_thread
from harness.run.derived import inputs_of, read_table, write_table

SCHEMA = {
    "game_id": pl.String, "seq": pl.Int32, "seat": pl.Int16, "subject": pl.Int16, "token_index": pl.Int32,
    "probe": pl.String, "score": pl.Float64,
}  # fmt: skip
INPUTS = ("decisions.parquet", "activations")
"""The inputs of the scores in a run folder."""
KEYS = ("game_id", "seq", "seat", "subject", "token_index")


class Place(Protocol):
    """Where something reads."""

    @property
    def site(self) -> str:
        """As in the store."""

    @property
    def layer(self) -> str:
        """As in the store."""


class Scorer(Protocol):
    """A saved probe, or another scorer of rows of one site and layer, such as a dictionary's latent."""

    @property
    def card(self) -> Place:
        """Where it reads."""

    def score(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """`(n_rows,)` of rows `(n_rows, d_model)`."""


def write_scores(run: Any, probes: Mapping[str, Scorer]) -> Path:
    """Score a run's captures with probes by name and write the table; rows of other probes in it are kept.

    `token_index` counts from the first token of the decision's output; tokens before it get no row. Raises
    AnalysisError where no captured row is at a probe's site, ActivationsError without captures.
    """
    path = Path(run.path) / "derived" / "probe_scores.parquet"
    store = run.activations()
    captured = sorted(store.scan().select("site").unique(maintain_order=True).collect()["site"].to_list())
    token_sites = [site for site in captured if site.startswith("tokens:")]
    found = []
    for name, probe in probes.items():
        lines, x = store.select(probe.card.layer, site=probe.card.site)
        if not len(lines):
            raise AnalysisError(
                f"probe {name!r} reads the site {probe.card.site!r}, and none of {run.path} is captured there "
                f"(captured: {', '.join(captured) or 'nothing'}); "
                f"run: wolfscope capture {run.path} --site {probe.card.site}"
            )
        if not probe.card.site.startswith("tokens:"):
            scores = lines.with_columns(score=pl.Series(_score(probe, x)), token_index=pl.lit(None, pl.Int32))
            found.append(_rows(scores, name))
        for site in token_sites:
            lines, x = store.select(probe.card.layer, site=site)
            scores = lines.with_columns(score=pl.Series(_score(probe, x)))
            found.append(_rows(_from_output(run, scores), name))
    table = pl.concat(found)
    if path.is_file():
        before = read_table(path, SCHEMA).select(list(SCHEMA))
        table = pl.concat([before.filter(~pl.col("probe").is_in(list(probes))), table])
    write_table(path, table.sort("probe", *KEYS, maintain_order=True), inputs_of([run.path], INPUTS))
    return path


def _score(probe: Scorer, x: NDArray[np.float32]) -> NDArray[np.float64]:
    with one_thread():
        return probe.score(x)


def _rows(scores: pl.DataFrame, name: str) -> pl.DataFrame:
    return scores.select(*KEYS, probe=pl.lit(name), score="score").cast(SCHEMA)  # type: ignore[arg-type]


def _from_output(run: Any, scores: pl.DataFrame) -> pl.DataFrame:
    """The scores with token indices counted from the start of each decision's output instead of its context."""
    keys = scores.select("game_id", "seq").unique(maintain_order=True)
    starts = [
        len(run.prompt_ids(game_id, seq))
        for game_id, seq in keys.sort("game_id", "seq", maintain_order=True).iter_rows()
    ]
    keys = keys.sort("game_id", "seq", maintain_order=True).with_columns(
        start=pl.Series(starts, dtype=pl.Int64)
    )
    joined = scores.join(keys, on=["game_id", "seq"], how="left", maintain_order="left")
    shifted = joined.with_columns(token_index=pl.col("token_index").cast(pl.Int64) - pl.col("start"))
    return shifted.filter(pl.col("token_index") >= 0)
