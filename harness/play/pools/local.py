"""Runners in processes of this machine, without a cluster: for players that need no engine.

The same journals, resume and records as on Ray (`harness.play.pools.on_ray`); only the start of processes differs.
They are forked, so they play at once: importing everything again would take longer than a small tournament.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from games.base import ReplayError
from games.records import Record
from harness.errors import TournamentError
from harness.play.runner import Counts, Runner, RunnerLost
from harness.run.journal import End, next_journals
from harness.schedule.tournament import Planned

_PDEATHSIG = 1
"""`prctl(PR_SET_PDEATHSIG, ...)` of Linux."""


class LocalPool:
    """Runners that play games together. Use as a context manager; leaving it ends the runners."""

    def __init__(
        self, journals: Path, n_runners: int, in_flight: int, arguments: Sequence[Any], together: int = 1
    ) -> None:
        """As `harness.play.pools.on_ray.RayPool`. Raises StorageError, RunnerLost."""
        self.share = -(-in_flight // n_runners)
        """Games in flight a runner."""
        self._load = [0] * n_runners
        self._together = max(1, min(together, self.share // 2))
        self._counts = [Counts() for _ in range(n_runners)]
        self._ends: list[Connection] = []
        self._processes: list[BaseProcess] = []
        fork = multiprocessing.get_context("fork")
        gc.collect()
        gc.freeze()  # pages that no collection touches stay shared with the children
        try:
            for path in next_journals(journals, n_runners):
                ours, theirs = fork.Pipe()
                process = fork.Process(
                    target=_serve, args=(theirs, os.getpid(), path, *arguments), daemon=True
                )
                process.start()
                theirs.close()
                self._ends.append(ours)
                self._processes.append(process)
            for runner in range(n_runners):
                self._receive(runner)
        except BaseException:
            self._end()
            raise
        finally:
            gc.unfreeze()

    def __enter__(self) -> LocalPool:
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
                self._load[runner] += len(games)
                self._send(runner, games)
            if not any(self._load):
                break
            for end in wait(self._ends, timeout=0.25):
                runner = self._ends.index(end)  # type: ignore[arg-type]
                found: End | None = self._receive(runner)
                if found is not None:
                    self._load[runner] -= 1
                    yield found
            yield None
        for runner in range(len(self._ends)):
            self._send(runner, None)
            self._receive(runner)

    def counts(self) -> Counts:
        """The counts of all runners together, as of the last game that each has ended."""
        total = Counts()
        for counts in self._counts:
            total.add(counts)
        total.in_flight = sum(self._load)
        return total

    def _room(self) -> int:
        return self.share * len(self._ends) - sum(self._load)

    def _send(self, runner: int, message: Any) -> None:
        try:
            self._ends[runner].send(message)
        except OSError as error:
            raise self._lost(runner) from error

    def _receive(self, runner: int) -> End | None:
        """The next message of a runner: a game's end, or None for counts alone. Reraises the runner's error."""
        try:
            found, counts = self._ends[runner].recv()
        except (EOFError, OSError) as error:
            raise self._lost(runner) from error
        if isinstance(found, ReplayError):
            raise TournamentError(
                f"an unfinished game cannot be continued, the rules have changed since: {found}"
            ) from found
        if isinstance(found, BaseException):
            raise found
        self._counts[runner] = counts
        return found

    def _lost(self, runner: int) -> RunnerLost:
        process = self._processes[runner]
        process.join(1)
        return RunnerLost(f"a runner has died (process {process.pid}, exit status {process.exitcode})")

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for end in self._ends:
            end.close()


def _serve(end: Connection, parent: int, journal: Path, *arguments: Any) -> None:
    """A runner's process: plays the games that it receives until it receives None."""
    _leave_parent(end, parent)
    try:
        asyncio.run(_play_all(end, journal, arguments))
    except BaseException as error:  # noqa: BLE001 - it is the parent's to say: this process has no terminal
        end.send((error, None))
    finally:
        end.close()
        os._exit(0)  # this process must not run the parent's exit handlers


async def _play_all(end: Connection, journal: Path, arguments: Sequence[Any]) -> None:
    runner = Runner(journal, *arguments)
    end.send((None, await runner.counts()))
    todo: asyncio.Queue[Any] = asyncio.Queue()
    asyncio.get_running_loop().add_reader(end.fileno(), lambda: todo.put_nowait(end.recv()))

    async def one(planned: Planned, replayed: Sequence[Record]) -> None:
        found = await runner.play(planned, replayed)
        end.send((found, await runner.counts()))

    playing: set[asyncio.Future[Any]] = set()
    heard: asyncio.Future[Any] = asyncio.ensure_future(todo.get())
    while True:
        done, _ = await asyncio.wait({heard, *playing}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {heard}:
            playing.discard(task)
            task.result()
        if heard in done:
            games = heard.result()
            if games is None:
                break
            playing |= {asyncio.ensure_future(one(planned, replayed)) for planned, replayed in games}
            heard = asyncio.ensure_future(todo.get())
    await asyncio.gather(*playing)
    await runner.close()
    end.send((None, await runner.counts()))


def _leave_parent(end: Connection, parent: int) -> None:
    """Detach from the parent: signals go only to the parent, its open files (the run's lock among them) are closed
    here, and this process dies with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    number = end.fileno()
    os.closerange(3, number)
    os.closerange(number + 1, os.sysconf("SC_OPEN_MAX"))
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError):
        return  # not on Linux: a runner whose parent is gone ends at its next message
    if os.getppid() != parent:
        os._exit(1)
