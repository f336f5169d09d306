"""The appendix: this pipeline on planted truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from statsmodels.stats.proportion import proportion_confint

from analysis.report.block import Block
from analysis.report.page import Numbers, Table, share

PLANTED = Path(__file__).parents[2] / "planted" / "planted_truth.json"


def appendix(numbers: Numbers) -> Block:
    """What the pipeline does where the truth is known, from the table that the package carries."""
    block = Block("planted", "Appendix. This pipeline on planted truth")
    if not PLANTED.is_file():
        block.add(
            note="Not computed in this installation; `python -m analysis.planted.table` makes the table."
        )
        return block
    frame = pl.read_json(PLANTED)
    numbers.add("A1_planted", frame)
    known = [
        [r["plant"], f"{r['n_games']}", f"{r['strength']:g}", f"{r['repeats']}"] for r in frame.to_dicts()
    ]
    rows = [
        [
            *key,
            _rate(r, "supported"),
            share(r["not_beyond"]),
            share(r["underpowered"]),
            _rate(r, "null_beaten"),
        ]
        for key, r in zip(known, frame.to_dicts())
    ]
    head = ["planted", "games", "strength", "data sets"]
    block.add(
        note="Synthetic activations whose answer is known, through the same evaluation as above: a signal must be "
        "supported, a public count in disguise (confound) and nothing at all must not; in silence not even the public "
        "count tells anything. Where nothing is planted, 5% should lie above the null. In brackets, what that many "
        "data sets leave open (Wilson, 95%).",
        table=Table(
            [*head, "supported", "not beyond baseline", "underpowered", "above the null"],
            rows,
            tuple(range(1, 8)),
        ),
    )
    rows = [
        [*key, _rate(r, "interval_off_half"), share(r["rows_split_beaten"]), share(r["best_layer_beaten"])]
        for key, r in zip(known, frame.to_dicts())
    ]
    block.add(
        note="How often the 95% interval of the probe's AUROC excludes .5 (5% of the times is right where nothing is "
        "planted), beside published mistakes on the same data: how often they would have announced a signal, their "
        "interval over rows lying above .5.",
        table=Table(
            [*head, "interval excludes .5", "mistake: rows at random", "mistake: best layer on test rows"], rows,
            tuple(range(1, 7)),
        ),
    )  # fmt: skip
    return block


def _rate(row: dict[str, Any], column: str) -> str:
    """A share of the data sets with its Wilson interval."""
    low, high = proportion_confint(round(row[column] * row["repeats"]), row["repeats"], method="wilson")
    return f"{row[column]:.0%} [{low:.0%}, {high:.0%}]"
