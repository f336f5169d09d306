"""Speed of an experiment: decision-level outcomes against one pass a moment and arm, continuations against games.

    python tests/benchmarks/bench_experiment.py [--games 6] [--moments 20] [--plain 2] [--threads 1]

A few games of the small model and scripted players are played in this process; moments of them are asked under 60 arms
(one push with its controls), packed and by plain passes, and the answers compared. Then continuations are played on
from some moments. Times are processor seconds, so that what else runs on the
machine does not count; what 500 moments would take is extrapolated from them.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.backends.hooked.backend import HookedBackend
from agents.hooks.model import load_hooked_model
from agents.llm.encoder import Encoder
from agents.models.small import SMALL_MODEL
from agents.werewolf.lessons.games import scripted_game
from games import load_game
from harness.branch.changes import Choose
from harness.config.files import parse_config
from harness.config.models import model_names
from harness.experiment.arms import expand
from harness.experiment.continuations import Futures
from harness.experiment.design import parse_design
from harness.experiment.directions import Direction
from harness.experiment.measure import Measurer
from harness.experiment.moments import draw_moments
from harness.experiment.reasoning.reads import forced_asks
from harness.experiment.scenes import Scenes
from harness.experiment.scoring.packed import PackedScorer
from harness.experiment.scoring.plain import PlainScorer
from harness.play.runner import Runner
from harness.reasoning.played import Played
from harness.reasoning.steps import Step
from harness.run.folder import Run, load_run
from harness.run.held import RunFolder, new_manifest
from harness.schedule.tournament import Schedule


def clock() -> float:
    """Processor seconds of this process: what else runs on the machine does not count."""
    return time.process_time()


def played(path: Path, games: int) -> tuple[Run, float]:
    """A run of the small model among scripted players, and games a second."""
    config = parse_config(
        {
            "run": {"games": games, "seed": 3},
            "agents": {
                "small": {"kind": "llm", "backend": "small", "sampling": {"max_tokens": 48}},
                "bluffer": {"kind": "scripted", "policy": "bluffer"},
            },
            "backends": {"small": {"kind": "transformers", "model": "small", "device": "cpu"}},
            "roster": {"mix": {"small": 4, "bluffer": 3}},
        }
    )
    schedule = Schedule(config)
    wanted = new_manifest("bench", config.plain(), config.hash(), len(schedule), schedule.cells)
    wanted.models = model_names(config.backends)

    async def play(runner: Runner) -> None:
        await asyncio.gather(*(runner.play(planned) for planned in schedule))
        await runner.close()

    with RunFolder.claim(path, wanted) as folder:
        backend = HookedBackend(load_hooked_model(SMALL_MODEL, device="cpu"))
        journal = folder.journal_folder / "s0001-r000.jsonl"
        start = clock()
        asyncio.run(play(Runner(journal, schedule.cells, schedule.configs, {"small": backend})))
        spent = clock() - start
        asyncio.run(backend.close())
        folder.finish()
    return load_run(path), games / spent


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in dict(games=6, moments=20, plain=2, threads=1, continuations=8, repeats=3).items():
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--reasoning-only", action="store_true", help="prefixes of a reasoning alone")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.reasoning_only:
        reason(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        run, games_a_second = played(Path(folder) / "run", args.games)
        measure(run, args)
        follow(run, args, games_a_second)
    reason(args)


def measure(run: Run, args: argparse.Namespace) -> None:
    """Packed against plain, at each position by meaning."""
    hooked = load_hooked_model(SMALL_MODEL, device="cpu")
    layout = hooked.layout
    vector = np.random.default_rng(0).normal(size=layout.d_model).astype(np.float32)
    direction = Direction("v", vector / np.linalg.norm(vector), 4, "option", 4, "drawn")
    for at in ("option", "answer", "mentions"):
        design = parse_design(
            {
                "name": "bench", "question": "How fast?", "moments": {"n": args.moments, "per_game": 99},
                "directions": {"v": {"vector": "v", "layer": 4}},
                "arms": [{"name": "push", "kind": "direction", "direction": "v", "at": at,
                          "scales": [s / 10 for s in range(1, 16)]}],
            }
        )  # fmt: skip
        moments = draw_moments(design, [run], False)
        arms, vectors, _ = expand(design, {"v": direction}, layout.n_layers, layout.d_model)
        arms = arms[:60]
        packed, plain = PackedScorer(hooked), PlainScorer(hooked)
        measurer = Measurer([Scenes(run)], {None: packed}, arms, vectors, options=True, beliefs=False)
        measurer.rows(moments[0])
        model: Any = hooked.model
        used = model.config._attn_implementation
        seconds = dict.fromkeys((used, "sdpa"), 0.0)
        for moment in moments:
            for attention in seconds:
                model.set_attn_implementation(attention)
                packed.forget()
                start = clock()
                measurer.rows(moment)
                seconds[attention] += (clock() - start) / len(moments)
        model.set_attn_implementation(used)
        ours, computed = seconds[used], seconds["sdpa"]
        spent, worst, n = 0.0, 0.0, 0
        for moment in moments[: args.plain]:
            asks = list(measurer.asks(measurer.scenes[0].scene(moment))[0].values())[:10]
            start = clock()
            expected = plain.score(asks)
            spent, n = spent + clock() - start, n + len(asks)
            found = packed.score(asks)
            worst = max(worst, *(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)))
        theirs = spent / n * len(arms)
        print(
            f"{at:<9} {len(arms)} arms: {ours:6.3f} s a moment, 500 moments in {500 * ours / 60:5.1f} min; packed, "
            f"but with what masks hide {computed / ours:.1f} times; one pass a moment and arm {theirs:6.2f} s "
            f"({theirs / ours:4.0f} times); largest difference {worst:.1e} nats"
        )


def follow(run: Run, args: argparse.Namespace, games_a_second: float) -> None:
    """Continuations a second beside games a second, players and process the same."""
    hooked = load_hooked_model(SMALL_MODEL, device="cpu")
    design = parse_design(
        {
            "name": "bench", "question": "How fast?", "moments": {"n": 4, "per_game": 1},
            "directions": {"v": {"vector": "v", "layer": 4}},
            "arms": [{"name": "push", "kind": "direction", "direction": "v"}],
        }
    )  # fmt: skip
    backend = HookedBackend(hooked)
    futures = Futures(run, {"small": backend})
    n, start = 0, clock()
    for moment in draw_moments(design, [run], False):
        changes = {option: Choose(option) for option in list(moment.belief)[:3]}
        n += len(futures.play(moment, changes, dict.fromkeys(changes, range(args.continuations))))
    spent = clock() - start
    asyncio.run(backend.close())
    print(
        f"continuations {n / spent:6.2f} a second; whole games of the same players {games_a_second:6.2f} a second "
        f"({n / spent / games_a_second:.0%})"
    )


def reason(args: argparse.Namespace) -> None:
    """Demanded answers after every step of one reasoning against one pass a prefix, by the number of steps."""
    hooked = load_hooked_model(SMALL_MODEL, device="cpu")
    encoder = Encoder(hooked.tokenizer)
    config = load_game("werewolf").configure(preset="classic-7")
    game = load_game("werewolf")
    lines = game.transcript(scripted_game(config, 3), 0, config)
    names = game.text.words_of(config, scripted_game(config, 3)).names
    head = tuple(encoder.encode("\n".join(lines)[:6000] + "\n")[0])[:900]
    tail = encoder.encode(f"\n{names[0]} votes ({' '.join(names[1:])}):")[0]
    choices = tuple(encoder.encode(f" {name}.\n")[0] for name in names[1:])
    step = encoder.encode(f"{names[1]} votes {names[2]}. ")[0]
    packed, plain = PackedScorer(hooked), PlainScorer(hooked)
    for n in (4, 8, 16):
        body = step * n
        played = Played(
            (*head, *body, *tail), len(head), len(head) + len(body),
            tuple(Step(k, len(head) + k * len(step), len(head) + (k + 1) * len(step), "") for k in range(n)),
            choices, tuple(range(len(choices))), 0, (),
        )  # fmt: skip
        asks = forced_asks(played, range(n + 1))
        whole, each = [], []
        for _ in range(args.repeats + 1):  # the first is not counted
            packed.forget()
            start = clock()
            found = packed.score(asks)
            whole.append(clock() - start)
            start = clock()
            for ask in asks[1:]:
                packed.forget()
                packed.score([ask])
            each.append(clock() - start)
        expected = plain.score(asks[:: max(1, n // 4)])
        off = max(float(np.abs(a - b).max()) for a, b in zip(found[:: max(1, n // 4)], expected, strict=True))
        ours, theirs = min(whole[1:]), min(each[1:])
        print(
            f"{n:>2} steps, {len(played.ids)} tokens: answers after every step {1000 * ours:6.0f} ms together, "
            f"{1000 * theirs:6.0f} ms in one pass a prefix ({theirs / ours:4.1f} times); largest difference from plain "
            f"passes {off:.1e} nats"
        )


if __name__ == "__main__":
    main()
