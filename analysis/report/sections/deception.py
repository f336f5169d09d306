"""The report's section on deception: by window, by span read three ways, and token by token."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.report import charts
from analysis.report.block import Block
from analysis.report.page import Figure, Numbers, Table, grouped, p_text, share


def windows_block(
    found: pl.DataFrame, absent: Sequence[str], agreement: str, judges: pl.DataFrame, numbers: Numbers
) -> Block:
    """T4. agreement: of the judges with the labels, in words; judges: schema `judge.SCORES`."""
    block = Block("deception", "T4. Lies, truths and honest mistakes, by window")
    numbers.add("T4_windows", found)
    if len(found):
        rows = [
            [r["contrast"], "yes" if r["within_role"] else "NO", r["window"],
             f"{r['auroc']:.3f} [{r['low']:.3f}, {r['high']:.3f}]", share(r["recall"]), f"{r['brier']:.3f}",
             f"{r['ece']:.3f}", f"{r['n_positive']:,} / {r['n_rows']:,}", f"{r['n_games']:,}"]
            for r in found.to_dicts()
        ]  # fmt: skip
        columns = ["contrast", "within role", "window", "AUROC [95%]", "recall at 1% FPR", "Brier", "ECE",
                   "positive / rows", "games"]  # fmt: skip
        block.add(
            note="A contrast that crosses roles can be answered by the role, which stands in the prompt: it is shown "
            "so that it is not mistaken for one within a role. These scores are not held against baselines; T2 is.",
            table=Table(
                columns,
                grouped(rows),
                (3, 4, 5, 6, 7, 8),
                ["" if within else "best" for within in found["within_role"]],
            ),
        )  # fmt: skip
    for text in absent:
        block.add(note=f"Not evaluated: {text}.")
    block.add(note=agreement)
    numbers.add("T4_judge_contrasts", judges)
    if len(judges):
        rows = [
            [r["contrast"], r["judge"], f"{r['auroc']:.3f} [{r['low']:.3f}, {r['high']:.3f}]", share(r["recall"]),
             f"{r['n_positive']:,} / {r['n_rows']:,}", f"{r['n_games']:,}"]
            for r in judges.to_dicts()
        ]  # fmt: skip
        columns = ["contrast", "judge", "AUROC [95%]", "recall at 1% FPR", "positive / rows", "games"]
        block.add(
            note="The judges as a baseline: the same contrasts without any inner state, from what every seat heard, "
            "the speech itself among it. A window before the speech has not seen those words, so a judge is no "
            "baseline for it that must be beaten; a window of the spoken words is.",
            table=Table(columns, grouped(rows), (2, 3, 4, 5)),
        )
    return block


def add_spans(
    block: Block, table: pl.DataFrame, strip: pl.DataFrame, absent: Sequence[str], numbers: Numbers
) -> None:
    """T4 for spans and F10, appended to the section on deception."""
    for text in absent:
        block.add(note=f"Not evaluated: {text}.")
    if not len(table):
        block.add(
            note="Attention over tokens and F10, scores token by token: no span was captured token by token. "
            "`wolfscope capture RUN --site tokens:speech` captures the words said aloud."
        )
        return
    numbers.add("T4_spans", table)
    rows = [
        [r["contrast"], r["site"].removeprefix("tokens:"), r["read-out"],
         f"{r['auroc']:.3f} [{r['low']:.3f}, {r['high']:.3f}]",
         "" if r["gain"] is None else f"{r['gain']:+.3f} [{r['gain_low']:+.3f}, {r['gain_high']:+.3f}]",
         p_text(r["p_null"]), r["layer"], f"{r['n_positive']:,} / {r['n_rows']:,}", f"{r['n_games']:,}"]
        for r in table.to_dicts()
    ]  # fmt: skip
    columns = ["contrast", "span", "read-out", "AUROC [95%]", "attention minus it", "p, null over layers", "layer",
               "positive / rows", "games"]  # fmt: skip
    block.add(
        note="One span read three ways on the same rows and folds, the same number of gradient steps, the layer chosen "
        "inside: its mean, its last token, and attention with a learned query over all its tokens. Each has its own "
        "null: labels permuted within each game, everything refitted, the best layer kept. The words of a lie are in "
        "the span: what is read here need not be known before it is said. Intervals are over the games tested and take "
        "the fits as given: where nothing can be read they are too short by a factor of up to 1.4, so the p of the "
        "null is what counts against chance.",
        table=Table(columns, grouped(rows), (3, 4, 5, 7, 8)),
    )
    if not len(strip):
        return
    numbers.add("F10_strip", strip)
    named = (
        "" if strip["text"].null_count() == 0 else " The capture keeps no vocabulary, so tokens have numbers."
    )
    block.add(
        figure=Figure(
            "F10", "F10", "Which words carry the score?",
            charts.strip(strip, "Score of every token of one game's speeches"),
            "Orange: the token by itself reads as a lie, blue: as the truth, by the mean read-out; fits have seen no "
            f"game of this fold. The bar below a token is its share of attention.{named} "
            f"{table['contrast'][0].capitalize()}: {strip['seq'].n_unique()} speeches of one game, n = 1 game: an "
            "illustration, the table is the evidence.",
        )
    )  # fmt: skip
