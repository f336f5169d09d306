"""Prompts compared on one model: share of usable first answers, tokens a decision, seconds, wins, in the same deals.

    python tests/benchmarks/bench_prompts.py MODEL [--games 4] [--styles transcript,standard,short,...]

One seat of a game of five is the model's, the others are `naive`; played in this process. Intervals are Wilson's over
decisions, so they are too narrow where a game's answers go together.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import polars as pl  # noqa: E402

from agents.backends.hooked.backend import load_hooked_backend  # noqa: E402
from agents.models.small import find_model  # noqa: E402
from harness.config.files import parse_config  # noqa: E402
from harness.play.progress import wilson  # noqa: E402
from harness.run.folder import Run, load_run  # noqa: E402
from tests.fixtures.local_runs import play_run  # noqa: E402

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


def play(
    model: str, factors: dict[str, Any] | None, games: int, seed: int, folder: Path, backend: Any
) -> Run:
    """Games with the model in seat 0."""
    settings = {"choice": "repair"} if factors is None else {"choice": "constrained", "factors": factors}
    config = parse_config(
        {
            "run": {"games": games, "seed": seed},
            "game": GAME,
            "agents": {
                "model": {
                    "kind": "llm",
                    "backend": "model",
                    "prompt": "transcript" if factors is None else "chat",
                    "sampling": {"max_tokens": 40, "temperature": 0.7},
                    "retries": 1,
                    "settings": settings,
                },
                "naive": {"kind": "scripted", "policy": "naive"},
            },
            "backends": {"model": {"kind": "transformers", "model": model, "device": "cpu"}},
            "roster": {"seats": ["model", *["naive"] * 4]},
            "beliefs": {"enabled": True, "orders": 1},
        }
    )
    return load_run(play_run(config, folder, {"model": backend}))


def row(run: Run, seconds: float) -> str:
    """The figures of one run."""
    own = run.decisions.filter(pl.col("agent") == "model").collect()
    first = own.filter(
        (pl.col("attempts") == 1) & pl.col("fallback").is_null() & ~pl.col("forced").fill_null(False)
    )
    spoken = own.filter(pl.col("kind") == "speech")
    formal = spoken.filter(pl.col("acts").list.len() > 0)
    low, high = wilson(len(first), len(own))
    ballots = own.filter(pl.col("kind") == "ballot")
    roles = run.seats.select("game_id", "seat", "role", "won").collect()
    seat = roles.filter(pl.col("seat") == 0).select("game_id", pl.col("role").alias("mine"), "won")
    votes = ballots.join(roles, left_on=["game_id", "option"], right_on=["game_id", "seat"], how="left",
                         maintain_order="left").join(seat, on="game_id", how="left", maintain_order="left")  # fmt: skip
    village = votes.filter(pl.col("mine") != "werewolf")
    hits = village.filter(pl.col("role") == "werewolf")
    tokens = own["prompt_ids"].list.len().sum() + own["output_ids"].list.len().sum()
    mass = run.beliefs.collect()["option_mass"].median()
    return (
        f"{len(first)}/{len(own)} ({low:.2f} to {high:.2f}) | {len(formal)}/{len(spoken)} | "
        f"{tokens / max(1, len(own)):.0f} | {len(hits)}/{len(village)} | "
        f"{int(seat['won'].sum())}/{len(seat)} | {mass:.2g} | {seconds / max(1, len(own)):.1f}"
    )


def main() -> None:
    """Print one line of a table for each style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--games", type=int, default=4)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--styles", default=",".join(STYLES))
    asked = parser.parse_args()
    backend = load_hooked_backend(find_model(asked.model), device="cpu", dtype="float32")
    sys.stdout.write(
        "| prompts | usable at once | speeches with a formal sentence | new tokens a decision | village ballots at the "
        "werewolf | won | median option mass | s a decision |\n|---|---|---|---|---|---|---|---|\n"
    )
    for style in asked.styles.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            began = time.monotonic()
            run = play(asked.model, STYLES[style], asked.games, asked.seed, Path(scratch) / "run", backend)
            sys.stdout.write(f"| {style} | {row(run, time.monotonic() - began)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
