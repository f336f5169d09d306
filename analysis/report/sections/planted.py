"""The appendix: this pipeline on planted truth, with a remark where an error rate or power is off."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from statsmodels.stats.proportion import proportion_confint

from analysis.planted.rungs import EXPECTED
from analysis.report.block import Block
from analysis.report.page import Numbers, Table, share

PLANTED = Path(__file__).parents[2] / "planted" / "planted_truth.json"
WORDS = {
    "nothing": "nothing", "surface": "the surface", "unused": "an inference, unused", "used": "an inference, used",
    "private": "a private answer",
}  # fmt: skip
NOMINAL = 0.05
FEWEST_SETS = 40
"""Smallest number of data sets a kind for a conclusion, unless a rate is plainly off."""


def planted_table() -> pl.DataFrame:
    """The table that the package carries; empty where it was not computed."""
    return pl.read_json(PLANTED) if PLANTED.is_file() else pl.DataFrame()


def holds(kind: str, number: int) -> bool | None:
    """Whether a rung should hold for a planted kind; None where the truth does not say."""
    if number == 5:
        return kind == "private"
    if kind == "private":
        return {1: True, 2: True, 3: False, 4: False}[number]
    return number <= EXPECTED[kind]


def appendix(numbers: Numbers) -> Block:
    """How often each rung holds where it should, and where it should not."""
    block = Block("planted", "Appendix. This pipeline on planted truth")
    frame = planted_table()
    if frame.is_empty():
        block.absent.append("planted truth: `python -m analysis.planted.table` makes the table")
        return block
    numbers.add("A1_planted", frame)
    rows = [
        [
            WORDS[r["planted"]], *(_marked(r, number) for number in range(1, 6)), _rate(r["right"], r["repeats"]),
            f"{r['repeats']:,}",
        ]
        for r in frame.to_dicts()
    ]  # fmt: skip
    null = frame.filter(planted="nothing").row(0, named=True)
    block.add(
        table=Table(
            ["planted", "1 present", "2 beyond surface", "3 inferred", "4 used", "5 more than public",
            "right rung", "sets"],
            rows, tuple(range(1, 8)), (), "A1", "Does each rung hold where it should, and only there?",
            f"Share of data sets of {frame['n_games'][0]:,} games in which the rung's own test says yes, Wilson "
            f"intervals "
            f"(95%). x: should not hold, {NOMINAL:.0%} at most. {remark(frame)} On data that hold nothing, "
            f"published mistakes announce a "
            f"signal in {share(null['rows at random'])} (rows split at random) and "
            f"{share(null['best layer on test rows'])} (best "
            "layer chosen on the test rows), their intervals over rows lying above .5. `python -m "
            "analysis.planted.table` "
            "makes this table.",
        )
    )  # fmt: skip
    return block


def remark(frame: pl.DataFrame) -> str:
    """What is off in the table: error rates shown to be above nominal, and power below 80%."""
    high, weak = [], []
    for r in frame.to_dicts():
        for number in range(1, 6):
            rate, n = r[f"rung {number}"], r["repeats"]
            low, _ = proportion_confint(round(rate * n), n, method="wilson")
            if holds(r["planted"], number) is False and low > NOMINAL:
                high.append(f"rung {number} with {WORDS[r['planted']]} planted, {rate:.0%}")
            if holds(r["planted"], number) and rate < 0.8:
                weak.append(f"rung {number} with {WORDS[r['planted']]} planted, {rate:.0%}")
        if r["planted"] == "nothing":
            rate, n = r["interval excludes .5"], r["repeats"]
            low, _ = proportion_confint(round(rate * n), n, method="wilson")
            if low > NOMINAL:
                high.append(f"the 95% interval of the probe's AUROC, which excludes .5 in {rate:.0%}")
    fewest = int(frame["repeats"].to_numpy().min())
    if fewest < FEWEST_SETS and not high:
        return f"{fewest} data sets a kind tell neither error rates nor power; {FEWEST_SETS} or more do."
    said = (
        f"Above nominal: {'; '.join(high)}."
        if high
        else f"No error rate is shown to lie above {NOMINAL:.0%}."
    )
    return (
        f"{said} Power below 80%: {'; '.join(weak)}." if weak else f"{said} Power is at least 80% everywhere."
    )


def _marked(row: dict[str, object], number: int) -> str:
    cross = "" if holds(str(row["planted"]), number) else " x"
    return f"{_rate(float(row[f'rung {number}']), int(row['repeats']))}{cross}"  # type: ignore[arg-type,call-overload]


def _rate(value: float, n: int) -> str:
    """A share of the data sets with its Wilson interval."""
    low, high = proportion_confint(round(value * n), n, method="wilson")
    return f"{value:.0%} [{100 * low:.0f}, {100 * high:.0f}]"


def control_words(table: pl.DataFrame) -> str:
    """The positive and negative controls, from the planted table that the package carries."""
    if table.is_empty():
        return "No planted truth was computed in this installation."
    n = int(table["repeats"][0])
    words = {
        "nothing": "nothing planted", "surface": "the surface alone", "unused": "an inference that nobody uses",
        "used": "an inference that ballots follow", "private": "a private answer",
    }  # fmt: skip
    parts = [f"{words.get(r['planted'], r['planted'])} {r['right']:.0%}" for r in table.iter_rows(named=True)]
    return (
        f"The same steps on {n:,} data sets of {int(table['n_games'][0])} games of each kind whose truth is "
        f"planted stop at "
        f"the right rung for {', '.join(parts)}."
    )
