"""Run folders made in this process, without Ray: small and quick."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config import Config
from harness.config_files import parse_config
from harness.run_folder import RunFolder, new_manifest
from harness.runner import Runner
from harness.schedule import Schedule


def scripted(games: int = 4, name: str = "run", mix: Mapping[str, int] | None = None, **more: Any) -> Config:
    """A configuration of scripted players, each named after its policy."""
    mix = dict(mix or {"loud": 3, "random": 4})
    return parse_config(
        {
            "run": {"games": games, "seed": 5, "name": name, **more.pop("run", {})},
            "agents": {policy: {"kind": "scripted", "policy": policy} for policy in mix},
            "roster": {"mix": mix},
            **more,
        }
    )


def play_run(
    config: Config, path: Path, backends: Mapping[str, Any] | None = None, finish: bool = True
) -> Path:
    """Play all games of a configuration one after the other into a run folder."""
    schedule = Schedule(config)
    wanted = new_manifest(config.run.name, config.plain(), config.hash(), len(schedule), schedule.cells)
    wanted.models = {name: backend.model for name, backend in (backends or {}).items()}
    with RunFolder.claim(path, wanted) as folder:
        file = folder.journal_folder / "s0001-r000.jsonl"
        runner = Runner(file, schedule.cells, schedule.configs, backends or {})

        async def play() -> None:
            for planned in schedule:
                await runner.play(planned)
            await runner.close()

        asyncio.run(play())
        if finish:
            folder.finish()
    return path
