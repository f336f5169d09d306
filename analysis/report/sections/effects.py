"""Effects of changes in continued games."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.behaviour.effects import doses, effects_of, pooled
from analysis.report import charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table, p_text


def effects_block(branches: Sequence[Any], numbers: Numbers) -> Block:
    """T6 and F8."""
    block = Block("effects", "T6. Causal effects")
    if not branches:
        block.add(
            note="No branch was given: nothing was changed, steered or ablated, and all above is correlation. "
            "`wolfscope branch` makes branches; name their folders beside the run's in `wolfscope report`."
        )
        return block
    found, absent = effects_of(branches)
    numbers.add("T6_effects", found)
    rows = [
        [r["change"], r["what"], f"{r['unchanged']:.2f}", f"{r['changed']:.2f}",
         f"{r['difference']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}]", f"{r['n']:,}"]
        for (_,), g in found.filter(pl.col("kind").is_in(["outcome", "next_exile", "votes", "belief"])).group_by(
            "branch", maintain_order=True)
        for r in g.sort(pl.col("difference").abs(), descending=True, maintain_order=True).head(6).to_dicts()
    ]  # fmt: skip
    over_games = pooled(found)
    if len(over_games):
        numbers.add("T6_pooled", over_games)
        pooled_rows = [
            [r["change"], r["what"], f"{r['difference']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}]",
             p_text(min(1.0, r["p"] * len(over_games))), f"{r['n_games']:,}", f"{r['n']:,}"]
            for r in over_games.sort("p", maintain_order=True).head(12).to_dicts()
        ]  # fmt: skip
        block.add(
            note="The same change in many games: each game one vote, intervals over games; p-values times the "
            f"{len(over_games)} effects tested (Bonferroni).",
            table=Table(
                ["change", "effect on", "difference [95%]", "adjusted p", "games", "pairs"],
                pooled_rows,
                (2, 3, 4, 5),
            ),
        )
    if rows:
        block.add(
            note="Pairs of continuations of one recorded game, with the change and without, from the same seeds. "
            "Intervals are row by row; the six largest effects of each branch are shown, which is a choice after the "
            "fact. One game each: an effect here is an effect in this game.",
            table=Table(
                ["change", "effect on", "without", "with", "difference [95%]", "pairs"], rows, (2, 3, 4, 5)
            ),
        )
    dosed = doses(found)
    if len(dosed):
        numbers.add("F8_doses", dosed)
        top = (
            dosed.group_by("what", maintain_order=True)
            .agg(size=pl.col("difference").abs().max())
            .sort("size", descending=True, maintain_order=True)["what"]
        )
        shown = dosed.filter(pl.col("what").is_in(top.head(4).to_list()))
        block.add(
            figure=Figure(
                "F8", "F8", "Does a stronger push do more, and the opposite push the opposite?",
                charts.doses(shown, "Effect against strength of the push"),
                f"{dosed['scale'].n_unique()} strengths of one vector; n = {min(dosed['n'].to_list())} pairs or more "
                "each; 95% intervals.",
            )
        )  # fmt: skip
    for text in absent:
        block.add(note=f"{text[0].upper()}{text[1:]}.")
    return block
