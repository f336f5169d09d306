"""T8: what a player thinks, says and does when it is told that its reasoning is read, and who still finds its lies."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.effects.outcomes import Experiment
from analysis.reasoning.watched import ALARMS, BASE, DETECTORS, MEASURES, detected, rates, read_turns
from analysis.report.block import Block
from analysis.report.page import Numbers, Table


def add_watched(block: Block, experiment: Experiment, numbers: Numbers) -> list[str]:
    """One experiment's part: its tables; what was found, in words."""
    turns, name = read_turns(experiment.path), experiment.design["name"]
    shams = {arm["of"]: arm["id"] for arm in experiment.arms if arm["control"] == "sham"}
    told, found = rates(turns, shams), detected(turns)
    numbers.add("T8_turns", told, experiment=name)
    numbers.add("T8_detected", found, experiment=name)
    words = sentences(turns, told, found)
    block.add_found(name, experiment.design["question"], words)
    block.add(table=_rates(told, name))
    if len(found):
        block.add(table=_detected(found, name))
    return words


def sentences(turns: pl.DataFrame, told: pl.DataFrame, found: pl.DataFrame) -> list[str]:
    """What was found, from the numbers of the tables: of each arm, whether the plan and the act went."""
    said, shams = [], set(told["against"].drop_nulls())
    for arm in [a for a in told["arm"].unique(maintain_order=True) if a != BASE and a not in shams]:
        at = {row["measure"]: row for row in told.filter(pl.col("arm") == arm).iter_rows(named=True)}
        plan = at["deception"]
        act = at["lie"] if turns["lies"].sum() else at.get("against")
        if act is not None:
            what = "a lie" if act["measure"] == "lie" else "a choice against another side"
            said.append(
                f"Under {arm}, {_moved(plan, 'turns that plan to deceive')}, and {_moved(act, f'turns with {what}')}."
            )
    for detector in DETECTORS:
        areas = [
            f"{row['arm']} {row['auroc']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            for row in found.filter(pl.col("detector") == detector).iter_rows(named=True)
        ]
        if areas:
            said.append(f"Lies are told from {detector} with AUROC {', '.join(areas)}.")
    if not len(found):
        said.append("Too few turns lie for a detector to be fitted.")
    return said


def _moved(row: dict[str, Any], what: str) -> str:
    if row["low"] is None or row["low"] != row["low"]:
        return f"{what} are {row['value']:.0%} ({row['change']:+.1%})"
    verdict = "fewer" if row["high"] < 0 else "more" if row["low"] > 0 else "neither fewer nor more"
    return f"{what} are {verdict} ({row['value']:.0%}, {row['change']:+.1%} [{row['low']:+.1%}, {row['high']:+.1%}])"


def _rates(told: pl.DataFrame, name: str) -> Table:
    rows = [
        [text, r["arm"], f"{r['value']:.3f}", _change(r, ""), _change(r, "beyond"), f"{r['n']:,} / {r['n_games']:,}"]
        for measure, text in MEASURES.items()
        for r in told.filter(pl.col("measure") == measure).iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        ["", "arm", "value", "change [95%]", "beyond the sham's [95%]", "moments / games"], rows, (2, 3, 4, 5), (),
        f"T8-turns-{name}", "What is thought, said and done",
        "Whole turns taken anew under each arm with the same seeds, against the unchanged turns of the same moments. "
        "Plans by rule, lies by the exact label. 95% intervals over games.",
    )  # fmt: skip


def _change(row: dict[str, Any], kind: str) -> str:
    value, low, high = (row[key] for key in (("beyond", "beyond_low", "beyond_high") if kind else
                                             ("change", "low", "high")))  # fmt: skip
    if value is None:
        return ""
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" if low == low else f"{value:+.3f}"


def _detected(found: pl.DataFrame, name: str) -> Table:
    rows = [
        [r["detector"], r["arm"], f"{r['auroc']:.2f} [{r['low']:.2f}, {r['high']:.2f}]",
         f"{r['recall']:.2f} [{r['recall_low']:.2f}, {r['recall_high']:.2f}]", f"{r['fpr']:.3f}",
         f"{r['n_lies']:,} / {r['n']:,} / {r['n_games']:,}"]
        for r in found.iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        ["reads", "arm", "AUROC [95%]", "recall [95%]", "false alarms", "lies / turns / games"], rows, (2, 3, 4, 5), (),
        f"T8-detected-{name}", "Who still finds the lies?",
        f"Detectors fitted on unchanged turns of other games. Recall and false alarms above the bound that "
        f"{ALARMS:.0%} of unchanged turns without a lie pass. 95% intervals over games.",
    )  # fmt: skip
