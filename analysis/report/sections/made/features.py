"""Sparse dictionaries of the runs: the fight's verdicts and figure, and the most predictive latents as cards.

Nothing is computed here: `wolfscope features judge` and `features fight` write the tables beside each dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from analysis.features.fight import LATENTS, MARGIN, PROBE
from analysis.features.judge import CONCEPT
from analysis.report.block import Block
from analysis.report.figures import BLUE, INK, MUTED, ORANGE, TEAL, data, svg
from analysis.report.page import Card, Cards, Figure, Numbers, Table, grouped, p_text, share, title_of
from harness.features.saved import read_card
from harness.features.spliced import read_splice
from harness.run.derived import read_table

SHOWN = 3
"""Dictionaries shown of a run at most: those whose fight is there, by name."""
CARDS = 2
"""Latents shown of each target."""
EXAMPLES = 3
"""Rows shown of each kind on a card."""
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
    spliced = read_splice(folder)
    if spliced is not None and spliced.recovered is not None:
        head += f" Put in place of the stream it keeps {spliced.recovered:.1%} of what the model predicts."
    block.add(note=" ".join([head, answer(verdicts), *(f"Stamp: {stamp}." for stamp in stamps)]))
    full = pl.col("regime") == "full"
    block.add(table=verdict_table(verdicts.filter(full), f"D1{number}"))
    if verdicts.filter(~full).height:
        block.add(
            table=verdict_table(verdicts.filter(~full), f"D1b{number}"),
            fold="The same with few games, rare or noisy labels, and shifts",
        )
    block.add(table=sources_table(fight, f"D2{number}"))
    curves = read_table(folder / "by_k.parquet")
    if curves.height:
        figure = curve_figure(curves, fight, f"D3{number}")
        block.add(figure=figure)
    latents, rules = folder / "latents.parquet", folder / "rules.parquet"
    if latents.is_file() and rules.is_file():
        path = folder / "contexts.parquet"
        seen = read_table(path) if path.is_file() else None
        if seen is not None and "text" not in seen.columns:
            seen = None  # of an older version
        cards = latent_cards(read_table(latents), read_table(rules), seen, f"D4{number}")
        if cards.cards:
            block.add(cards=cards)
    if (folder / "truth.parquet").is_file():
        concepts = folder / "concepts.parquet"
        spread = read_table(concepts) if concepts.is_file() else pl.DataFrame(schema=CONCEPT)
        block.add(table=truth_table(read_table(folder / "truth.parquet"), spread, f"D5{number}"))


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
            f"lies below {MARGIN:g} AUROC."
        )
    best = gains.sort("gain", descending=True, maintain_order=True).row(0, named=True)
    if gains["high"].max() < MARGIN:  # type: ignore[operator]
        return (
            f"In {gains.height} of {n} pairs of target and regime latents add to simple methods, by less than "
            f"{MARGIN:g} AUROC; in {none} the whole interval lies below that and no gain is seen."
        )
    return (
        f"In {gains.height} of {n} pairs of target and regime latents add to simple methods, most for "
        f"{title_of(best['target']).lower()} ({best['regime']}, {best['gain']:+.3f} AUROC); in {none} the whole "
        f"interval lies below {MARGIN:g}."
    )


def verdict_table(verdicts: pl.DataFrame, id: str) -> Table:
    """Gains by target and regime."""
    mine = verdicts.filter(pl.col("added") == LATENTS, pl.col("over") == "simple methods")
    probe = verdicts.filter(pl.col("added") == PROBE, pl.col("over") == "the surface")
    alone = verdicts.filter(pl.col("added") == LATENTS, pl.col("over") == "the surface")

    def beside(frame: pl.DataFrame, r: dict[str, Any]) -> str:
        some = frame.filter(target=r["target"], regime=r["regime"])
        return _signed(some["gain"].item()) if some.height == 1 else ""

    rows = [
        [
            r["regime"], title_of(r["target"]), r["verdict"], f"{r['without']:.3f}",
            f"{_signed(r['gain'])} [{_signed(r['low'])}, {_signed(r['high'])}]", p_text(r["adjusted"]),
            beside(alone, r), beside(probe, r),
        ]
        for r in mine.iter_rows(named=True)
    ]  # fmt: skip
    marked = ["probe" if row[2] == "gain" else "" for row in rows]
    columns = ["regime", "target", "verdict", "simple methods", "latents add", "p (Holm)", "latents over the surface",
               "probe over the surface"]  # fmt: skip
    first = 1 if mine["regime"].n_unique() == 1 else 0
    shown = [row[first:] for row in grouped(rows)]
    return Table(
        columns[first:], shown, tuple(range(3 - first, 8 - first)), marked, id,
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
    both = named.join(lines, on="panel", how="left", maintain_order="left")
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
    panels = []
    for panel in both["panel"].unique(maintain_order=True):
        base = alt.Chart(data(both.filter(panel=panel)))
        drawn = base.mark_line(strokeWidth=2.2, point={"size": 24}).encode(x=x, y=y, color=color)
        across = base.mark_rule(color=INK, strokeDash=[4, 3]).encode(y=alt.Y("max(probe):Q"))
        panels.append(
            (drawn + across).properties(
                width=320, height=150, title=alt.Title(panel, color=INK, anchor="start", fontSize=13)
            )
        )
    chart = alt.concat(*panels, columns=2, spacing=24)
    label = "AUROC by number of columns read, latents beside components and a random rotation"
    return Figure(
        id,
        "by_k",
        "How many columns does it take?",
        svg(chart, label),
        "Full data, held-out games. Dashed: a probe on the whole stream.",
    )


def latent_cards(latents: pl.DataFrame, rules: pl.DataFrame, seen: pl.DataFrame | None, id: str) -> Cards:
    """The latents that training games chose for each target: what they mean by rule, what that misses, and where they
    are on."""
    told = {r["latent"]: r for r in rules.iter_rows(named=True)}
    chosen: dict[int, list[str]] = {}
    for r in (
        latents.filter(pl.col("place") <= CARDS).sort("place", maintain_order=True).iter_rows(named=True)
    ):
        chosen.setdefault(r["latent"], []).append(title_of(r["target"]).lower())
    cards, text_is_told = [], pl.col("text").is_not_null()
    for latent, targets in chosen.items():
        facts, own = [f"Chosen for: {'; '.join(targets)}."], told.get(latent)
        if own is None:
            facts.append("On in too few rows to be described.")
        else:
            precision, recall = _two(own["precision"]), _two(own["recall"])
            missed, on = f"{own['false_negatives']:,}", f"{own['n_on']:,} of {own['n_rows']:,}"
            facts += [
                f"“{own['rule']}”: {own['information']:.2f} bits, precision {precision}, recall {recall}.",
                f"Off in {missed} rows where the rule holds; on in {on}.",
            ]
        lists = [] if seen is None else _where_on(seen.filter(pl.col("latent") == latent, text_is_told))
        cards.append(Card(f"Latent {latent}", facts, lists))
    return Cards(
        id, "What do the most predictive latents mean?", cards,
        "In quotes the rule of the grammar with the most mutual information on one half of the held-out games; its "
        "figures are of the other half.",
    )  # fmt: skip


def _where_on(rows: pl.DataFrame) -> list[tuple[str, list[str]]]:
    """What a card lists of a latent's contexts."""
    found = []
    for kind, name in (("top", "Where it is largest"), ("random", "Where it is on, drawn")):
        some = rows.filter(pl.col("drawn") == kind).head(EXAMPLES)
        if some.height:
            found.append((name, [f"{r['activation']:.2g}: {r['text']}" for r in some.iter_rows(named=True)]))
    return found


def truth_table(truth: pl.DataFrame, concepts: pl.DataFrame, id: str) -> Table:
    """The best latent of each known concept, with what it misses; over how many latents the concept is spread, and how
    often another takes it over."""
    spread = {r["concept"]: r for r in concepts.iter_rows(named=True)}
    rows = []
    for r in truth.filter(pl.col("place") == 1).iter_rows(named=True):
        own = spread.get(r["concept"])
        over = "" if own is None else "over 16" if own["splitting"] is None else str(own["splitting"])
        rows.append(
            [
                r["concept"], r["atom"], str(r["latent"]), _two(r["precision"]), _two(r["recall"]),
                f"{r['false_negatives']:,} of {r['n_true']:,}", over, "" if own is None else share(own["absorption"]),
            ]
        )  # fmt: skip
    return Table(
        ["concept", "truth", "best latent", "precision", "recall", "missed", "spread over", "absorbed"], rows,
        (2, 3, 4, 5, 6, 7), (), id, "Is there a latent for a known concept, and what does it miss?",
        "Chosen by F1 on one half of the held-out games, counted on the other. Spread over: latents that a read-out "
        "needs. Absorbed: rows that a probe recognises where these are off and another latent carries the direction.",
    )  # fmt: skip


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-0.000", "+0.000")


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
