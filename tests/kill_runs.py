"""A tournament on a small cluster of its own, whose processes are killed at moments drawn from a seed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.scripted import Scripted
from games.base import Observation
from games.records import Reply
from harness.check import check_run
from harness.config_files import load_config
from harness.journal import Journal
from harness.run_folder import load_run
from harness.runner import Runner
from harness.schedule import Schedule

ROOT = Path(__file__).resolve().parent.parent
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
QUICK_TO_NOTICE = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
"""How a cluster finds that a node is dead; by its defaults it takes about 15 s."""
CONFIG = """
[run]
games = {games}
seed = 5
in_flight = 8
runners = 2
[agents.slow]
kind = "scripted"
policy = "tests.kill_runs:Slow"
settings = {{ delay = {delay} }}
[agents.loud]
kind = "scripted"
policy = "loud"
{more}
[roster]
mix = {{ {mix} }}
"""
MODEL = """
[agents.model]
kind = "llm"
backend = "small"
sampling = { max_tokens = 24 }
[backends.small]
kind = "KIND"
model = "small"
device = "cpu"
"""


class Slow(Scripted):
    """A scripted player who takes a while, so that there are moments to be killed at."""

    def __init__(self, name: str, delay: float) -> None:
        super().__init__(name, "loud")
        self.delay = delay

    async def act(self, observation: Observation) -> Reply:
        """The scripted player's reply."""
        await asyncio.sleep(self.delay)
        return await super().act(observation)


class KilledRun:
    """`wolfscope run` on a cluster of two nodes, the driver's and another; use as a context manager."""

    def __init__(self, folder: Path, games: int, delay: float, engine: str | None = None) -> None:
        """engine: the kind of backend through which the small model takes a seat."""
        from ray.cluster_utils import Cluster

        self.path, self.config = folder / "run", folder / "run.toml"
        more = MODEL.replace("KIND", engine) if engine else ""
        mix = "slow = 3, loud = 3, model = 1" if engine else "slow = 3, loud = 4"
        self.config.write_text(CONFIG.format(games=games, delay=delay, more=more, mix=mix))
        self.engine = engine
        self.log = folder / "log"
        self.cluster = Cluster(
            initialize_head=True,
            connect=False,
            head_node_args=NODE | {"include_dashboard": False, "_system_config": QUICK_TO_NOTICE},
        )
        self.head = self.cluster.head_node
        self.other = self.cluster.add_node(**NODE)
        self.driver: subprocess.Popen[bytes] | None = None
        self.kills: list[str] = []

    def __enter__(self) -> KilledRun:
        return self

    def __exit__(self, *error: object) -> None:
        if self.driver is not None:
            self.driver.kill()
            self.driver.wait()
        self.cluster.shutdown()

    def start(self) -> None:
        """The command, again where it was killed."""
        command = [sys.executable, "-m", "harness", "run", self.config, "--out", self.path]
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(
                [*command, "--ray-address", self.cluster.address],
                env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def ended(self) -> bool:
        """Whether the command has ended by itself. Raises AssertionError where it failed."""
        status = self.driver.poll() if self.driver else None
        assert status in (None, 0), self.log.read_text()
        return status == 0

    def wait(self, seconds: float) -> None:
        """Until the command has ended well."""
        assert self.driver is not None
        self.driver.wait(seconds)
        assert self.ended()

    def size(self) -> int:
        """Bytes of all journals."""
        return sum(path.stat().st_size for path in self.path.glob("journal/*.jsonl"))

    def played_on(self, size: int, seconds: float = 120) -> bool:
        """Wait until the journals are larger than `size`; False where the run ends first."""
        deadline = time.monotonic() + seconds
        while self.size() <= size:
            if self.ended():
                return False
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return True

    def actors(self, name: str, node: Any = None) -> list[int]:
        """Process ids of the actors of a class, on one node or on all."""
        nodes = self.cluster.list_all_nodes() if node is None else [node]
        raylets = {p.process.pid for n in nodes for p in n.all_processes["raylet"]}
        return [pid for pid, parent, title in processes() if parent in raylets and f"ray::{name}" in title]

    def kill(self, what: str) -> None:
        """kill -9 of a `driver`, `runner`, `engine`, or of everything on the second `node`, which then is replaced."""
        assert self.driver is not None
        self.kills.append(what)
        if what == "driver":
            self.driver.kill()
            self.driver.wait()
            self.start()
        elif what == "node":
            self.cluster.remove_node(self.other, allow_graceful=False)
            self.other = self.cluster.add_node(**NODE)
        else:
            names = ["RunnerActor"] if what == "runner" else ["HookedActor", "EngineActor"]
            for pid in [pid for name in names for pid in self.actors(name)][:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def kill_many(self, kinds: list[str], rng: np.random.Generator, longest: float) -> None:
        """Kill each of `kinds` at a random moment, up to `longest` seconds after the game has gone on again."""
        ends: dict[str, Any] = {}
        for what in kinds:
            if not self.played_on(self.size()):
                return
            time.sleep(rng.uniform(0, longest))
            self.kill(what)
            now = Journal(sorted(self.path.glob("journal/*.jsonl"))).ends
            assert {game: now[game] for game in ends} == ends  # what has ended is not played again
            ends = now

    def check(self) -> None:
        """Exactly the scheduled games, each once, sound, and like the games of a run that nobody has disturbed."""
        schedule = Schedule(load_config(self.config))
        run = load_run(self.path)
        assert run.finished
        assert run.game_ids == [planned.game_id for planned in schedule]
        assert set(run.games.collect()["status"]) == {"finished"}
        assert check_run(self.path) == []
        assert "(raylet)" not in self.log.read_text()  # what a command says of the dead is its own
        journals = [path.read_bytes() for path in self.path.glob("journal/*.jsonl")]
        assert sum(journal.count(b'"end":{') for journal in journals) == len(schedule)
        if self.engine is None:
            for game_id, records in undisturbed(schedule, self.path.parent / "undisturbed.jsonl"):
                assert msgspec.json.encode(run.records(game_id)) == msgspec.json.encode(records)


def undisturbed(schedule: Schedule, journal: Path) -> Iterator[tuple[str, list[Any]]]:
    """Every game with its records, played in this process from beginning to end."""
    runner = Runner(journal, schedule.cells, schedule.configs, {})

    async def play() -> None:
        await asyncio.gather(*(runner.play(planned) for planned in schedule))
        await runner.close()

    asyncio.run(play())
    return Journal([journal]).games()


def processes() -> Iterator[tuple[int, int, str]]:
    """(process id, parent's, title) of every process of this machine."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield int(folder.name), parent, title
