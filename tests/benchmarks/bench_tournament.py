"""What a tournament costs on top of what it consists of: scripted players, and an engine.

    .venv/bin/python tests/benchmarks/bench_tournament.py [--games 2000] [--game avalon] [--model-games 600] ...

Scripted players: games a second of processor time, of the plain loop without a log on one core, of one runner with its
journal, and of a whole tournament on Ray (the driver and all runners together), without and with its tables.

Engine: a tournament in which a model plays every seat, and then a fresh engine of the same settings that is fed the
very same prompts, with their seeds, offline in one batch, through vLLM's own `LLMEngine` and nothing else. Tokens are
those of prompts and outputs; the seconds are those from the first game's start to the last one's end, without starting
up and without tables. Towards the end fewer and fewer games are left, so `while games wait` is told as well: from the
moment when as many games have ended as are in flight to the moment when the last one is begun. `--model 100m` is a
random model of 85M parameters with the small model's tokenizer; any other value is a model folder.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from agents.backends.base import Prompt, Sampling
from agents.backends.vllm.settings import EngineSettings, engine_env
from games.play import Answer, play
from games.seat_view.views import Seen
from harness.config.files import parse_config
from harness.config.models import model_names, used_backends
from harness.config.sections import Config
from harness.play.engines import start_backends, stop_backends
from harness.play.factory import make_agent
from harness.play.pools.cluster import ray_for_now
from harness.play.progress import Progress
from harness.play.runner import Counts, Runner
from harness.play.tournament import play_schedule
from harness.run.held import RunFolder, new_manifest
from harness.run.journal import End
from harness.schedule.tournament import Schedule
from tests.benchmarks.engine_alone import Alone, Fed, prompts_of, random_model

CASTS = {
    "werewolf": {"loud": 3, "random": 4},
    "avalon": {"truthful": 1, "deep": 1, "reckless": 1, "hinting": 1, "hiding": 1},
}
"""Scripted players of each game, and their seats."""


def configuration(games: int, of: str = "werewolf", **more: Any) -> Config:
    plain = {
        "run": {"games": games, "seed": 3},
        "game": {"name": of},
        "agents": {policy: {"kind": "scripted", "policy": policy} for policy in CASTS[of]},
        "roster": {"mix": CASTS[of]},
    }
    return parse_config(plain | more)


def manifest(schedule: Schedule) -> Any:
    made = new_manifest(
        "bench", schedule.config.plain(), schedule.config.hash(), len(schedule), schedule.cells
    )
    made.models = model_names(used_backends(schedule.configs))
    return made


async def plain_loop(config: Config) -> None:
    """Every game, with nothing but the rules and the players."""
    schedule = Schedule(config)
    game, rules = schedule.cells[0].rules()
    players = {name: make_agent(name, config, {}) for name in config.agents}
    for planned in schedule:
        views = Seen(game, rules, len(planned.agents))
        steps = play(game, rules, planned.seed)
        step = next(steps)
        while step.requests:
            views.add(step.new)
            answers = []
            for request in step.requests:
                name = planned.agents[request.seat]
                seen = views.observation(planned.game_id, planned.seed, request)
                answers.append(Answer(await players[name].act(seen), name))
            step = steps.send(answers)


async def one_runner(config: Config, folder: Path) -> None:
    """Every game through a runner, with its journal, without Ray."""
    schedule = Schedule(config)
    runner = Runner(folder / "journal.jsonl", schedule.cells, schedule.configs, {})
    for planned in schedule:
        await runner.play(planned)
    await runner.close()


def scripted(games: int, folder: Path, game: str) -> None:
    """Games a second of processor time: the plain loop, a runner, a tournament on Ray."""
    config = configuration(games, game)
    asyncio.run(plain_loop(configuration(20, game)))  # what the first games import and build is nobody's cost
    began = time.process_time()
    asyncio.run(plain_loop(config))
    plain = games / (time.process_time() - began)
    print(f"plain loop:        {plain:8.0f} games/s of processor time")
    began = time.process_time()
    asyncio.run(one_runner(config, folder))
    runner = games / (time.process_time() - began)
    print(
        f"runner + journal:  {runner:8.0f} games/s of processor time, {runner / plain:.0%} of the plain loop"
    )
    schedule, progress = Schedule(config), Timed("quiet")
    with ray_for_now(None, progress), RunFolder.claim(folder / "run", manifest(schedule)) as claimed:
        play_schedule(claimed, schedule, progress)
    runners, driver = progress.counts.cpu_seconds, progress.played_at - progress.began_at
    tables = time.process_time() - progress.played_at
    ray, whole = games / (driver + runners), games / (driver + runners + tables)
    print(f"tournament on Ray: {ray:8.0f} games/s of processor time, {ray / plain:.0%} of the plain loop")
    print(
        f"with its tables:   {whole:8.0f} games/s of processor time, {whole / plain:.0%} of the plain loop; "
        f"{driver:.1f} s in the driver, {runners:.1f} s in the runners, {tables:.1f} s for the tables"
    )
    print(f"                   {games / progress.seconds:8.0f} games/s of wall time while playing")


class Timed(Progress):
    """Notes the times between which games are played, the driver's processor time, and what was done when."""

    began = last = 0.0
    """When the first game was handed out, and when the last one ended."""
    began_at = played_at = 0.0
    """The driver's processor time then."""

    def begin(self, total: int, kept: list[End]) -> None:
        """Playing starts."""
        super().begin(total, kept)
        self.began, self.began_at = time.monotonic(), time.process_time()
        self.seen: list[tuple[float, Counts]] = []

    def ended(self, end: End) -> None:
        """A game has ended."""
        super().ended(end)
        self.last = time.monotonic()

    def show(self, counts: Counts, force: bool = False) -> None:
        """Show the state; the last time when playing has ended."""
        super().show(counts, force)
        self.played_at = time.process_time()
        waiting = self.total - self.done - counts.in_flight
        steady = waiting > 0 and self.done >= counts.in_flight
        if steady and counts.decisions > (self.seen[-1][1].decisions if self.seen else 0):
            self.seen.append((time.monotonic(), counts))

    @property
    def seconds(self) -> float:
        """How long games were played."""
        return self.last - self.began

    def steady(self) -> tuple[float, float]:
        """(seconds, tokens a second) while games waited to be played; (0, 0) where that was never so for long."""
        if len(self.seen) < 2:
            return 0.0, 0.0
        (begun, first), (ended, last) = self.seen[0], self.seen[-1]
        tokens = last.prompt_tokens + last.output_tokens - first.prompt_tokens - first.output_tokens
        return ended - begun, tokens / (ended - begun)


def engine(args: argparse.Namespace, folder: Path) -> None:
    """Tokens a second of a tournament and of the engine alone."""
    from agents.llm.transcript import newline_ids
    from agents.models.folder import load_tokenizer
    from harness.config.models import model_folder

    sampling = {"temperature": 1.0, "top_p": 1.0, "max_tokens": args.max_tokens}
    name = random_model(folder / "100m") if args.model == "100m" else args.model
    backend = {"kind": "vllm", "model": name, "device": args.device, "max_concurrent": args.max_concurrent}
    config = configuration(
        args.model_games,
        run={"games": args.model_games, "seed": 3, "in_flight": args.in_flight, "runners": args.runners},
        agents={"model": {"kind": "llm", "backend": "m", "sampling": sampling, "retries": 0}},
        backends={"m": backend},
        roster={"mix": {"model": 7}},
    )
    schedule, progress = Schedule(config), Timed("quiet")
    model = model_folder(config.backends["m"])
    clock = [time.monotonic()]
    with ray_for_now(None, progress):
        clock.append(time.monotonic())
        backends = start_backends(used_backends([config]), progress.say)
        before = asyncio.run(backends["m"].stats())
        clock.append(time.monotonic())
        with RunFolder.claim(folder / "model-run", manifest(schedule)) as claimed:
            play_schedule(claimed, schedule, progress, backends=backends)
        stats = {k: n - before[k] for k, n in asyncio.run(backends["m"].stats()).items()}
        stop_backends(backends)
        prompts = prompts_of(folder / "model-run", sampling, newline_ids(load_tokenizer(model)))
        batch, window = alone(args, str(model), prompts)
    ours = Fed(
        progress.seconds,
        stats["cpu_ms"] / 1000,
        stats["steps"],
        stats["prompt_tokens"],
        stats["cached_tokens"],
        stats["output_tokens"],
    )
    begun = [b - a for a, b in itertools.pairwise([*clock, progress.began])]
    print(f"\n{args.model}: {args.model_games} games, {args.in_flight} in flight, {len(prompts):,} decisions")
    print("started: Ray {:.1f} s, engine {:.1f} s, runners {:.1f} s".format(*begun))
    rows = {
        "tournament": ours,
        "engine alone, one batch": batch,
        f"engine alone, {args.in_flight} at a time": window,
    }
    for title, fed in rows.items():
        print(
            f"{title:30s} {fed.rate:9,.0f} tokens/s ({(fed.prompt - fed.cached + fed.generated) / fed.seconds:7,.0f} "
            f"prefilled and generated): {fed.seconds:6.1f} s, {fed.steps:,} steps, {fed.prompt:,} prompt tokens, "
            f"{fed.cached / fed.prompt:.1%} cached, {fed.generated:,} generated, {fed.cpu:.1f} s of processor time"
        )
    print(f"tournament / engine alone in one batch: {ours.rate / batch.rate:.0%}")
    seconds, rate = progress.steady()
    if seconds > 0:
        print(f"while games wait, {seconds:.1f} s: {rate:,.0f} tokens/s, {rate / batch.rate:.0%}")
    busy = stats["busy_ms"] / 1000
    print(
        f"engine idle: {1 - busy / ours.seconds:.1%} of the time; processor time beside the engine: runners "
        f"{progress.counts.cpu_seconds:.1f} s, driver {progress.played_at - progress.began_at:.1f} s"
    )


def alone(args: argparse.Namespace, model: str, prompts: list[Prompt]) -> tuple[Fed, Fed]:
    """The engine alone: all prompts in one batch, and as many at a time as there were games in flight."""
    import ray

    settings = EngineSettings(device=args.device, max_concurrent=args.max_concurrent)
    environment = engine_env(args.device) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    actor = (
        ray.remote(Alone)
        .options(num_gpus=int(args.device == "gpu"), runtime_env={"env_vars": environment})
        .remote(model, settings, args.device)
    )
    ray.get(actor.feed.remote([Prompt((5,), Sampling(max_tokens=2))] * 4))  # warm
    batch, window = (ray.get(actor.feed.remote(prompts, n)) for n in (None, args.in_flight))
    ray.kill(actor)
    return batch, window


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=2000, help="scripted games; 0 leaves this part out")
    parser.add_argument("--game", default="werewolf", choices=CASTS, help="of the scripted players")
    parser.add_argument("--model", default="small")
    parser.add_argument("--model-games", type=int, default=600, help="games of the model; 0 leaves them out")
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--max-concurrent", type=int, default=64, help="requests in one engine step")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--runners", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if args.games:
            scripted(args.games, Path(name), args.game)
        if args.model_games:
            engine(args, Path(name))


if __name__ == "__main__":
    main()
