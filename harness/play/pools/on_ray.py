"""A worker pool on Ray: the runners of one attempt at a tournament, in actors on any node, and the games they play."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from games.base import ReplayError
from games.records import Record
from harness.errors import StorageError, TournamentError
from harness.play.pools.cluster import spread
from harness.play.runner import Counts, Runner, RunnerLost
from harness.run.journal import End, next_journals
from harness.schedule.tournament import Planned

LOOK_S = 1.0
"""Seconds between two polls of the runners' counts."""
VISIBLE_S = 30.0
"""Seconds that a network file system may take to show a file created by another machine."""


class RunnerActor:
    """A runner's process. `start`, not the constructor, creates the runner, so that its errors keep their type."""

    async def start(self, journal: Path, *arguments: Any) -> str:
        """Open the journal; the name of the machine. Raises StorageError."""
        self._runner = Runner(journal, *arguments)
        gc.collect()
        gc.freeze()  # excludes present objects from garbage collection, which cost a sixth of scripted play
        return socket.gethostname()

    async def play(self, games: Sequence[tuple[Planned, Sequence[Record]]]) -> list[End]:
        """As `Runner.play`, several games concurrently."""
        return await asyncio.gather(*(self._runner.play(planned, replayed) for planned, replayed in games))

    async def counts(self) -> Counts:
        """As `Runner.counts`."""
        return await self._runner.counts()

    async def close(self) -> None:
        """As `Runner.close`."""
        await self._runner.close()


class RayPool:
    """Runners that play games together. Use as a context manager; leaving it ends the runners."""

    def __init__(
        self, journals: Path, n_runners: int, in_flight: int, arguments: Sequence[Any], together: int = 1
    ) -> None:
        """Starts the runners, spread over the nodes, and waits until each has its journal in the folder `journals`.

        in_flight: games played at the same time, all runners together; no more are handed out.
        arguments: those of `Runner` after the journal.
        together: games per call, whose results return together; more than one where a game is shorter than a call.

        Raises StorageError where a runner cannot write there or this process cannot see it, RunnerLost.
        """
        self.share = -(-in_flight // n_runners)
        """Games in flight a runner."""
        paths = next_journals(journals, n_runners)
        actor, options = ray.remote(RunnerActor), {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0}
        options["max_concurrency"] = self.share + 16
        self._runners = [
            actor.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False), **options
            ).remote()
            for node in spread(n_runners)
        ]
        self._load = [0] * n_runners
        self._together = max(1, min(together, self.share // 2))
        self._pending: dict[Any, tuple[int, int]] = {}
        """Call -> (runner, games)."""
        self._counts = [Counts() for _ in paths]
        self._asked: dict[Any, int] = {}
        self._asked_at = 0.0
        try:
            hosts = _start(self._runners, paths, arguments)
            await_journals(dict(zip(paths, hosts, strict=True)))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._end()

    def play(self, todo: Iterator[tuple[Planned, list[Record]]]) -> Iterator[End | None]:
        """Play all games: the end of each, and None now and then where none has ended for a while.

        Raises RunnerLost, EngineLost, StorageError, TournamentError; in the end the journals are on the disk.
        """
        while True:
            while games := list(itertools.islice(todo, min(self._together, self._room()))):
                runner = self._load.index(min(self._load))
                self._pending[self._runners[runner].play.remote(games)] = (runner, len(games))
                self._load[runner] += len(games)
            if not self._pending:
                break
            ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=0.25)
            if len(ready) < len(self._pending):
                ready, _ = ray.wait(list(self._pending), num_returns=len(self._pending), timeout=0)
            for ref in ready:
                runner, n = self._pending.pop(ref)
                self._load[runner] -= n
                yield from _get(ref)
            self._look()
            yield None
        self._counts = _get([runner.counts.remote() for runner in self._runners])
        _get([runner.close.remote() for runner in self._runners])

    def counts(self) -> Counts:
        """The counts of all runners together, about a second old while playing, and exact at the end."""
        total = Counts()
        for counts in self._counts:
            total.add(counts)
        total.in_flight = sum(self._load)
        return total

    def _room(self) -> int:
        return self.share * len(self._runners) - sum(self._load)

    def _look(self) -> None:
        """Poll the runners' counts once a second, without waiting for the answer."""
        if self._asked:
            ready, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
            for ref in ready:
                self._counts[self._asked.pop(ref)] = _get(ref)
        elif time.monotonic() - self._asked_at > LOOK_S:
            self._asked = {runner.counts.remote(): i for i, runner in enumerate(self._runners)}
            self._asked_at = time.monotonic()

    def _end(self) -> None:
        for runner in self._runners:
            ray.kill(runner)


def _start(runners: Sequence[Any], paths: Sequence[Path], arguments: Sequence[Any]) -> list[str]:
    refs = [r.start.remote(path, *arguments) for r, path in zip(runners, paths, strict=True)]
    try:
        hosts: list[str] = _get(refs)
        return hosts
    except StorageError as error:
        raise StorageError(
            f"{error}. A runner's node has to reach the run folder: on several nodes it must be on a file system "
            "that all of them share, at the same path"
        ) from error


def await_journals(hosts: dict[Path, str], patience: float = VISIBLE_S) -> None:
    """Wait until this process sees the journals that runners have made. hosts: journal -> name of the machine.

    Raises StorageError where one stays out of sight: it is on another file system, and its games would be lost.
    """
    deadline = time.monotonic() + patience
    for path, host in hosts.items():
        while path.name not in os.listdir(
            path.parent
        ):  # a lookup of the file alone may be answered from a cache
            if time.monotonic() > deadline:
                raise StorageError(
                    f"the runner on {host} writes {path}, which {socket.gethostname()} does not see: the run folder "
                    "must be on a file system that all nodes share; choose another --out"
                )
            time.sleep(0.1)


def _get(ref: Any) -> Any:
    """The result of a call, or of a list of calls; errors keep their type."""
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ReplayError):
            raise TournamentError(
                f"an unfinished game cannot be continued, the rules have changed since: {cause}"
            ) from error
        raise cause from error
    except ray.exceptions.RayError as error:
        raise RunnerLost(f"a runner has died ({type(error).__name__})") from error
