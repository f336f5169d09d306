"""Where in a reasoning the decision is made: the decision if the answer were forced after each step."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from analysis.effects.table import over_games
from analysis.reasoning.read import Reasonings, bits, distance, shares_of

TIED = 1e-6
"""Probabilities that differ by no more than this count as equal."""
CURVES: dict[str, Any] = {
    "moment": pl.Int32,
    "game": pl.String,
    "faction": pl.String,
    "k": pl.Int32,
    "share": pl.Float64,  # of the reasoning's tokens that are written
    "p_final": pl.Float64,  # probability of the option that leads when all is written
    "distance": pl.Float64,  # total variation from the distribution when all is written
    "jump": pl.Float64,  # total variation from the prefix before; null for the first
    "entropy": pl.Float64,  # bits
    "leads": pl.Boolean,  # the finally leading option leads here alone, or nothing changes any more
    "belief": pl.Float64,  # by the probe: P(the final option is a werewolf), null without one
}
COMMITMENTS: dict[str, Any] = {
    "moment": pl.Int32,
    "game": pl.String,
    "faction": pl.String,
    "largest": pl.Float64,  # the largest jump
    "at": pl.Int32,  # the prefix after which it stands
    "at_share": pl.Float64,
    "category": pl.String,  # of the last step of that prefix
    "moved": pl.Float64,  # total variation between no reasoning and all of it
    "after": pl.Float64,  # share of the tokens that are written when the lead does not change any more
    "from_start": pl.Boolean,  # the lead never changes: decided before the first word
    "words": pl.Int32,  # the prefix whose last step names the final option first, null where none does
    "belief_at": pl.Int32,  # the prefix after the largest change of the probe's belief about it, null without a probe
}


def curves(r: Reasonings) -> pl.DataFrame:
    """The commitment curve of every moment (schema `CURVES`)."""
    rows: list[dict[str, Any]] = []
    for part in r.steps.partition_by("moment", maintain_order=True):
        steps = part.sort("k", maintain_order=True).to_dicts()
        shares = [shares_of(s["logprobs"]) for s in steps]
        top = int(np.argmax(shares[-1]))
        option = steps[0]["options"][top]
        for i, (s, p) in enumerate(zip(steps, shares, strict=True)):
            held = dict(zip(s["seats"], s["beliefs"], strict=True))
            rows.append(
                {key: s[key] for key in ("moment", "game", "faction", "k", "share")}
                | {
                    "p_final": float(p[top]), "distance": distance(p, shares[-1]), "entropy": bits(p),
                    "jump": distance(p, shares[i - 1]) if i else None, "belief": held.get(option),
                    "leads": bool(p[top] > np.delete(p, top).max(initial=0.0) + TIED)
                    or distance(p, shares[-1]) < TIED,
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=CURVES)


def commitments(r: Reasonings) -> pl.DataFrame:
    """One row a moment (schema `COMMITMENTS`)."""
    found = curves(r)
    named = {(s["moment"], s["k"]): s for s in r.steps.iter_rows(named=True)}
    finals = {m["moment"]: m for m in r.moments.iter_rows(named=True)}
    rows = []
    for part in found.partition_by("moment", maintain_order=True):
        c = part.to_dicts()
        moment = c[0]["moment"]
        last = named[moment, c[-1]["k"]]
        option = last["options"][int(np.argmax(last["logprobs"]))]
        at = max(range(1, len(c)), key=lambda i: c[i]["jump"], default=0)
        held = [x["belief"] for x in c]
        moves = [abs(b - a) if a is not None and b is not None else None for a, b in pairwise(held)]
        known = [i for i, move in enumerate(moves) if move is not None]
        fixed = next(i for i in range(len(c)) if all(x["leads"] for x in c[i:]))
        words = next((x["k"] for x in c if option in named[moment, x["k"]]["named"]), None)
        rows.append(
            {
                "moment": moment, "game": c[0]["game"], "faction": finals[moment]["faction"],
                "largest": c[at]["jump"] or 0.0, "at": c[at]["k"], "at_share": c[at]["share"],
                "category": named[moment, c[at]["k"]]["category"], "moved": c[0]["distance"],
                "after": 1.0 - c[fixed]["share"], "from_start": fixed == 0, "words": words,
                "belief_at": c[1 + max(known, key=lambda i: moves[i] or 0.0)]["k"] if known else None,
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=COMMITMENTS)


TABLE: dict[str, Any] = {
    "faction": pl.String,
    "measure": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "n_games": pl.Int64,
}
MEASURES = {
    "moved": "change of the decision from no reasoning to all of it (total variation)",
    "largest": "largest jump at one step",
    "at_share": "share of the reasoning written at the largest jump",
    "after": "share of the reasoning written after the decision is fixed",
    "from_start": "decisions fixed before the first word",
    "belief_before": "belief inside moves most before the words name the chosen player",
    "belief_with": "belief inside moves most with these words",
    "belief_after": "belief inside moves most after these words",
}


def commitment_table(r: Reasonings, n_boot: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The means of `MEASURES`, all together and by faction, 95% intervals over games."""
    found = commitments(r).with_columns(pl.col("from_start").cast(pl.Float64))
    lag = pl.col("belief_at") - pl.col("words")
    found = found.with_columns(
        belief_before=(lag < 0).cast(pl.Float64), belief_with=(lag == 0).cast(pl.Float64),
        belief_after=(lag > 0).cast(pl.Float64),
    )  # fmt: skip
    rows = []
    for faction in ["all", *sorted(found["faction"].unique(maintain_order=True))]:
        part = found if faction == "all" else found.filter(pl.col("faction") == faction)
        for measure in MEASURES:
            known = part.filter(pl.col(measure).is_not_null())
            rows.append(_mean(known, measure, faction, n_boot, seed))
    return pl.DataFrame([row for row in rows if row is not None], schema=TABLE)


def _mean(frame: pl.DataFrame, measure: str, faction: str, n_boot: int, seed: int) -> dict[str, Any] | None:
    if not len(frame):
        return None
    i = over_games(frame["game"].to_numpy(), frame[measure].cast(pl.Float64).to_numpy(), n_boot, seed)
    return {
        "faction": faction, "measure": measure, "value": i.value, "low": i.low, "high": i.high, "n": len(frame),
        "n_games": frame["game"].n_unique(),
    }  # fmt: skip


def mean_curve(r: Reasonings, points: int = 11, n_boot: int = 1000, seed: int = 0) -> pl.DataFrame:
    """The curves over the share of the reasoning that is written, each taken as a step function.

    Columns share, value (mean distance from the final distribution), low, high, p_final, belief, n.
    """
    found = curves(r)
    rows = []
    for share in np.linspace(0, 1, points):
        at = (
            found.filter(pl.col("share") <= share + 1e-9)
            .group_by("moment", maintain_order=True)
            .agg(pl.all().sort_by("k").last())
        )
        i = over_games(at["game"].to_numpy(), at["distance"].to_numpy(), n_boot, seed)
        rows.append(
            {"share": float(share), "value": i.value, "low": i.low, "high": i.high,
             "p_final": float(np.mean(at["p_final"].to_numpy())), "belief": at["belief"].mean(), "n": len(at)}
        )  # fmt: skip
    schema = dict.fromkeys(("share", "value", "low", "high", "p_final", "belief"), pl.Float64) | {
        "n": pl.Int64
    }
    return pl.DataFrame(rows, schema=schema)
