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
    block = Block("deception", "Do they deceive, and can it be read?")
    numbers.add("T4_windows", found)
    if len(found):
        rows = [
            [r["contrast"], "yes" if r["within_role"] else "NO", r["window"],
             f"{r['auroc']:.2f} [{r['low']:.2f}, {r['high']:.2f}]", share(r["recall"]),
             "" if r["no_role_line"] is None
             else f"{r['no_role_line']:.2f} ({r['removal']:+.2f} [{r['removal_low']:+.2f}, {r['removal_high']:+.2f}])",
             "" if r["monitor"] is None else f"{r['monitor']:.2f}",
             "" if r["boost"] is None else f"{r['boost']:+.3f} [{r['boost_low']:+.3f}, {r['boost_high']:+.3f}]",
             f"{r['n_positive']:,} / {r['n_rows']:,}", f"{r['n_games']:,}"]
            for r in found.to_dicts()
        ]  # fmt: skip
        columns = ["contrast", "within role", "read at", "AUROC [95%]", "found at 1% FPR", "role line removed (change)",
                   "text monitor", "boost over it [95%]", "lies / rows", "games"]  # fmt: skip
        block.add(
            table=Table(
                columns, grouped(rows), tuple(range(3, 10)), ["" if w else "best" for w in found["within_role"]], "T4",
                "Are lies told from true statements and from honest mistakes, and does looking inside add to the text?",
                "AUROC and nested boost, intervals over games. The monitor has heard the speech itself and all "
                "that was public; "
                f"a window before the speech has not. {_boosts(found)} A contrast that crosses roles can be "
                f"answered by the "
                "role alone, which stands in the prompt: shown so that it is not mistaken for one within a role.",
            )
        )  # fmt: skip
        if found["no_role_line"].null_count() == len(found):
            block.absent.append(
                "lies with the role line removed: `wolfscope capture RUN --variant no_role_line --site prompt_last`"
            )
    block.absent += [f"contrast of speech: {text}" for text in absent]
    block.absent.append(agreement) if agreement.startswith("No model") else block.add(note=agreement)
    numbers.add("T4_judge_contrasts", judges)
    if len(judges):
        rows = [
            [r["contrast"], r["judge"], f"{r['auroc']:.3f} [{r['low']:.3f}, {r['high']:.3f}]", share(r["recall"]),
             f"{r['n_positive']:,} / {r['n_rows']:,}", f"{r['n_games']:,}"]
            for r in judges.to_dicts()
        ]  # fmt: skip
        columns = ["contrast", "judge", "AUROC [95%]", "recall at 1% FPR", "positive / rows", "games"]
        block.add(
            fold="Judges on the same contrasts",
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
    block.absent += absent
    if not len(table):
        block.absent.append("attention over tokens, F10: `wolfscope capture RUN --site tokens:speech`")
        return
    numbers.add("T4_spans", table)
    rows = [
        [r["contrast"], r["site"].removeprefix("tokens:"), r["probe"],
         f"{r['auroc']:.3f} [{r['low']:.3f}, {r['high']:.3f}]",
         "" if r["gain"] is None else f"{r['gain']:+.3f} [{r['gain_low']:+.3f}, {r['gain_high']:+.3f}]",
         p_text(r["p_null"]), r["layer"], f"{r['n_positive']:,} / {r['n_rows']:,}", f"{r['n_games']:,}"]
        for r in table.to_dicts()
    ]  # fmt: skip
    columns = ["contrast", "span", "probe", "AUROC [95%]", "attention minus it", "p, null over layers", "layer",
               "positive / rows", "games"]  # fmt: skip
    block.add(
        fold="One span read three ways",
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
        fold="Scores token by token",
        figure=Figure(
            "F10", "F10", "Which words carry the score?",
            charts.strip(strip, "Score of every token of one game's speeches"),
            "Orange: the token by itself reads as a lie, blue: as the truth, by the mean probe; fits have seen no "
            f"game of this fold. The bar below a token is its share of attention.{named} "
            f"{table['contrast'][0].capitalize()}: {strip['seq'].n_unique()} speeches of one game, n = 1 game: an "
            "illustration, the table is the evidence.",
        )
    )  # fmt: skip


def _boosts(found: pl.DataFrame) -> str:
    """What the boosts say, from their intervals."""
    known = found.drop_nulls("boost")
    if known.is_empty():
        return "No monitor was fitted."
    up = known.filter(pl.col("boost_low") > 0)
    if up.is_empty():
        return "Nowhere is looking inside shown to add to the text."
    places = ", ".join(dict.fromkeys(f"{r['contrast']} at {r['window']}" for r in up.to_dicts()))
    return f"Looking inside adds to the text for {places}."
