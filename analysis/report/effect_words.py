"""What an experiment found, in sentences made from its table and from nothing else."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.effects.outcomes import OUTCOMES, Experiment
from analysis.effects.table import between_arms
from analysis.report.page import p_text

DISTANCES = ("moved", "others")
"""Outcomes that are distances from the unchanged moment."""


def sentences(experiment: Experiment, table: pl.DataFrame) -> list[str]:
    """What was found, in words, from the numbers of the table."""
    test = experiment.design["test"]
    unit = OUTCOMES.get(test["outcome"], test["outcome"])
    found = []
    for r in table.filter(pl.col("verdict").is_not_null()).iter_rows(named=True):
        rank = (
            "" if r["rank"] is None else f", rank {r['rank']} of it and its {r['n_random']} random directions"
        )
        could = "" if r["findable"] is None else f"; an effect of {r['findable']:.3f} could have been found"
        found.append(
            f"{r['arm']}: {r['verdict']}; the {unit} {_from(r)}, beyond {r['against']} {_beyond(r)}{rank} "
            f"({r['n_moments']:,} moments, {r['n_games']:,} games, adjusted p {p_text(r['adjusted_p'])}{could})."
        )
    found += _positive_controls(table)
    pairs = [
        f"{one} minus {other} {i.value:+.3f} [{i.low:+.3f}, {i.high:+.3f}] ({n:,} moments)"
        for one, other, i, n in between_arms(experiment)
    ]
    if pairs:
        found.append(f"Arms against one another, {unit}, not corrected: {'; '.join(pairs)}.")
    noise = table.filter(
        pl.col("control").is_in(["null", "cold"]),
        pl.col("outcome") == test["outcome"],
        pl.col("subject_role") == "all",
    )
    if len(noise):
        largest = float(noise["effect"].abs().to_numpy().max())
        does = "is" if test["outcome"] in DISTANCES else "moves by"
        found.append(f"Asked again without any change, the {unit} {does} at most {largest:.1g} on average.")
    return found


def _positive_controls(table: pl.DataFrame) -> list[str]:
    """What the tested arms that push along a direction do to what is stated of the same player, where it was asked."""
    tested = table.filter(pl.col("verdict").is_not_null(), pl.col("against") == "random directions")["arm"]
    stated = table.filter(
        pl.col("outcome") == "belief_subject",
        pl.col("subject_role") == "all",
        pl.col("arm").is_in(tested.to_list()),
    )
    return [
        f"Positive control: asked, under {r['arm']} the {OUTCOMES['belief_subject']} goes from {r['before']:.3f} by "
        f"{interval_words(r)}, beyond {r['against']} {_beyond(r)}{_reached(r)}."
        for r in stated.iter_rows(named=True)
    ]


def _reached(row: dict[str, Any]) -> str:
    """Whether a positive control holds, from the interval of its contrast."""
    if row["contrast_low"] is None:
        return ""
    if row["contrast_low"] > 0 or row["contrast_high"] < 0:
        return ": it holds"
    return ": it does not hold, so that a choice stays the same under this change says little"


def _beyond(row: dict[str, Any]) -> str:
    """The contrast with its interval; in words where too few moments have both."""
    if row["contrast"] is None or row["contrast_low"] is None:
        return "by what so few moments do not tell"
    return f"by {row['contrast']:+.3f} [{row['contrast_low']:+.3f}, {row['contrast_high']:+.3f}]"


def _from(r: dict[str, Any]) -> str:
    """`goes from .22 by +.01`; a distance from the unchanged moment starts at nothing."""
    if r["outcome"] in DISTANCES:
        return f"is {r['effect']:.3f}"
    return f"goes from {r['before']:.3f} by {r['effect']:+.3f}"


def interval_words(r: dict[str, Any]) -> str:
    """The effect of a row with its interval."""
    return f"{r['effect']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]"
