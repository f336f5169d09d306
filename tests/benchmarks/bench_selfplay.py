"""Games a second of rollouts in lock-step, beside those of a tournament on vLLM in which the same model plays.

    .venv/bin/python tests/benchmarks/bench_selfplay.py [--games 256] [--together 256] [--model small]

The model has every seat of every game, in both. Seconds are those in which games are played, without starting up, and
without the tournament's tables. The rollouts run in this process, in as many parts as there are cores, before the
engine starts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from games import load_game
from games.records import Decision
from harness.config.models import used_backends
from harness.play.engines import start_backends, stop_backends
from harness.play.pools.cluster import ray_for_now
from harness.play.tournament import play_schedule
from harness.run.held import RunFolder
from harness.schedule.tournament import Schedule
from harness.training.selfplay.learner import load
from harness.training.selfplay.lockstep import Planned, play_side_by_side
from harness.training.selfplay.pool import player, sampler_of
from tests.benchmarks.bench_tournament import Timed, configuration, manifest


def rollouts(model: str, games: int, together: int) -> float:
    """Games a second in lock-step."""
    torch.set_num_threads(1)
    hooked, n_parts = load(model), os.cpu_count() or 1
    samplers = [sampler_of(hooked) for _ in range(n_parts)]
    rules = load_game("werewolf").configure(preset="classic-7")

    def play(first: int, n: int) -> int:
        planned = [
            Planned(f"bench-{i}", rules, i, i, ("model",) * rules.n_players) for i in range(first, first + n)
        ]
        players = [{"model": player("model", sampler)} for sampler in samplers]
        return sum(isinstance(r, Decision) for p in play_side_by_side(planned, players) for r in p.log)

    passes = {"prompts": 0.0, "single tokens": 0.0}

    def timed(whole: Callable[..., Any]) -> Callable[..., Any]:
        def forward(memory: Any, ids: Any, *rest: Any) -> Any:
            since = time.thread_time()
            found = whole(memory, ids, *rest)
            passes["prompts" if ids.shape[1] > 1 else "single tokens"] += time.thread_time() - since
            return found

        return forward

    play(1 << 20, 8)  # what the first games import and build is nobody's cost
    for sampler in samplers:
        sampler._forward = timed(sampler._forward)  # type: ignore[method-assign]
    before, began, cpu = sum(s.n_tokens for s in samplers), time.monotonic(), time.process_time()
    decisions = sum(play(first, min(together, games - first)) for first in range(0, games, together))
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    shares = ", ".join(f"{spent / cpu:.0%} passes over {what}" for what, spent in passes.items())
    print(
        f"rollouts, {together} games together in {n_parts} parts: {games / seconds:6.2f} games/s ({games / cpu:.2f} a "
        f"second of processor time: {shares}), {decisions:,} decisions, "
        f"{(sum(s.n_tokens for s in samplers) - before) / seconds:,.0f} tokens/s computed"
    )
    return games / seconds


def tournament(args: argparse.Namespace, folder: Path) -> float:
    """Games a second of the tournament on vLLM."""
    backend: dict[str, Any] = {
        "kind": "vllm", "model": args.model, "device": args.device, "max_concurrent": args.max_concurrent
    }  # fmt: skip
    config = configuration(
        args.games,
        run={"games": args.games, "seed": 3, "in_flight": args.in_flight, "runners": 1},
        game={"preset": "classic-7"},
        agents={"model": {"kind": "llm", "backend": "m"}},
        backends={"m": backend},
        roster={"mix": {"model": 7}},
    )
    schedule, progress = Schedule(config), Timed("quiet")
    with ray_for_now(None, progress):
        backends = start_backends(used_backends([config]), progress.say)
        with RunFolder.claim(folder / "run", manifest(schedule)) as claimed:
            play_schedule(claimed, schedule, progress, backends=backends)
        stop_backends(backends)
    print(
        f"tournament on vLLM, {args.in_flight} games in flight: {args.games / progress.seconds:6.2f} games/s, "
        f"{progress.counts.decisions:,} decisions"
    )
    return args.games / progress.seconds


def main() -> None:
    """Prints both, and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=256)
    parser.add_argument("--together", type=int, default=256, help="games in lock-step")
    parser.add_argument("--in-flight", type=int, default=128, help="games of the tournament at the same time")
    parser.add_argument("--max-concurrent", type=int, default=64, help="requests in one engine step")
    parser.add_argument("--model", default="small")
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    args = parser.parse_args()
    ours = rollouts(args.model, args.games, args.together)
    with tempfile.TemporaryDirectory() as name:
        theirs = tournament(args, Path(name))
    print(f"rollouts / tournament: {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
