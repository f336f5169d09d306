"""The report's section on two models of one architecture, before and after: what changed, and what did not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.change.read import Change, changes
from analysis.data.captures import checkpoints_of
from analysis.evaluation.evaluate import Evaluation, Settings
from analysis.evaluation.prepare import Prepared, posterior_of
from analysis.evaluation.saved import fit_probe
from analysis.report.before_after import charts
from analysis.report.before_after.inside import add_cells, add_features, add_inside
from analysis.report.before_after.words import add_words
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table, grouped, p_text, share


def change_block(
    e: Evaluation | None,
    prepared: Prepared,
    runs: Sequence[tuple[str, Any]],
    settings: Settings,
    numbers: Numbers,
) -> Block:
    """Every comparison of two models in the runs' folders."""
    block = Block("change", "Before and after")
    probes = {}
    if e is not None:
        saved = fit_probe(e)
        probes[saved.card.layer] = saved.direction()
    found = changes(runs, probes)
    for number, change in enumerate(found):
        one = Block(block.id, block.title)
        one.add(note=headline(change))
        _acts(one, change, number, numbers)
        add_words(one, change, number, numbers, linked=len(runs) == 1)
        if e is not None:
            after = checkpoints_of(e.target, runs).get(change.b)
            posterior = posterior_of(e.target, prepared.watched.beliefs)
            add_cells(one, e, change, after, posterior, settings, numbers)
        add_inside(one, change, number, numbers)
        add_features(one, change, numbers)
        block.parts += one.parts
        block.absent += one.absent
    if not found:
        block.add(
            note="No two models were compared. `wolfscope diff RUN --model CHECKPOINT` compares one with the model "
            "that played; with `--against RUN2`, the same deals played by the other, also in what they do."
        )
    return block


def names_of(change: Change) -> tuple[str, str]:
    """The two models' names without their hashes."""
    return change.a.split("@")[0], change.b.split("@")[0]


def headline(change: Change) -> str:
    """What changed from A to B, in words, for someone who reads nothing else."""
    a, b = names_of(change)
    said = [f"From {a} (A) to {b} (B)."]
    tested = change.acts.filter(pl.col("p_adjusted").is_not_null()) if len(change.acts) else change.acts
    if len(tested):
        moved = tested.filter(verdict="changed").sort(
            pl.col("difference").abs(), descending=True, maintain_order=True
        )
        shown = "; ".join(
            f"{r['measure'].replace('_', ' ')} of a {r['role']} {r['before']:.0%} to {r['after']:.0%}"
            for r in moved.head(4).iter_rows(named=True)
        )
        said.append(
            f"What they do: {len(moved)} of {len(tested)} rates changed, Holm-adjusted ({shown})."
            if len(moved)
            else f"What they do: none of {len(tested)} rates is shown to change, Holm-adjusted."
        )
    else:
        said.append("What they do was not compared: no run of B on the same deals.")
    found = change.triggers.filter(verdict="parts after it")
    if len(found):
        r = found.row(0, named=True)
        said.append(
            f"What they say parts most after the word “{r['word']}” was read: {r['segment']} of a {r['role']}, "
            f"{r['with_word']:.2f} nats a token with it, {r['without']:.2f} without."
        )
    else:
        said.append("No word after which what they say parts further than without it.")
    return " ".join(said)


def _acts(block: Block, change: Change, number: int, numbers: Numbers) -> None:
    acts = change.acts
    if not len(acts):
        block.absent.append(
            "what the two models do, before and after: `wolfscope diff RUN --model B --against RUN2`, RUN2 being the "
            "same configuration played by B"
        )
        return
    numbers.add("D2_acts", acts, a=change.a, b=change.b)
    shown = acts.filter(pl.col("days") == "all", pl.col("p_adjusted").is_not_null())
    points = shown.with_columns(
        row=pl.format("{}, {}", pl.col("measure").str.replace_all("_", " ", literal=True), "role")
    )
    n_games = int(acts["n_games"][0])
    if len(points):
        block.add(
            figure=Figure(
                f"D2-{number}", "D2", "What do they do differently on the same deals?",
                charts.differences(points, "Rates after minus before"),
                f"Rates after minus before, 95% over {n_games:,} deals that both played, drawn together. Changed: "
                f"Holm-adjusted p < .05 among {len(points)} rows. Own role told by a werewolf is a confession; early "
                "truth is of the first day; against belief: a ballot on somebody whom the voter has stated to be less "
                "suspect than another.",
            )
        )  # fmt: skip
    rows = [
        [r["measure"].replace("_", " "), r["role"], _rate(r["before"]), _rate(r["after"]), _moved(r),
         p_text(r["p_adjusted"]) if r["p_adjusted"] is not None else "", f"{r['n_before']:,.0f} / {r['n_after']:,.0f}",
         r["verdict"] or ""]
        for r in acts.filter(days="all").iter_rows(named=True)
    ]  # fmt: skip
    columns = ["measure", "role", "before", "after", "difference [95%]", "p adjusted", "occasions", "verdict"]
    block.add(table=Table(columns, grouped(rows), (2, 3, 4, 5, 6)), fold="All rates, by role")
    by_day = [
        [r["measure"].replace("_", " "), r["role"], r["days"], _rate(r["before"]), _rate(r["after"]), _moved(r)]
        for r in acts.filter((pl.col("days") != "all") & (pl.col("n_before") >= 20) & (pl.col("n_after") >= 20)).sort(
            "measure", "role", "days", maintain_order=True
        ).iter_rows(named=True)
    ]  # fmt: skip
    if by_day:
        block.add(
            table=Table(
                ["measure", "role", "day", "before", "after", "difference [95%]"], grouped(by_day), (3, 4, 5)
            ),
            fold="The same by day",
        )
    if change.course["run"].n_unique() > 2:
        _course(block, change, points, number, numbers)


def _course(block: Block, change: Change, points: pl.DataFrame, number: int, numbers: Numbers) -> None:
    numbers.add("D4_course", change.course, a=change.a, b=change.b)
    chosen = points.sort(pl.col("difference").abs(), descending=True, maintain_order=True).head(5)
    lines = change.course.join(
        chosen.select("measure", "role", name="row"), on=["measure", "role"], maintain_order="left"
    )
    lines = lines.sort("run", maintain_order=True).with_columns(
        step=pl.col("model").str.split("@").list.first()
    )
    if len(lines):
        block.add(
            figure=Figure(
                f"D4-{number}", "D4", "When did what they do change?",
                charts.course(lines, "Rates over checkpoints"),
                "The five rates that differ most, in every run compared, in the order given; bars are 95% over games.",
            )
        )  # fmt: skip


def _rate(value: float | None) -> str:
    return "" if value is None else share(value)


def _moved(r: dict[str, Any]) -> str:
    if r["difference"] is None or r["low"] is None:
        return ""
    return f"{100 * r['difference']:+.1f} [{100 * r['low']:+.1f}, {100 * r['high']:+.1f}]"
