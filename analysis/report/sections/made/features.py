"""Sparse dictionaries of the runs: the fight's verdicts and figure, and the most predictive latents as cards.

Nothing is computed here: `wolfscope features judge` and `features fight` write the tables beside each dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from analysis.features.fight import LATENTS, PROBE
from analysis.report.block import Block
from analysis.report.figures import BLUE, INK, MUTED, ORANGE, TEAL, data, svg
from analysis.report.page import Figure, Numbers, Table, p_text, title_of
from harness.features.saved import read_card
from harness.run.derived import read_table

SHOWN = 3
"""Dictionaries shown of a run at most: those whose fight is there, by name."""
CARDS = 4
"""Latents shown of each target."""
DRAWN = {
    LATENTS: ORANGE, "best k principal components": BLUE, "best k of a random rotation": MUTED,
    "best k latents, untrained model": TEAL,
}  # fmt: skip


def features_block(runs: Sequence[Path], numbers: Numbers) -> Block:
    """The section; empty with a note where no run has a dictionary that was fought out."""
    block = Block("features", "Do sparse dictionaries tell more than simple methods?")
    found = [f.parent for run in runs for f in sorted(run.glob("features/*/*/verdicts.parquet"))][:SHOWN]
    if not found:
        block.absent.append(
            "sparse dictionaries: none was fought out (`wolfscope features train RUN --site S --layer L`, "
            "`wolfscope features fight RUN`)"
        )
        return block
    for number, folder in enumerate(found, start=1):
        _one(block, folder, str(number) if len(found) > 1 else "", numbers)
    return block


def _one(block: Block, folder: Path, number: str, numbers: Numbers) -> None:
    card = read_card(folder)
    name = f"{folder.parent.name}/{folder.name}"
    verdicts = read_table(folder / "verdicts.parquet")
    fight = read_table(folder / "fight.parquet")
    for key, frame in (("verdicts", verdicts), ("fight", fight)):
        numbers.add(f"D_{key}", frame, dictionary=name)
    notes = read_table(folder / "notes.parquet") if (folder / "notes.parquet").is_file() else None
    stamps = [] if notes is None else notes.filter(kind="stamp")["note"].to_list()
    told = (
        f"explains {card.variance_explained:.1%} of held-out rows"
        if card.variance_explained is not None
        else ""
    )
    head = (
        f"Dictionary `{name}`: {card.kind}, {card.width:,} latents, {told} with {card.l0 or card.k:.1f} on."
    )
    block.add(note=" ".join([head, answer(verdicts), *(f"Stamp: {stamp}." for stamp in stamps)]))
    block.add(table=verdict_table(verdicts, f"D1{number}"))
    block.add(table=sources_table(fight, f"D2{number}"))
    curves = read_table(folder / "by_k.parquet")
    if curves.height:
        figure = curve_figure(curves, fight, f"D3{number}")
        block.add(figure=figure)
    latents, rules = folder / "latents.parquet", folder / "rules.parquet"
    if latents.is_file() and rules.is_file():
        table = latent_cards(read_table(latents), read_table(rules), f"D4{number}")
        if table.rows:
            block.add(table=table)
    if (folder / "truth.parquet").is_file():
        block.add(table=truth_table(read_table(folder / "truth.parquet"), f"D5{number}"))


def answer(verdicts: pl.DataFrame) -> str:
    """The result in a sentence."""
    mine = verdicts.filter(pl.col("added") == LATENTS, pl.col("over") == "simple methods")
    gains = mine.filter(verdict="gain")
    n = mine.height
    if not n:
        return "No target could be fought out."
    none = mine.filter(verdict="no gain").height
    if not gains.height:
        return (
            f"In none of {n} pairs of target and regime do latents add to simple methods; in {none} the whole interval "
            "lies below 0.01 AUROC."
        )
    best = gains.sort("gain", descending=True, maintain_order=True).row(0, named=True)
    return (
        f"In {gains.height} of {n} pairs of target and regime latents add to simple methods, most for "
        f"{title_of(best['target']).lower()} ({best['regime']}, {best['gain']:+.3f} AUROC); in {none} the whole "
        "interval lies below 0.01."
    )


def verdict_table(verdicts: pl.DataFrame, id: str) -> Table:
    """Gains by target and regime."""
    mine = verdicts.filter(pl.col("added") == LATENTS, pl.col("over") == "simple methods")
    probe = verdicts.filter(pl.col("added") == PROBE, pl.col("over") == "the surface")
    alone = verdicts.filter(pl.col("added") == LATENTS, pl.col("over") == "the surface")

    def beside(frame: pl.DataFrame, r: dict[str, Any]) -> str:
        some = frame.filter(target=r["target"], regime=r["regime"])
        return f"{some['gain'].item():+.3f}" if some.height == 1 else ""

    rows = [
        [
            title_of(r["target"]), r["regime"], f"{r['without']:.3f}",
            f"{r['gain']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]", p_text(r["adjusted"]), r["verdict"],
            beside(alone, r), beside(probe, r),
        ]
        for r in mine.iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        ["target", "regime", "simple methods", "latents add", "p (Holm)", "verdict", "latents over the surface",
         "probe over the surface"],
        rows, (2, 3, 4, 6, 7), ["probe" if row[5] == "gain" else "" for row in rows], id,
        "Do latents add to a probe, components, a rotation, words, length and public counts together?",
        "AUROC of stacked probes on held-out games, intervals over games, p adjusted over targets within a regime.",
    )  # fmt: skip


def sources_table(fight: pl.DataFrame, id: str) -> Table:
    """AUROC of every source with full data."""
    full = fight.filter(regime="full")
    names = full["target"].unique(maintain_order=True).to_list()
    values = {
        (r["source"], r["target"]): f"{r['auroc']:.3f}" + (f" (k {r['k']:.0f})" if r["k"] is not None else "")
        for r in full.iter_rows(named=True)
    }
    sources = full["source"].unique(maintain_order=True).to_list()
    return Table(
        ["read from", *(title_of(name) for name in names)],
        [[source, *(values.get((source, name), "") for name in names)] for source in sources],
        tuple(range(1, 1 + len(names))), ["probe" if source == PROBE else "" for source in sources], id,
        "How well is each target read from each source, with full data?",
        "AUROC on held-out games; k: columns read, chosen inside training games, mean over folds.",
    )  # fmt: skip


def curve_figure(curves: pl.DataFrame, fight: pl.DataFrame, id: str) -> Figure:
    """AUROC by k with full data, a panel a target; the probe on the stream as a line across."""
    full = curves.filter(pl.col("regime") == "full", pl.col("source").is_in(list(DRAWN)))
    named = full.with_columns(panel=pl.col("target").map_elements(title_of, return_dtype=pl.String))
    lines = fight.filter(regime="full", source=PROBE).select(
        panel=pl.col("target").map_elements(title_of, return_dtype=pl.String), probe="auroc"
    )
    base = alt.Chart(data(named.join(lines, on="panel", how="left", maintain_order="left")))
    order = [name for name in DRAWN if name in set(named["source"])]
    color = alt.Color(
        "source:N", scale=alt.Scale(domain=order, range=[DRAWN[name] for name in order]),
        legend=alt.Legend(title=None, orient="top", labelColor=INK, labelLimit=260, columns=2),
    )  # fmt: skip
    x = alt.X(
        "k:Q",
        scale=alt.Scale(type="log", base=2),
        axis=alt.Axis(title="columns read", grid=False, tickCount=5),
    )
    y = alt.Y("auroc:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="AUROC", format=".2f", tickCount=5))
    drawn = base.mark_line(strokeWidth=2.2, point={"size": 24}).encode(x=x, y=y, color=color)
    across = base.mark_rule(color=INK, strokeDash=[4, 3]).encode(y=alt.Y("max(probe):Q"))
    chart = (
        (drawn + across)
        .properties(width=250, height=150)
        .facet(facet=alt.Facet("panel:N", title=None), columns=2, spacing=24)
    )
    label = "AUROC by number of columns read, latents beside components and a random rotation"
    return Figure(
        id,
        "by_k",
        "How many columns does it take?",
        svg(chart.resolve_scale(y="independent"), label),
        "Full data, held-out games. Dashed: a probe on the whole stream.",
    )


def latent_cards(latents: pl.DataFrame, rules: pl.DataFrame, id: str) -> Table:
    """The latents that training games chose for each target, with what they mean by rule."""
    joined = latents.filter(pl.col("place") <= CARDS).join(
        rules, on="latent", how="left", maintain_order="left"
    )
    rows = [
        [
            title_of(r["target"]), str(r["latent"]), r["rule"] or "on in too few rows", _two(r["information"]),
            _two(r["precision"]), _two(r["recall"]), "" if r["n_on"] is None else f"{r['false_negatives']:,}",
            "" if r["n_on"] is None else f"{r['n_on']:,} of {r['n_rows']:,}",
        ]
        for r in joined.iter_rows(named=True)
    ]  # fmt: skip
    shown = [["" if i and row[0] == rows[i - 1][0] else row[0], *row[1:]] for i, row in enumerate(rows)]
    return Table(
        ["target", "latent", "best rule of the grammar", "bits", "precision", "recall", "false negatives", "on in"],
        shown, (1, 3, 4, 5, 6, 7), (), id, "What do the most predictive latents mean?",
        "The rule with the most mutual information on one half of the held-out games; its figures are of the other. "
        "False negatives: rows that satisfy the rule with the latent off.",
    )  # fmt: skip


def truth_table(truth: pl.DataFrame, id: str) -> Table:
    """The best latent of each known concept, with what it misses."""
    rows = [
        [
            r["concept"], r["atom"], str(r["latent"]), _two(r["precision"]), _two(r["recall"]),
            f"{r['false_negatives']:,} of {r['n_true']:,}",
        ]
        for r in truth.filter(pl.col("place") == 1).iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        ["concept", "truth", "best latent", "precision", "recall", "missed"], rows, (2, 3, 4, 5), (), id,
        "Is there a latent for a known concept, and what does it miss?",
        "Chosen by F1 on one half of the held-out games, counted on the other.",
    )  # fmt: skip


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
