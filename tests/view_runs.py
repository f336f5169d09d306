"""Small run folders to look at: scripted games, and games whose players say the worst things they can."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from agents.scripted import Scripted
from games.base import Observation
from games.records import Reply, Trace
from harness.config_files import parse_config
from harness.run_folder import RunFolder, new_manifest
from harness.runner import Runner
from harness.schedule import Schedule

NASTY = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script><!-- --><img src=x onerror='window.hacked = 3'>",
    ']]></style><svg onload=window.hacked=4><a href="javascript:window.hacked=5">x</a> &amp; &lt;b&gt; {{7*7}} ${x}',
    "\u202eright to left\u202c zero\u200bwidth \x1b[31mred\x1b[0m \x07bell \x00nul \u2028 separators \U0001f43a",
    "long " * 30_000,
    "a" * 5_000,
)


class Nasty:
    """Says the worst things in turn; chooses the first option."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def act(self, observation: Observation) -> Reply:
        request = observation.request
        action = Scripted("x", "loud").choose(observation)
        if request.speaks:
            said = NASTY[(request.seat + request.day) % len(NASTY)]
            action = msgspec.structs.replace(action, text=said, acts=())
        trace = Trace(
            model="nasty@0", reasoning=NASTY[request.seat % 3], rejected=(NASTY[1],), output_text=NASTY[0]
        )
        return Reply(action, fallback="malformed" if request.seat == 2 else None, trace=trace)


def scripted_run(path: Path, games: int = 4, mix: dict[str, int] | None = None, **game: Any) -> Path:
    """A finished run of scripted players, played in this process."""
    mix = mix or {"loud": 3, "claimer": 2, "bluffer": 2}
    agents = {name: {"kind": "scripted", "policy": name} for name in mix}
    return _play(path, games, agents, {"mix": mix}, game or {"preset": "classic-7"})


def nasty_run(path: Path) -> Path:
    """A finished run of one game whose players attack whoever looks at it."""
    agents = {"<img src=x onerror=window.hacked=9>": {"kind": "scripted", "policy": "tests.view_runs:Nasty"}}
    return _play(path, 1, agents, {"mix": dict.fromkeys(agents, 7)}, {"preset": "classic-7"})


def _play(path: Path, games: int, agents: dict, roster: dict, game: dict) -> Path:
    config = parse_config(
        {
            "run": {"name": "looked-at", "games": games, "seed": 3},
            "game": game,
            "agents": agents,
            "roster": roster,
        }
    )
    schedule = Schedule(config)
    wanted = new_manifest("looked-at", config.plain(), config.hash(), len(schedule), schedule.cells)
    with RunFolder.claim(path, wanted) as folder:
        runner = Runner(folder.journal_folder / "s0001-r000.jsonl", schedule.cells, schedule.configs, {})

        async def play() -> None:
            for planned in schedule:
                end = await runner.play(planned)
                assert end.status == "finished", end.error
            await runner.close()

        with ThreadPoolExecutor(1) as thread:  # the browser's driver has an event loop in this one
            thread.submit(asyncio.run, play()).result()
        folder.finish()
    return path
