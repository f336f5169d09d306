"""T6 and F8: what changes and pushes did to behaviour, from the branches that were given beside the runs.

A branch is a run folder whose manifest names its parent. Its games share a beginning, so they are no independent
games and never enter the probes' rows; what counts is `branch.json` beside them, where each effect is the difference
between continuations with the change and without. A branch that is steered at several strengths is several branches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.stats.bootstrap import ratio_interval
from analysis.stats.errors import AnalysisError

EFFECTS: dict[str, Any] = {
    "branch": pl.String,
    "game_id": pl.String,  # the game that it continues
    "change": pl.String,  # in words
    "steered": pl.Boolean,
    "vector": pl.String,
    "layer": pl.Int64,
    "scale": pl.Float64,
    "kind": pl.String,  # outcome, next_exile, ballot, votes, belief, decision
    "what": pl.String,
    "n": pl.Int64,  # pairs
    "unchanged": pl.Float64,
    "changed": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def is_branch(run: Any) -> bool:
    """Whether a run continues a recorded game."""
    return run.manifest.parent is not None


def refuse_branches(runs: Sequence[Any], what: str) -> None:
    """Raises AnalysisError where one of the runs continues a recorded game. what: what cannot be done with it."""
    for run in runs:
        if is_branch(run):
            raise AnalysisError(
                f"{run.path} continues a recorded game: its games share a beginning and are no sample, so {what}; "
                "name the run that it continues"
            )


def effects_of(branches: Sequence[Any]) -> tuple[pl.DataFrame, list[str]]:
    """All paired effects of the branches (schema `EFFECTS`), and in words which branches have none."""
    rows: list[dict[str, Any]] = []
    absent: list[str] = []
    for run in branches:
        path = run.path / "branch.json"
        if not path.is_file():
            absent.append(
                f"branch {run.path.name} has no branch.json: let it finish (`wolfscope branch` again)"
            )
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        change = run.manifest.parent.get("change", {})
        steered = change.get("tag", change.get("type")) == "steer" or "vector" in change
        paired = [e for e in found["effects"] if e.get("difference") is not None]
        if not paired:
            absent.append(
                f"branch {run.path.name} changes nothing ({found['what']}): it has no effect to show"
            )
        rows += [
                {
                    "branch": run.path.name, "game_id": str(found.get("game_id", run.path.name)),
                    "change": found["what"], "steered": steered,
                    "vector": change.get("vector"), "layer": change.get("layer"),
                    "scale": float(change.get("scale", 1.0)) if steered else None, "kind": e["kind"],
                    "what": e["what"], "n": e["n"], "unchanged": e["unchanged"], "changed": e["changed"],
                    "difference": e["difference"], "low": e["low"], "high": e["high"],
                }
            for e in paired
        ]  # fmt: skip
    return pl.DataFrame(rows, schema=EFFECTS), absent


POOLED: dict[str, Any] = {
    "change": pl.String,
    "kind": pl.String,
    "what": pl.String,
    "difference": pl.Float64,  # mean over games, each game one vote
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,  # of no difference, two-sided, bootstrap over games
    "n_games": pl.Int64,
    "n": pl.Int64,  # pairs
}


def pooled(effects: pl.DataFrame, least: int = 5, n_boot: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The same change made in `least` games or more: mean difference with an interval over games (schema `POOLED`).

    Several branches of one game are averaged first. A change is the same where its words, vector, layer and strength
    are.
    """
    keys = ["change", "vector", "layer", "scale", "kind", "what"]
    by_game = effects.group_by([*keys, "game_id"], maintain_order=True).agg(
        pl.col("difference").mean(), pl.col("n").sum()
    )
    rows: list[dict[str, Any]] = []
    for key, games in by_game.group_by(keys, maintain_order=True):
        if len(games) < least:
            continue
        i = ratio_interval(games["game_id"], games["difference"], n_boot=n_boot, seed=seed)
        named = dict(zip(keys, key))
        push = "" if named["scale"] is None else f", strength {named['scale']:g}"
        rows.append(
            {
                "change": f"{named['change']}{push}", "kind": named["kind"], "what": named["what"],
                "difference": i.value, "low": i.low, "high": i.high, "p": i.p, "n_games": len(games),
                "n": int(games["n"].sum()),
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=POOLED)


def doses(effects: pl.DataFrame, least: int = 3) -> pl.DataFrame:
    """The steered effects of one vector, layer and outcome at `least` strengths or more, by strength."""
    keys = ["vector", "layer", "what"]
    steered = effects.filter(
        pl.col("steered") & pl.col("kind").is_in(["outcome", "votes", "belief", "next_exile"])
    )
    many = (
        steered.group_by(keys, maintain_order=True)
        .agg(n_doses=pl.col("scale").n_unique())
        .filter(pl.col("n_doses") >= least)
    )
    return steered.join(many, on=keys, how="semi", nulls_equal=True).sort(
        "what", "scale", maintain_order=True
    )
