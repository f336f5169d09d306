"""Branches that were passed with the runs: what one change did in one recorded game.

A branch is a run folder whose manifest names its parent. Its games share a beginning, so they are not independent and
never enter the probes' rows. The effects are in `branch.json` beside them: each is the difference between continuations
with the change and without it. One game says nothing about other games; an experiment measures effects over many
moments (`analysis.effects.table`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

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
