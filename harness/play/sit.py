"""Games with humans at the terminal: played in this process, into a run folder like any other."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from harness.config.models import name_models, used_backends
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.play.engines import start_backends, stop_backends
from harness.play.factory import check_agents, prompt_hashes
from harness.play.pools.cluster import ray_for_now
from harness.play.preflight.backends import check_backends
from harness.play.preflight.keys import keys_apart
from harness.play.progress import Progress
from harness.play.runner import Runner
from harness.play.tournament import starts_of, todo_of
from harness.run.held import RunFolder, new_manifest
from harness.run.journal import repair
from harness.schedule.branched import schedule_in
from harness.schedule.tournament import Schedule


def humans(config: Config) -> list[str]:
    """The seated agents that are humans."""
    return sorted({name for name in config.roster.agents() if config.agents[name].kind == "human"})


def sit(config: Config, out: str | Path, progress: Progress) -> Path:
    """Play a configuration's games one after the other; resumes where an earlier call stopped.

    Raises ConfigurationError where no human is seated, and what `harness.play.tournament.run_tournament` raises.
    """
    if not humans(config):
        raise ConfigurationError(
            'no seat is a human\'s: add [agents.me] with kind = "human" and seat it, or play it with wolfscope run'
        )
    schedule = Schedule(config)
    check_agents(schedule.configs)
    used = used_backends(schedule.configs)
    check_backends(used)
    wanted = new_manifest(config.run.name, config.plain(), config.hash(), len(schedule), schedule.cells)
    name_models(wanted, used)
    wanted.prompts = prompt_hashes(schedule.configs)
    with RunFolder.claim(Path(out), wanted) as folder, contextlib.ExitStack() as stack:
        repair(sorted(folder.journal_folder.glob("*.jsonl")))
        schedule = schedule_in(folder.manifest, config)
        journal = folder.journal()
        todo = list(todo_of(schedule, journal))
        if todo:
            stack.enter_context(keys_apart(used.values()))
            if used:
                stack.enter_context(ray_for_now(None, progress))
            backends = start_backends(used, progress.say, budget=config.budget)
            stack.callback(stop_backends, backends)
            number = 1 + sum(1 for _ in folder.journal_folder.glob("*.jsonl"))
            path = folder.journal_folder / f"s{number:04d}-r000.jsonl"
            runner = Runner(path, schedule.cells, schedule.configs, backends, folder.session)

            async def play() -> None:
                for planned, records in todo:
                    end = await runner.play(planned, records)
                    progress.say(f"winner: {end.winner} ({end.reason})" if end.error is None else end.error)
                await runner.close()

            asyncio.run(play())
        folder.finish(starts_of(schedule))
    return folder.path
