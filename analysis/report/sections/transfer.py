"""Transfer between presets, lexicons and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.evaluation import transfer
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.report import charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, title_of


def transfer_block(
    done: Sequence[Evaluation], factors: pl.DataFrame, settings: Settings, numbers: Numbers
) -> Block:
    """F6, and the course over checkpoints where the groups are models."""
    block = Block("transfer", "F6. Transfer")
    for e in done:
        groups = transfer.groupings(e.target, factors)
        for by, labels in groups.items():
            found, small = transfer.transfer(e.target, by, labels, settings.n_boot // 4, settings.seed)
            for text in small:
                block.add(note=f"{title_of(e.target.name)}, by {by}: left out {text}.")
            if found["train"].n_unique() < 2:
                continue
            numbers.add("F6_transfer", found, target=e.target.name)
            block.add(
                figure=Figure(
                    f"F6-{by}-{e.target.name}", "F6",
                    f"{title_of(e.target.name)}: does the probe hold for another {by}?",
                    charts.matrix(found, f"Transfer between {by}s"),
                    f"{transfer.in_words(found)} Framed: held out within the group. Layer and penalty chosen on the "
                    f"training group. Games: {_sizes(found)}.",
                )
            )  # fmt: skip
    if not block.parts:
        block.add(
            note="One run, one model, one preset and one lexicon: nothing to transfer between. Give several runs "
            "(other presets, lexicons, checkpoints) to the same report."
        )
    return block


def _sizes(found: pl.DataFrame) -> str:
    sizes = found.select("test", "n_games").unique(maintain_order=True)
    return ", ".join(f"{name} {n:,}" for name, n in sizes.rows())
