"""A whole tournament of scripted players: games a second of the plain loop, of a runner, and over Ray.

    .venv/bin/python tests/benchmarks/bench_tournament.py [games]

The plain loop plays without a log on one core; the tournament writes journals and tables on all cores. Printed with
it: the driver's peak memory, which must not grow with the number of games.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from games.play import Answer, observe, play
from harness.config import Config, parse_config
from harness.factory import make_agent
from harness.progress import Progress
from harness.runner import Runner
from harness.schedule import Schedule
from harness.tournament import run_tournament


def configuration(games: int) -> Config:
    return parse_config(
        {
            "run": {"games": games, "seed": 3},
            "agents": {
                "loud": {"kind": "scripted", "policy": "loud"},
                "random": {"kind": "scripted", "policy": "random"},
            },
            "roster": {"mix": {"loud": 3, "random": 4}},
        }
    )


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


def main() -> None:
    games = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    config, cores = configuration(games), os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.process_time()
        asyncio.run(plain_loop(config))
        plain = games / (time.process_time() - begun)
        print(f"plain loop:        {plain:8.0f} games/s of processor time, one core")
        begun = time.process_time()
        asyncio.run(one_runner(config, folder))
        runner = games / (time.process_time() - begun)
        print(f"runner + journal:  {runner:8.0f} games/s of processor time, one core ({runner / plain:.0%})")
        begun = time.monotonic()
        run_tournament(config, folder / "run", Progress("plain"))
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"tournament on Ray: {games / seconds:8.0f} games/s of wall time, {cores} cores, start and tables included"
        )
        print(f"peak memory of the driver: {peak:.0f} MB")


if __name__ == "__main__":
    main()
