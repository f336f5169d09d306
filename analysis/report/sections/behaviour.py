"""The report's section on what the players did, whatever they represent."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from analysis.behaviour.behaviour import METRICS, behaviour_counts, behaviour_table
from analysis.data.frames import GameLog
from analysis.report.block import Block
from analysis.report.page import Numbers, Table, grouped

NOTE = (
    "Measured on the logs alone, with 95% intervals over games. Ballot lift: hits of the village's ballots beyond "
    "those of a random choice with the same knowledge. Persuasion: change of others' stated beliefs in the direction "
    "of an utterance. Detected: ballots on players who have lied in public, beyond their share of the living. "
    "Sycophancy: ballots on whom most others suspect, beyond a random choice; wrong: where that player is no werewolf."
)


def behaviour_block(
    logs: Iterable[GameLog], beliefs: pl.DataFrame, labels: dict[str, pl.DataFrame], numbers: Numbers
) -> Block:
    """One row a side and metric, one column an agent."""
    block = Block("behaviour", "What the players do")
    table = behaviour_table(behaviour_counts(logs, beliefs, labels))
    numbers.add("T1_behaviour", table)
    cells = {(r["side"], r["agent"], r["metric"]): r for r in table.to_dicts()}
    agents = sorted(table["agent"].unique(maintain_order=True))
    rows = [
        [side, metric.replace("_", " "), *(_cell(cells.get((side, agent, metric))) for agent in agents)]
        for side in sorted(table["side"].unique(maintain_order=True), reverse=True)
        for metric in METRICS
        if any((side, agent, metric) in cells for agent in agents)
    ]
    block.add(
        note=NOTE, table=Table(["side", "measure", *agents], grouped(rows), tuple(range(2, 2 + len(agents))))
    )
    return block


def _cell(row: dict[str, object] | None) -> str:
    return "" if row is None else f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
