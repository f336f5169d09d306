"""Rungs 3 and 4 of the headline target in numbers: inferred, said, used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.evaluation.evaluate import Evaluation, Skipped
from analysis.evaluation.second_order import SecondOrder
from analysis.report import verdicts
from analysis.report.block import Block
from analysis.report.page import Numbers, Table, title_of, within
from analysis.rungs.rungs import said_against_represented
from analysis.stats.bootstrap import Interval


def inferred_block(
    evaluations: Sequence[Evaluation | Skipped], second: SecondOrder | None, numbers: Numbers
) -> Block:
    """Rung 3 for all targets; for the first also the second order, and the rows where surface and posterior
    disagree."""
    block = Block("inferred", "Is it inferred?")
    done = [e for e in evaluations if isinstance(e, Evaluation)]
    rows = []
    for e in done:
        v = e.evidence
        if not v.ceiling_name:
            block.absent.append(f"{title_of(e.target.name)}, ideal reader: {v.no_ceiling}")
            continue
        rows.append(
            [
                title_of(e.target.name), f"{v.surface.value:.2f}", f"{v.together.value:.2f}", f"{v.ceiling.value:.2f}",
                f"{v.share.value:.0%} [{v.share.low:.0%}, {v.share.high:.0%}]", within(v.short, True), within(v.r2),
                within(v.r2_truth), e.rungs[2].verdict, f"{v.n_games:,}",
            ]
        )  # fmt: skip
        numbers.add("R3_inferred", _frame(e), target=e.target.name)
    if rows:
        columns = [
            "question", "surface", "with probe", "ideal reader", "share of the way [95%]", "short of it",
            "partial R2", "given the truth", "rung 3", "games",
        ]  # fmt: skip
        first = next(e for e in done if e.evidence.ceiling_name)
        likewise = "" if second is None else f" {verdicts.second_words(second)}"
        if second is not None:
            numbers.add("R3_second_order", pl.DataFrame([{**second.r2._asdict(), "n_rows": second.n_rows,
                        "n_games": second.n_games, "why": second.why}]))  # fmt: skip
        block.add(
            table=Table(
                columns, rows, tuple(range(1, 10)), (), "R3",
                "How much of what an ideal reader adds to the surface does the probe add?",
                f"AUROC; intervals over games. {title_of(first.target.name)}: {verdicts.rung_words(first.rungs[2])} "
                f"{' '.join(verdicts.inferred_words(first.evidence)[1:])} The ideal reader is the "
                f"{first.evidence.ceiling_name}"
                + ("." if first.evidence.ceiling_exact else ", which takes models' acts for scripted ones.")
                + likewise,
            )
        )  # fmt: skip
    head = next((e for e in done if len(e.evidence.parted)), None)
    if head is not None:
        parted = head.evidence.parted
        numbers.add("R3_parted", parted, target=head.target.name)
        shown = [
            [
                r["rows"], f"{r['n_rows']:,}", f"{r['n_games']:,}", f"{r['truth']:.2f}", f"{r['surface']:.2f}",
                f"{r['posterior']:.2f}", f"{r['represented']:.2f}", "" if r["stated"] is None else f"{r['stated']:.2f}",
                f"{r['share']:.0%} [{r['low']:.0%}, {r['high']:.0%}]",
            ]
            for r in parted.to_dicts()
        ]  # fmt: skip
        columns = [
            "where", "rows", "games", "truth", "surface", "ideal reader", "represented", "stated",
            "share of the way [95%]",
        ]  # fmt: skip
        block.add(
            table=Table(
                columns, shown, tuple(range(1, 9)), (), "R3-parted",
                "Where surface and ideal reader disagree, whom does it follow?",
                f"Means of probabilities, {title_of(head.target.name).lower()}; n of rows and games in the "
                f"table, intervals "
                f"over games. {_follows(parted)}",
            )
        )  # fmt: skip
    return block


def _follows(parted: pl.DataFrame) -> str:
    low, high = parted["low"].to_list(), parted["high"].to_list()
    if all(x > 0.5 for x in low):
        return (
            "In both kinds of rows it stands nearer to the ideal reader."
            if len(low) > 1
            else "It stands nearer to the ideal reader."
        )
    if all(x < 0.5 for x in high):
        return "It stands nearer to the surface."
    return "Which of the two it stands nearer to is not settled in every kind of row."


def _frame(e: Evaluation) -> pl.DataFrame:
    v = e.evidence
    names = ("read", "untrained", "pooled", "within", "surface", "together", "ceiling", "reachable", "share",
    "short", "r2",
             "r2_truth", "beyond", "stated", "said")  # fmt: skip
    rows = []
    for name in names:
        i: Interval = getattr(v, name)
        rows.append({"what": name, "value": i.value, "low": i.low, "high": i.high, "p": i.p})
    return pl.DataFrame(rows).with_columns(n_rows=v.n_rows, n_games=v.n_games)


def said_table(evaluations: Sequence[Evaluation | Skipped], numbers: Numbers) -> Table | None:
    """The model's stated belief beside the probe's, for all targets."""
    rows, frames = [], []
    for e in evaluations:
        if not isinstance(e, Evaluation) or not np.isfinite(e.evidence.stated.value):
            continue
        v = e.evidence
        verdict = said_against_represented(v)
        rows.append(
            [
                title_of(e.target.name), within(v.stated), within(v.read), within(v.said, True),
                f"{v.ceiling.value:.3f}" if v.ceiling_name else "", verdict, f"{v.n_games:,}",
            ]
        )  # fmt: skip
        frames.append(
            {
                "target": e.target.name, "stated": v.stated.value, "read": v.read.value, "difference": v.said.value,
                "low": v.said.low, "high": v.said.high, "verdict": verdict, "n_games": v.n_games,
            }
        )  # fmt: skip
    if not rows:
        return None
    numbers.add("R3_said", pl.DataFrame(frames))
    return Table(
        ["question", "stated [95%]", "read [95%]", "stated minus read", "ideal reader", "verdict", "games"], rows,
        (1, 2, 3, 4, 6), (), "R3-said", "Does it say what it holds?",
        "AUROC on the same rows; intervals over games. The same: the interval of the difference lies within .03 of 0.",
    )  # fmt: skip


def used_table(e: Evaluation | Skipped | None, numbers: Numbers) -> tuple[Table | None, str]:
    """R4: choices explained by each belief; or why there is none."""
    if not isinstance(e, Evaluation):
        return None, "Choices against beliefs: the headline target was not evaluated"
    table, (one, several) = e.evidence.explained, e.evidence.choices
    if not len(table):
        return None, f"{several.capitalize()} against beliefs: {e.evidence.no_use}"
    numbers.add("R4_votes", table, target=e.target.name)
    rows = [
        [
            r["belief"], f"{r['alone']:+.3f}", f"{r['beyond_surface']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]",
            "" if r["beyond_exact"] is None
            else f"{r['beyond_exact']:+.3f} [{r['exact_low']:+.3f}, {r['exact_high']:+.3f}]",
            f"{r['n_ballots']:,}", f"{r['n_games']:,}",
        ]
        for r in table.to_dicts()
    ]  # fmt: skip
    columns = [
        "belief",
        "alone",
        "beyond what is public [95%]",
        "beyond that and the ideal reader [95%]",
        several,
        "games",
    ]
    return (
        Table(
            columns, rows, (1, 2, 3, 4, 5), ["probe" if r[0] == "represented" else "" for r in rows], "R4",
            f"Which belief explains their {several}?",
            f"Conditional logit on other games, nats a {one} over chance; what is public is fitted to the {several}. "
            f"{verdicts.rung_words(e.rungs[3])}",
        ),
        "",
    )  # fmt: skip
