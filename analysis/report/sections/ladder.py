"""The report's section on how deep the players read: stated and represented belief between the rungs of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.beliefs.followers import FOLLOWERS
from analysis.data.captures import checkpoints_of
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.models.ladder import REPRESENTED, STATED, ladder
from analysis.report import figures, training_charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, tokens_text


def means(game: str) -> str:
    """What the figure shows, in words."""
    return (
        "Grey: observers that know the scripted players' policies and use the evidence only up to a rung. "
        f"{FOLLOWERS[game].MEANS}. Represented: the probe, trained on other games. Stated: what the model answers when "
        "asked."
    )


def ladder_block(
    e: Evaluation | None,
    beliefs: pl.DataFrame,
    runs: Sequence[tuple[str, Any]],
    settings: Settings,
    numbers: Numbers,
    game: str,
) -> Block:
    """F12: one row a source for one model; by tokens trained for several."""
    block = Block("ladder", "F12. How deep does it read?")
    if e is None:
        block.add(note="Not drawn: the headline target was not evaluated.")
        return block
    if game not in FOLLOWERS:
        block.add(note=f"Not drawn: no observers of the game {game} use evidence up to a rung.")
        return block
    rungs = FOLLOWERS[game].RUNGS
    found, absent = ladder(e, beliefs, checkpoints_of(e.target, runs), rungs, settings)
    for text in absent:
        block.add(note=f"Not drawn for {text}.")
    if not len(found):
        return block
    numbers.add("F12_ladder", found, target=e.target.name)
    models = found["model"].unique(maintain_order=True).to_list()
    last = found.filter(pl.col("model") == models[-1])
    sample = f"n = {last['n_rows'][0]:,} rows of {last['n_games'][0]:,} games"
    if len(models) == 1:
        drawn = figures.forest(
            _forest(last), "AUROC of the rungs, of what is stated and of what is represented"
        )
        sample += ", drawn at random where there are more" if last["n_games"][0] < e.target.n_games else ""
    else:
        drawn = training_charts.ladder(
            _labelled(found), rungs, "AUROC by tokens trained, between the rungs of evidence"
        )
        sample += f" for {_name(models[-1])}; intervals over games"
    unasked = "" if STATED in set(found["source"]) else " No belief was stated in this run."
    block.add(
        figure=Figure(
            "F12", "F12", "Between which rungs of evidence do its stated and its represented belief stand?", drawn,
            f"{means(game)} {_verdicts(last, rungs, len(models) > 1)}{unasked} {sample}.",
        )
    )  # fmt: skip
    if len(models) == 1:
        block.add(
            note="Along training: give runs of several checkpoints to one report (models whose names end in the tokens "
            "trained; `wolfscope checkpoints` writes the small model's), or capture checkpoints on this run's contexts."
        )
    return block


def _verdicts(last: pl.DataFrame, rungs: Sequence[str], many: bool) -> str:
    """Where each of the model's two beliefs stands, paired over games."""
    said = []
    for source in (STATED, REPRESENTED):
        row = last.filter(pl.col("source") == source)
        if not len(row):
            continue
        above, below = row["above"][0].to_list(), row["below"][0].to_list()
        beside = [r for r in rungs if r not in above and r not in below]
        parts = [
            f"{words} {', '.join(names)}"
            for words, names in (("above", above), ("not told apart from", beside), ("below", below))
            if names
        ]
        said.append(f"{source.capitalize()} {row['auroc'][0]:.3f}: {'; '.join(parts)}.")
    return ("At the last: " if many else "") + " ".join(said) + " (Paired over games, 95%.)"


def _name(model: str) -> str:
    return model.split("@")[0].rsplit("/", 1)[-1]


def _forest(last: pl.DataFrame) -> pl.DataFrame:
    kinds = {REPRESENTED: "probe", STATED: "stated"}
    return last.with_columns(
        name=pl.col("source"), kind=pl.col("source").replace_strict(kinds, default="baseline")
    ).sort("auroc", descending=True, maintain_order=True)


def _labelled(found: pl.DataFrame) -> pl.DataFrame:
    steps = [
        _name(model) if tokens is None else tokens_text(tokens)
        for model, tokens in found.select("model", "tokens").iter_rows()
    ]
    return found.with_columns(step=pl.Series(steps))
