"""F13 and T7: is the reasoning where the decision is made, which steps matter, how determined is it, is it faithful?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from analysis.effects.outcomes import Experiment, experiments_of, read_experiment
from analysis.reasoning.commitment import MEASURES, commitment_table, mean_curve
from analysis.reasoning.determinism import determinism_table
from analysis.reasoning.faithfulness import acts, conflicts, writing
from analysis.reasoning.importance import NULL_ARM, SMOOTHING, importance_table
from analysis.reasoning.read import Reasonings, has_reasoning, judge_agreement, read_reasonings
from analysis.reasoning.watched import has_turns
from analysis.report import effect_charts, reasoning_charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table
from analysis.report.sections.made.watched import add_watched

ABSENT = (
    "reasoning (where decisions are made, which steps matter): `wolfscope experiment thinking-steps RUN` on games of a "
    "player that reasons"
)
REPEATED = {
    "decision": "entropy of the decision, bits",
    "within": "of that after one continuation",
    "next_step": "entropy of the next step, bits",
    "repetition": "pairs that repeat each other exactly",
    "played": "next step as it was played",
}
CONFLICTS = {
    "conflict": "the words and the inside lead to different players",
    "written": "then the choice is whom the words suspect",
    "inside": "then it is whom the inside suspects",
    "neither": "then it is somebody else",
}
WRITTEN = {
    "deception": "continuations that plan to deceive",
    "n_steps": "steps",
    "moved": "change of the decision (total variation)",
}


def reasoning_block(runs: Sequence[Path], numbers: Numbers) -> Block:
    """The section: every experiment in the runs' folders that read reasoning."""
    block = Block("reasoning", "Is the reasoning where the decision is made?")
    for path in [path for run in runs for path in experiments_of(run) if has_reasoning(path)]:
        add_reasoning(block, read_experiment(path), numbers)
    for path in [path for run in runs for path in experiments_of(run) if has_turns(path)]:
        add_watched(block, read_experiment(path), numbers)
    if block.empty:
        block.absent.append(ABSENT)
    return block


def add_reasoning(block: Block, experiment: Experiment, numbers: Numbers) -> list[str]:
    """One experiment's part: its figures and tables; what was found, in words, which is also the first note."""
    r, name = read_reasonings(experiment.path), experiment.design["name"]
    committed, steps = commitment_table(r), importance_table(r)
    repeated, at_odds, under = determinism_table(r), conflicts(r), writing(r)
    moved = acts(experiment)
    for key, frame in (
        ("commitment", committed), ("importance", steps), ("determinism", repeated), ("conflicts", at_odds),
        ("acts", moved), ("writing", under),
    ):  # fmt: skip
        numbers.add(f"T7_{key}", frame, experiment=name)
    found = sentences(r, committed, steps, at_odds)
    block.add(note=" ".join(found))
    block.add(figure=_curve(r, name))
    block.add(table=_commitment(committed, name))
    if len(steps):
        block.add(figure=_importance(steps, name))
    if len(repeated):
        block.add(table=_determinism(repeated, name))
    if len(moved) or len(at_odds):
        block.add(table=_faithful(moved, at_odds, name))
    if len(under):
        block.add(table=_writing(under, name))
    return found


def sentences(
    r: Reasonings, committed: pl.DataFrame, steps: pl.DataFrame, at_odds: pl.DataFrame
) -> list[str]:
    """What was found, from the numbers of the tables."""
    value = {
        row["measure"]: row for row in committed.filter(pl.col("faction") == "all").iter_rows(named=True)
    }
    moved, after, fixed = value["moved"], value["after"], value["from_start"]
    first = (
        f"Without its reasoning the decision would differ by {_with(moved)} in total variation; "
        f"{fixed['value']:.0%} of the {moved['n']:,} decisions are fixed before the first word, and "
        f"{_with(after, '.0%')} of the reasoning is written after the decision is fixed "
        f"({moved['n_games']:,} games)."
    )
    found = [first]
    whole = steps.filter(pl.col("measure") == "all")
    if len(whole):
        row = whole.row(0, named=True)
        verdict = "matters beyond the null" if row["low"] > 0 else "is not told from the null"
        found.append(
            f"Another step in its place {verdict}: {_with(row)} nats beyond the split-half null of {row['null']:.3f} "
            f"({row['n']:,} steps)."
        )
        unmoved = steps.filter(pl.col("measure") == NULL_ARM)
        if len(unmoved):
            found[-1] += (
                f" The null arm, which says the same step again: {_with(unmoved.row(0, named=True))}."
            )
    odds = {row["measure"]: row for row in at_odds.filter(pl.col("faction") == "all").iter_rows(named=True)}
    if "written" in odds:
        w, i = odds["written"], odds["inside"]
        found.append(
            f"Where the words and the belief inside lead to different players ({w['n']:,} decisions), the choice is "
            f"whom the words suspect in {_with(w, '.0%')}, whom the inside suspects in {_with(i, '.0%')}."
        )
    judged = judge_agreement(r)
    if judged is not None:
        found.append(
            f"Rules and judge give {judged[0]:.0%} of {judged[2]:,} steps the same category (kappa {judged[1]:.2f})."
        )
    cold = float(r.moments["cold"].to_numpy().max(initial=0.0))
    again = r.moments["repeated"].drop_nulls()
    if len(again):
        same = float(again.to_numpy().mean())
        found.append(
            f"With nothing cached the demanded answers change by at most {cold:.1g} nats, and {same:.0%} of "
            "the continuations drawn again by the same seeds are the same tokens."
        )
    return found


def _with(row: dict[str, Any], form: str = ".3f") -> str:
    """A value with its interval, where there is one: it takes two games."""
    value = format(row["value"], form)
    known = row["low"] == row["low"]
    return f"{value} [{row['low']:{form}}, {row['high']:{form}}]" if known else value


def _curve(r: Reasonings, name: str) -> Figure:
    points = mean_curve(r)
    return Figure(
        f"F13-{name}", "F13", "When is the decision made?",
        reasoning_charts.commitment(points, "Commitment curve"),
        f"What would be decided if the answer were demanded there, against all of the reasoning; mean of "
        f"{len(r.moments):,} decisions, 95% band over {r.moments['game'].n_unique():,} games.",
    )  # fmt: skip


def _commitment(table: pl.DataFrame, name: str) -> Table:
    factions = table["faction"].unique(maintain_order=True).to_list()
    rows = []
    for measure, text in MEASURES.items():
        cells = [_cell(table, measure=measure, faction=faction) for faction in factions]
        if any(cells):
            rows.append([text, *cells])
    return Table(
        ["", *factions], rows, tuple(range(1, 1 + len(factions))), (), f"T7-commitment-{name}",
        "Where in the reasoning is the decision made, and does the inside move before the words?",
        "Means over decisions, 95% intervals over games. The decision is fixed where the option that leads in the end "
        "leads from there on.",
    )  # fmt: skip


def _importance(steps: pl.DataFrame, name: str) -> Figure:
    rows = steps.select(
        name="measure", kind=pl.when(pl.col("measure") == "all").then(pl.lit("arm")).otherwise(pl.lit("control")),
        effect="value", low="low", high="high",
    )  # fmt: skip
    n = steps.filter(pl.col("measure") == "all")["n"].item()
    return Figure(
        f"F13-steps-{name}", "F13", "Which steps matter?",
        effect_charts.effects(rows, "importance beyond the split-half null, nats", "Importance of steps"),
        f"KL divergence (smoothed by {SMOOTHING:g}) of the decision after continuations that say something else there "
        f"from that after continuations from behind the step, less the same between halves of these. {n:,} steps, 95% "
        "intervals over games. The null arm: continuations from before the step that say the same there.",
    )  # fmt: skip


def _determinism(table: pl.DataFrame, name: str) -> Table:
    columns = table["written"].unique(maintain_order=True).to_list()
    rows = [
        [text, *(_cell(table, measure=measure, written=column, interval=False) for column in columns)]
        for measure, text in REPEATED.items()
    ]
    n = int(table["n"].sum() // max(1, table["measure"].n_unique()))
    return Table(
        ["share that is written", *columns], rows, tuple(range(1, 1 + len(columns))), (), f"T7-determinism-{name}",
        "How determined is it: the same prefix again?", f"{n:,} prefixes, each continued several times.",
    )  # fmt: skip


def _faithful(moved: pl.DataFrame, at_odds: pl.DataFrame, name: str) -> Table:
    factions = list(dict.fromkeys([*moved["faction"].to_list(), *at_odds["faction"].to_list()]))
    rows = []
    for measure in moved["measure"].unique(maintain_order=True):
        against = moved.filter(pl.col("measure") == measure)["against"][0]
        cells = [_cell(moved, measure=measure, faction=faction) for faction in factions]
        rows.append([f"{measure}, beyond {against}" if against == "sham" else str(measure), *cells])
    for measure, text in CONFLICTS.items():
        cells = [_cell(at_odds, measure=measure, faction=faction) for faction in factions]
        if any(cells):
            rows.append([text, *cells])
    return Table(
        ["", *factions], rows, tuple(range(1, 1 + len(factions))), (), f"T7-faithful-{name}",
        "Does the decision follow the words, the inside, or neither?",
        "Sufficiency: the reasoning is changed, all else stays. Necessity: all else is changed, the reasoning stays. "
        "Both in total variation of the decision. Conflicts: shares of decisions. 95% intervals over games.",
    )  # fmt: skip


def _writing(table: pl.DataFrame, name: str) -> Table:
    rows = [
        [r["arm"], r["faction"], WRITTEN[r["measure"]], f"{r['value']:.3f}",
         f"{r['change']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]", f"{r['n']:,} / {r['n_games']:,}"]
        for r in table.iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        ["arm", "side", "", "value", "change [95%]", "moments / games"], rows, (3, 4, 5), (), f"T7-writing-{name}",
        "What is written when the player is told something else of its reasoning?",
        "Reasoning written anew from the beginning under the arm, against the same without it.",
    )  # fmt: skip


def _cell(frame: pl.DataFrame, interval: bool = True, **where: str) -> str:
    rows = frame.filter(*(pl.col(key) == value for key, value in where.items()))
    if not len(rows):
        return ""
    row = rows.row(0, named=True)
    return _with(row, ".2f") if interval else f"{row['value']:.2f}"
