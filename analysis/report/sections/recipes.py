"""Named comparisons on the same rows and folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from analysis.evaluation.evaluate import Begun, Evaluation, Settings
from analysis.evaluation.recipes import INSTRUCTED, recipes
from analysis.report.block import Block
from analysis.report.page import Numbers, Table, title_of


def with_interval(row: Mapping[str, Any]) -> str:
    """An AUROC and its interval over games, as a cell of a table."""
    return f"{row['auroc']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"


def tried(e: Evaluation | Begun, settings: Settings) -> pl.DataFrame:
    """The recipes of one target."""
    return recipes(e, settings.seed, settings.n_boot // 4)


def recipes_block(
    done: Sequence[Evaluation], known: Mapping[str, pl.DataFrame], settings: Settings, numbers: Numbers
) -> Block:
    """Named comparisons. known: what was `tried` already, by the target's name."""
    block = Block("recipes", "Other recipes on the same rows and folds")
    frames = []
    for e in done:
        frame = known[e.target.name] if e.target.name in known else tried(e, settings)
        numbers.add("T2_recipes", frame, target=e.target.name)
        frames.append(frame.with_columns(target=pl.lit(title_of(e.target.name))))
    if frames:
        long = pl.concat(frames)
        names = long["target"].unique(maintain_order=True).to_list()
        values = {(r["recipe"], r["target"]): with_interval(r) for r in long.to_dicts()}
        words = dict(long.select("recipe", "what").reverse().iter_rows())
        recipes_shown = long["recipe"].unique(maintain_order=True).to_list()
        block.add(
            table=Table(
                ["recipe", *names, ""],
                [[r, *(values.get((r, name), "") for name in names), words[r]] for r in recipes_shown],
                tuple(range(1, 1 + len(names))),
                ["probe" if r == "logistic" else "" for r in recipes_shown],
            )
        )
    have = {r.variant for e in done for r in e.target.activations}
    if not set(INSTRUCTED) <= have:
        block.add(
            note="Not compared: the instructed-pair honesty probe. It needs the same decisions captured under a line "
            "that asks to be honest and under one that asks to be dishonest: `wolfscope capture RUN --variant "
            "instructed_honest --variant instructed_lie`. A model can be asked if its tokenizer has the words of that "
            "line, as those of general language models have. The small model of this package cannot: its few words are "
            "those of the game, it was never given an instruction, and the command says so and captures nothing."
        )
    return block
