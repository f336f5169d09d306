"""What a tournament costs on top of what it consists of: scripted players, and an engine.

    .venv/bin/python tests/benchmarks/bench_tournament.py [--games 2000] [--model small] [--model-games 200] ...

Scripted players: games a second of processor time, of the plain loop without a log on one core, of one runner with its
journal, and of a whole tournament on Ray (the driver and all runners together).

Engine: a tournament in which a model plays every seat, and then a fresh engine of the same settings that is fed the
very same prompts, with their seeds, offline in one batch, through vLLM's own `LLMEngine` and nothing else. Tokens are
those of prompts and outputs; the seconds are those of playing, without starting up. `--model 100m` is a random model
of 85M parameters with the small model's tokenizer; any other value is a model folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from agents.backend import Prompt, Sampling
from agents.engine_settings import EngineSettings, engine_arguments, engine_env
from games.play import Answer, observe, play
from harness.cluster import ray_for_now
from harness.config import Config, parse_config
from harness.engines import model_names, start_backends, stop_backends, used_backends
from harness.factory import make_agent
from harness.journal import End
from harness.progress import Progress
from harness.run_folder import RunFolder, load_run, new_manifest
from harness.runner import Counts, Runner
from harness.schedule import Schedule
from harness.tournament import play_schedule


def configuration(games: int, **more: Any) -> Config:
    scripted = {
        "loud": {"kind": "scripted", "policy": "loud"},
        "random": {"kind": "scripted", "policy": "random"},
    }
    plain = {
        "run": {"games": games, "seed": 3},
        "agents": scripted,
        "roster": {"mix": {"loud": 3, "random": 4}},
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
        records = []
        steps = play(game, rules, planned.seed)
        step = next(steps)
        while step.requests:
            records.extend(step.new)
            answers = []
            for request in step.requests:
                name = planned.agents[request.seat]
                seen = observe(game, planned.game_id, rules, planned.seed, records, request)
                answers.append(Answer(await players[name].act(seen), name))
            step = steps.send(answers)


async def one_runner(config: Config, folder: Path) -> None:
    """Every game through a runner, with its journal, without Ray."""
    schedule = Schedule(config)
    runner = Runner(folder / "journal.jsonl", schedule.cells, schedule.configs, {})
    for planned in schedule:
        await runner.play(planned)
    await runner.close()


def scripted(games: int, folder: Path) -> None:
    """Games a second of processor time: the plain loop, a runner, a tournament on Ray."""
    config = configuration(games)
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
    ray = games / (driver + runners)
    print(
        f"tournament on Ray: {ray:8.0f} games/s of processor time, {ray / plain:.0%} of the plain loop; "
        f"{driver:.1f} s in the driver, {runners:.1f} s in the runners, and for the tables "
        f"{time.process_time() - progress.played_at:.1f} s"
    )
    print(f"                   {games / progress.facts()['seconds']:8.0f} games/s of wall time while playing")


class Timed(Progress):
    """Notes the driver's processor time when playing begins and when it ends."""

    began_at = played_at = 0.0

    def begin(self, total: int, kept: list[End]) -> None:
        """Playing starts."""
        super().begin(total, kept)
        self.began_at = time.process_time()

    def show(self, counts: Counts, force: bool = False) -> None:
        """Show the state; the last time when playing has ended."""
        super().show(counts, force)
        self.played_at = time.process_time()


def model_folder(which: str, folder: Path) -> str:
    """The name of the shipped model, a random model of 85M parameters, or a folder as it is."""
    if which != "100m":
        return which
    import torch
    from transformers import LlamaForCausalLM

    from agents.small_model import make_config, make_tokenizer

    tokenizer = make_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(make_config(len(tokenizer), hidden=768, layers=12, intermediate=2048))
    model.save_pretrained(folder / "100m")
    tokenizer.save_pretrained(folder / "100m")
    return str(folder / "100m")


class Alone:
    """vLLM's engine with nothing around it."""

    def __init__(self, model: str, settings: EngineSettings, device: str) -> None:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        from agents.model_files import checkpoint_dtype, max_context

        folder = Path(model)
        arguments = engine_arguments(settings, device, model, checkpoint_dtype(folder), max_context(folder))
        self.engine = LLMEngine.from_engine_args(EngineArgs(**arguments))

    def feed(self, prompts: list[Prompt], stops: list[int]) -> tuple[float, float, int, int, int, int]:
        """(seconds, of processor time, steps, prompt tokens, cached, generated) of all prompts in one batch."""
        from agents.vllm_engine import _params

        steps = prompt_tokens = cached = generated = 0
        began, cpu = time.perf_counter(), time.process_time()
        for i, prompt in enumerate(prompts):
            sampling = prompt.sampling
            params = _params(prompt, sampling.max_tokens, sampling.seed, stops=[*sampling.stop_ids, *stops])
            self.engine.add_request(str(i), {"type": "token", "prompt_token_ids": list(prompt.ids)}, params)
            prompt_tokens += len(prompt.ids)
        while self.engine.has_unfinished_requests():
            steps += 1
            for output in self.engine.step():
                if output.finished:
                    cached += output.num_cached_tokens or 0
                    generated += len(output.outputs[0].token_ids)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        return seconds, cpu, steps, prompt_tokens, cached, generated


def prompts_of(path: Path, sampling: dict[str, Any], stop_ids: tuple[int, ...]) -> list[Prompt]:
    """The prompt of every model decision of a run, those of all games by turns, with the seeds they were asked with."""
    run, found = load_run(path), []
    for game_id, records in run.logs():
        for record in records:
            trace = getattr(record, "trace", None)
            if trace is not None:
                asked = Sampling(**sampling, seed=trace.sampling["seed"], stop_ids=stop_ids)
                found.append((record.seq, Prompt(tuple(run.prompt_ids(game_id, record.seq)), asked)))
    return [prompt for _, prompt in sorted(found, key=lambda pair: pair[0])]


def engine(args: argparse.Namespace, folder: Path) -> None:
    """Tokens a second of a tournament and of the engine alone."""
    import ray

    from agents.llm import newline_ids
    from agents.model_files import eos_ids, load_tokenizer
    from harness.engines import model_folder as files_of

    sampling = {"temperature": 1.0, "top_p": 1.0, "max_tokens": args.max_tokens}
    backend = {"kind": "vllm", "model": model_folder(args.model, folder), "device": args.device}
    backend |= {"max_concurrent": args.max_concurrent}
    config = configuration(
        args.model_games,
        run={"games": args.model_games, "seed": 3, "in_flight": args.in_flight, "runners": args.runners},
        agents={"model": {"kind": "llm", "backend": "m", "sampling": sampling, "retries": 0}},
        backends={"m": backend},
        roster={"mix": {"model": 7}},
    )
    schedule, progress = Schedule(config), Progress("quiet")
    model = files_of(config.backends["m"])
    with ray_for_now(None, progress):
        backends = start_backends(used_backends([config]), progress.say)
        before = asyncio.run(backends["m"].stats())
        with RunFolder.claim(folder / "model-run", manifest(schedule)) as claimed:
            driver = time.process_time()
            play_schedule(claimed, schedule, progress, backends=backends)
            driver = time.process_time() - driver
        stats = {k: n - before[k] for k, n in asyncio.run(backends["m"].stats()).items()}
        stop_backends(backends)
        prompts = prompts_of(folder / "model-run", sampling, newline_ids(load_tokenizer(model)))
        device = "gpu" if args.device == "gpu" else "cpu"
        alone = (
            ray.remote(Alone)
            .options(
                num_gpus=1 if device == "gpu" else 0,
                runtime_env={"env_vars": engine_env(device) | {"PYTHONPATH": os.pathsep.join(sys.path)}},
            )
            .remote(str(model), EngineSettings(device=device, max_concurrent=args.max_concurrent), device)
        )
        ray.get(alone.feed.remote([Prompt((5,), Sampling(max_tokens=2))] * 4, []))
        fed = ray.get(alone.feed.remote(prompts, list(eos_ids(model))))
    alone_s, alone_cpu, n_steps, n_prompt, n_cached, n_output = fed
    seconds, counts = progress.facts()["seconds"], progress.counts
    ours = (stats["prompt_tokens"] + stats["output_tokens"]) / seconds
    theirs = (n_prompt + n_output) / alone_s
    print(f"\n{args.model}: {args.model_games} games, {args.in_flight} in flight, {len(prompts):,} decisions")
    for name, rate, s, p, c, o in (
        ("tournament", ours, seconds, stats["prompt_tokens"], stats["cached_tokens"], stats["output_tokens"]),
        ("engine alone", theirs, alone_s, n_prompt, n_cached, n_output),
    ):
        print(
            f"{name:13s} {rate:9,.0f} tokens/s ({(p - c + o) / s:7,.0f} prefilled and generated): {s:6.1f} s, "
            f"{p:,} prompt tokens, {c / p:.1%} cached, {o:,} generated"
        )
    print(f"tournament / engine alone: {ours / theirs:.0%}")
    busy = stats["busy_ms"] / 1000
    print(
        f"engine idle: {1 - busy / seconds:.1%} of the time; {stats['steps']:,} steps of "
        f"{1000 * busy / stats['steps']:.1f} ms, in the batch of the engine alone {1000 * alone_s / n_steps:.1f} ms"
    )
    print(
        f"processor time: engine {stats['cpu_ms'] / 1000:.1f} s (alone {alone_cpu:.1f} s), runners "
        f"{counts.cpu_seconds:.1f} s, driver {driver:.1f} s with the tables"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=2000, help="scripted games; 0 leaves this part out")
    parser.add_argument("--model", default="small")
    parser.add_argument("--model-games", type=int, default=200, help="games of the model; 0 leaves them out")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--max-concurrent", type=int, default=64, help="requests in one engine step")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--runners", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if args.games:
            scripted(args.games, Path(name))
        if args.model_games:
            engine(args, Path(name))


if __name__ == "__main__":
    main()
