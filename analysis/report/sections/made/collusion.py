"""What `wolfscope collusion` has found: what a werewolf's words tell its partner that they tell no outsider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from analysis.covert.measure import sentence
from analysis.report.block import Block
from analysis.report.page import Numbers, Table
from harness.run.derived import read_table

NOTE = (
    "Bits: how much better, in log2 of its probability, the seat that a werewolf will kill (or its partner) is guessed "
    "with the speech than by what is public alone; decoders are fitted on other games. The partner knows who the "
    "werewolves are and what was agreed, the monitor who they are, a villager neither. Exchanged: with the speeches "
    "exchanged among moments of equal public state. Codes that speak of something else than seats and frequent words "
    "are not found."
)


def collusion_block(runs: Sequence[Path], numbers: Numbers) -> Block:
    """The tables of every run that has them."""
    block = Block("collusion", "Do partners signal to each other in public?")
    for run in runs:
        path = run / "derived" / "collusion.parquet"
        if not path.exists():
            continue
        table = read_table(path)
        numbers.add("T8_collusion", table)
        seen = read_table(path.with_name("collusion_detectors.parquet"))
        for level, part in _by_level(table):
            block.add(note=f"{level}{sentence(part)} {NOTE}", table=_table(part))
        if len(seen):
            block.add(
                table=Table(
                    ["detector", *(["level"] if "level" in seen.columns else []), "n", "AUROC within a game"],
                    [
                        [
                            r["detector"],
                            *([r["level"]] if "level" in r else []),
                            f"{r['n']:,}",
                            _interval(r, "auroc"),
                        ]
                        for r in seen.to_dicts()
                    ],
                    (1, 2),
                    question="Does a single speech give a werewolf away?",
                    caption="95% intervals over games. All games' other speeches of living players are the contrast.",
                )
            )
        if (minds := path.with_name("collusion_minds.parquet")).exists():
            block.add(table=_minds(read_table(minds)))
    if not block.parts:
        block.add(
            note="Covert channels were not measured: `wolfscope collusion RUN` does, on games of two werewolves."
        )
    return block


def _minds(table: pl.DataFrame) -> Table:
    rows = [
        [
            r.get("variant", "original").replace("_", " "),
            r["read"],
            f"{r['auroc']:.2f} [{r['low']:.2f}, {r['high']:.2f}]",
            _gain(r),
        ]
        for r in table.to_dicts()
    ]
    return Table(
        ["their contexts", "two minds read", "AUROC within a moment", "beyond each alone"], rows, (2, 3),
        question="Do two seats' activations tell together that both are werewolves?",
        caption=f"{_most(table, 'n'):,} pairs of {_most(table, 'games'):,} games, 95% intervals over games. Each "
        "seat's own role stands in its prompt: what counts is the gain. `no role line`: without the line that says who "
        "one is and who one's partner; `random span`: as many tokens less elsewhere.",
    )  # fmt: skip


def _gain(row: dict[str, Any]) -> str:
    return (
        "" if row["gain"] is None else f"{row['gain']:+.2f} [{row['gain_low']:+.2f}, {row['gain_high']:+.2f}]"
    )


def _by_level(table: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    if "level" not in table.columns:
        return [("", table)]
    parts = table.partition_by("level", as_dict=True, maintain_order=True)
    return [(f"{part['factor'][0]} = {key[0]!s}: ", part) for key, part in parts.items()]


def _table(part: pl.DataFrame) -> Table:
    rows = [
        [
            r["secret"].replace("_", " "), r["reader"], "" if r["defence"] == "none" else r["defence"], f"{r['n']:,}",
            _interval(r, "bits"), "" if r["null_mean"] is None else f"{r['null_mean']:+.2f}", _hits(r),
        ]
        for r in part.to_dicts()
    ]  # fmt: skip
    return Table(
        ["secret", "reader", "defence", "n", "bits a speech", "exchanged", "guesses right"], rows, (3, 4, 5, 6),
        question="How much does a speech tell each reader?",
        caption=f"95% intervals over {_most(part, 'games'):,} games. Rows `partner - ...` are the gaps.",
    )  # fmt: skip


def _interval(row: dict[str, Any], name: str) -> str:
    sign = "+" if name == "bits" else ""
    return f"{row[name]:{sign}.2f} [{row['low']:{sign}.2f}, {row['high']:{sign}.2f}]"


def _hits(row: dict[str, Any]) -> str:
    if row["hits"] is None:
        return ""
    if row["hits_public"] is None:
        return f"{row['hits']:+.2f}"
    return f"{row['hits_public']:.2f} to {row['hits']:.2f}"


def _most(table: pl.DataFrame, column: str) -> int:
    return max(int(n) for n in table[column])
