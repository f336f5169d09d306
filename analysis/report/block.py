"""The report's further sections: recipes, transfer, effects, the appendix.

A block is a heading with parts; a part is a table, a figure or a note. What cannot be shown says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from statsmodels.stats.proportion import proportion_confint

from analysis.behaviour.effects import doses, effects_of, pooled
from analysis.evaluation import transfer
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.evaluation.recipes import INSTRUCTED, recipes
from analysis.report import charts
from analysis.report.page import Figure, Numbers, Table, p_text, share, title_of

PLANTED = Path(__file__).parents[1] / "planted" / "planted_truth.json"


@dataclass
class Part:
    """One thing of a block; the fields that are set are shown in this order."""

    note: str = ""
    table: Table | None = None
    figure: Figure | None = None


@dataclass
class Block:
    """One section of the page."""

    id: str
    title: str
    parts: list[Part] = field(default_factory=list)

    def add(self, *, note: str = "", table: Table | None = None, figure: Figure | None = None) -> None:
        """Appends a part."""
        self.parts.append(Part(note, table, figure))


def recipes_block(done: Sequence[Evaluation], settings: Settings, numbers: Numbers) -> Block:
    """Named comparisons."""
    block = Block("recipes", "Other recipes on the same rows and folds")
    frames = []
    for e in done:
        frame = recipes(e, settings.seed)
        numbers.add("T2_recipes", frame, target=e.target.name)
        frames.append(frame.with_columns(target=pl.lit(title_of(e.target.name))))
    if frames:
        long = pl.concat(frames)
        names = long["target"].unique(maintain_order=True).to_list()
        values = {(r["recipe"], r["target"]): f"{r['auroc']:.3f}" for r in long.to_dicts()}
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
    have = {r.variant for e in done for r in e.target.readouts}
    if not set(INSTRUCTED) <= have:
        block.add(
            note="Not compared: the instructed-pair honesty probe. It needs the same decisions captured under a line "
            "that asks to be honest and under one that asks to be dishonest: `wolfscope capture RUN --variant "
            "instructed_honest --variant instructed_lie`. A model can be asked if its tokenizer has the words of that "
            "line, as those of general language models have. The small model of this package cannot: its few words are "
            "those of the game, it was never given an instruction, and the command says so and captures nothing."
        )
    return block


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
                    f"{title_of(e.target.name)}: does the read-out hold for another {by}?",
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
        for r in g.sort(pl.col("difference").abs(), descending=True).head(6).to_dicts()
    ]  # fmt: skip
    over_games = pooled(found)
    if len(over_games):
        numbers.add("T6_pooled", over_games)
        pooled_rows = [
            [r["change"], r["what"], f"{r['difference']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}]",
             p_text(min(1.0, r["p"] * len(over_games))), f"{r['n_games']:,}", f"{r['n']:,}"]
            for r in over_games.sort("p").head(12).to_dicts()
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
            dosed.group_by("what")
            .agg(size=pl.col("difference").abs().max())
            .sort("size", descending=True)["what"]
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


def appendix(numbers: Numbers) -> Block:
    """What the pipeline does where the truth is known, from the table that the package carries."""
    block = Block("planted", "Appendix. This pipeline on planted truth")
    if not PLANTED.is_file():
        block.add(
            note="Not computed in this installation; `python -m analysis.planted.table` makes the table."
        )
        return block
    frame = pl.read_json(PLANTED)
    numbers.add("A1_planted", frame)
    known = [
        [r["plant"], f"{r['n_games']}", f"{r['strength']:g}", f"{r['repeats']}"] for r in frame.to_dicts()
    ]
    rows = [
        [
            *key,
            _rate(r, "supported"),
            share(r["not_beyond"]),
            share(r["underpowered"]),
            _rate(r, "null_beaten"),
        ]
        for key, r in zip(known, frame.to_dicts())
    ]
    head = ["planted", "games", "strength", "data sets"]
    block.add(
        note="Synthetic activations whose answer is known, through the same evaluation as above: a signal must be "
        "supported, a public count in disguise (confound) and nothing at all must not; in silence not even the public "
        "count tells anything. Where nothing is planted, 5% should lie above the null. In brackets, what that many "
        "data sets leave open (Wilson, 95%).",
        table=Table(
            [*head, "supported", "not beyond baseline", "underpowered", "above the null"],
            rows,
            tuple(range(1, 8)),
        ),
    )
    rows = [
        [*key, _rate(r, "interval_off_half"), share(r["rows_split_beaten"]), share(r["best_layer_beaten"])]
        for key, r in zip(known, frame.to_dicts())
    ]
    block.add(
        note="How often the 95% interval of the probe's AUROC excludes .5 (5% of the times is right where nothing is "
        "planted), beside published mistakes on the same data: how often they would have announced a signal, their "
        "interval over rows lying above .5.",
        table=Table(
            [*head, "interval excludes .5", "mistake: rows at random", "mistake: best layer on test rows"], rows,
            tuple(range(1, 7)),
        ),
    )  # fmt: skip
    return block


def _rate(row: dict[str, Any], column: str) -> str:
    """A share of the data sets with its Wilson interval."""
    low, high = proportion_confint(round(row[column] * row["repeats"]), row["repeats"], method="wilson")
    return f"{row[column]:.0%} [{low:.0%}, {high:.0%}]"
