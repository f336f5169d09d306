"""The report's section on training: a probe over checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.data.captures import checkpoints_of
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.evaluation.prepare import Prepared, posterior_of
from analysis.models.checkpoints import follow
from analysis.report import training_charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, title_of, tokens_text


def training_block(
    e: Evaluation | None,
    prepared: Prepared,
    runs: Sequence[tuple[str, Any]],
    settings: Settings,
    numbers: Numbers,
) -> Block:
    """The course of the headline target over checkpoints."""
    block = Block("training", "Training")
    course = pl.DataFrame()
    if e is not None:
        found = checkpoints_of(e.target, runs)
        course = follow(e, found, posterior_of(e.target, prepared.watched.beliefs), settings)
    if len(course) and e is not None:
        _course(block, e, course, numbers)
    elif e is None:
        block.add(note="No course over training: the headline target was not evaluated.")
    else:
        block.add(
            note="No course over training: fewer than two other checkpoints were captured on these contexts at site "
            f"{e.target.activations[0].site}. `wolfscope capture RUN --model CHECKPOINT --site "
            f"{e.target.activations[0].site}` captures one."
        )
    return block


def _course(block: Block, e: Evaluation, course: pl.DataFrame, numbers: Numbers) -> None:
    numbers.add("F11_checkpoints", course, target=e.target.name)
    label = pl.when(pl.col("tokens").is_null()).then(pl.lit("as played"))
    shown = course.with_columns(step=label.otherwise(pl.col("tokens").map_elements(tokens_text, pl.String)))
    own = course.filter(pl.col("what") == "own probe")
    first, last = own.row(0, named=True), own.row(-1, named=True)
    grown = "more than" if last["low"] > first["high"] else "not clearly more than"
    block.add(
        figure=Figure(
            "F11", "F11", f"When in training does “{title_of(e.target.name).lower()}” become readable?",
            training_charts.checkpoints(shown, "AUROC and R2 by tokens trained"),
            "The same contexts, rows and folds through every checkpoint; bands are 95% over games, dots chance. Own "
            "probe: trained on the checkpoint, layer chosen inside. Final model's direction: trained on the model that "
            f"played, other games, applied as it is. R2: of the ideal reader's log-odds. The model that played reads "
            f"{last['value']:.3f}, {grown} the first checkpoint ({first['value']:.3f}), judged by whether the bands "
            f"touch. n = {last['n_rows']:,} rows of {last['n_games']:,} games.",
        )
    )  # fmt: skip
