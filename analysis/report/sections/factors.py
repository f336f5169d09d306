"""The rungs of the headline target, one row a level of a factor."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.evaluation.evaluate import Evaluation, Skipped
from analysis.report.block import Block
from analysis.report.page import Numbers, Table, within


def factors_block(factor: str, found: Sequence[tuple[str, Evaluation | Skipped]], numbers: Numbers) -> Block:
    """S2: level by level."""
    block = Block("by", f"Level by level: {factor}")
    rows, frames = [], []
    for level, e in found:
        shown = level.split("@")[0]
        if isinstance(e, Skipped):
            block.absent.append(f"{factor} {shown}: {e.reason}")
            continue
        v = e.evidence
        verdicts = [r.verdict for r in e.rungs]
        rows.append(
            [
                shown,
                within(v.read),
                within(e.rungs[1].value, True),
                *verdicts,
                f"{v.n_rows:,}",
                f"{v.n_games:,}",
            ]
        )
        frames += [
            {"factor": factor, "level": level, "rung": r.number, "verdict": r.verdict, "value": r.value.value,
             "low": r.value.low, "high": r.value.high, "n_rows": r.n_rows, "n_games": r.n_games}
            for r in e.rungs
        ]  # fmt: skip
    if rows:
        numbers.add("S2_levels", pl.DataFrame(frames))
        columns = [factor, "AUROC [95%]", "beyond surface [95%]", "1", "2", "3", "4", "5", "rows", "games"]
        block.add(
            table=Table(
                columns, rows, tuple(range(1, 10)), (), "S2", f"Is it the same for every {factor}?",
                "Each level evaluated by itself, its own folds; intervals over games; p-values not corrected "
                "over levels.",
            )
        )  # fmt: skip
    return block
