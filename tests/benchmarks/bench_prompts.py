"""Prompts compared on one model: share of usable first answers, tokens a decision, wins, in the same deals.

    python tests/benchmarks/bench_prompts.py MODEL [--games 12] [--styles transcript,standard,short,...] [--out RUN]

One seat of a game of five is the model's, the others are `naive`; one tournament of all prompts. Intervals are
Wilson's over decisions, so they are too narrow where a game's answers go together.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import polars as pl  # noqa: E402

from harness.config.files import parse_config  # noqa: E402
from harness.config.sections import Config  # noqa: E402
from harness.play.progress import Progress, wilson  # noqa: E402
from harness.play.tournament import run_tournament  # noqa: E402
from harness.run.folder import Run, load_run  # noqa: E402

PLAIN = {"scratchpad": False}
STYLES: dict[str, dict[str, Any] | None] = {
    "transcript": None,
    "standard": PLAIN,
    "short": PLAIN | {"version": "short"},
    "short+prefill": PLAIN | {"version": "short", "prefill": True},
    "short+digest": PLAIN | {"version": "short", "digest": True},
    "short+examples": PLAIN | {"version": "short", "examples": 2},
    "short+all": PLAIN | {"version": "short", "digest": True, "examples": 2, "prefill": True},
}
GAME = {"preset": "custom", "roles": {"werewolf": 1, "seer": 1, "villager": 3}, "reveal_night": "role",
        "reveal_day": "role", "ballot_abstain": True}  # fmt: skip


def tournament(model: str, styles: Sequence[str], games: int, seed: int, kind: str) -> Config:
    """The same deals for every style, with its player in seat 0."""
    players = {}
    for style in styles:
        factors = STYLES[style]
        players[style] = {
            "kind": "llm",
            "backend": "model",
            "prompt": "transcript" if factors is None else "chat",
            "sampling": {"max_tokens": 40, "temperature": 0.7},
            "retries": 1,
            "settings": {"choice": "repair"}
            if factors is None
            else {"choice": "constrained", "factors": factors},
        }
    tables = [[style, *["naive"] * 4] for style in styles]
    return parse_config(
        {
            "run": {"games": games, "seed": seed},
            "game": GAME,
            "agents": players | {"naive": {"kind": "scripted", "policy": "naive"}},
            "backends": {"model": {"kind": kind, "model": model, "settings": {"max_context": 4096}}},
            "roster": {"seats": tables[0]},
            "experiment": {"factors": {"roster.seats": tables}},
            "beliefs": {"enabled": True, "orders": 1, "before": ["ballot"]},
        }
    )


def row(run: Run, style: str) -> str:
    """The figures of one style."""
    own = run.decisions.filter(pl.col("agent") == style).collect()
    first = own.filter(
        (pl.col("attempts") == 1) & pl.col("fallback").is_null() & ~pl.col("forced").fill_null(False)
    )
    spoken = own.filter(pl.col("kind") == "speech")
    formal = spoken.filter(pl.col("acts").list.len() > 0)
    low, high = wilson(len(first), len(own))
    roles = run.seats.select("game_id", "seat", "role", "agent", "won").collect()
    seat = roles.filter(pl.col("agent") == style).select("game_id", pl.col("role").alias("mine"), "won")
    votes = own.filter(pl.col("kind") == "ballot").join(
        roles.drop("agent", "won"), left_on=["game_id", "option"], right_on=["game_id", "seat"], how="left",
        maintain_order="left",
    ).join(seat, on="game_id", how="left", maintain_order="left")  # fmt: skip
    village = votes.filter(pl.col("mine") != "werewolf")
    hits = village.filter(pl.col("role") == "werewolf")
    options = village["options"].list.eval((pl.element() >= 0).cast(pl.Int64)).list.sum()
    chance = (
        (1 / options).mean() if len(options) else None
    )  # one werewolf, which lives while the game goes on
    tokens = own["prompt_ids"].list.len().sum() + own["output_ids"].list.len().sum()
    asked = run.beliefs.collect().join(seat, on="game_id", how="semi", maintain_order="left")
    return (
        f"{len(first)}/{len(own)} ({low:.2f} to {high:.2f}) | {len(formal)}/{len(spoken)} | "
        f"{tokens / max(1, len(own)):.0f} | {len(hits)}/{len(village)} ({chance or 0:.2f}) | "
        f"{int(seat['won'].sum())}/{len(seat)} | {asked['option_mass'].median():.2g}"
    )


def main() -> None:
    """Play, then print one line of a table for each style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--games", type=int, default=12)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--styles", default=",".join(STYLES))
    parser.add_argument("--kind", default="vllm", help="the backend: vllm or transformers")
    parser.add_argument("--out", type=Path, help="keep the run in this folder; the same command resumes it")
    asked = parser.parse_args()
    styles = asked.styles.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.out or Path(scratch) / "run"
        run_tournament(
            tournament(asked.model, styles, asked.games, asked.seed, asked.kind), folder, Progress()
        )
        run = load_run(folder)
        sys.stdout.write(
            "| prompts | usable at once | speeches with a formal sentence | new tokens a decision | village ballots at "
            "the werewolf (by chance) | won | median option mass |\n|---|---|---|---|---|---|---|\n"
        )
        for style in styles:
            sys.stdout.write(f"| {style} | {row(run, style)} |\n")


if __name__ == "__main__":
    main()
