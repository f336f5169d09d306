"""A tournament: every scheduled game once, on Ray, into a run folder that survives whatever happens to us.

There is one way to recover from anything: read the journals, keep what has ended, go on with what has not. The
same command after a kill does it, and so does a running tournament when a runner or an engine dies under it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from agents.backend import Backend, EngineLost
from games.base import ReplayError
from games.records import Record
from harness.budget import BudgetSpent, Ledger
from harness.config import Config
from harness.engines import model_names, start_backends, stop_backends, used_backends
from harness.errors import ConfigurationError, RunFolderError, StorageError, TournamentError
from harness.factory import check_agents, prompt_hashes
from harness.journal import End, Journal, repair
from harness.manifest import checkout
from harness.progress import Progress, clock
from harness.run_folder import RunFolder, new_manifest
from harness.runner import Counts, Runner
from harness.schedule import Planned, Schedule

MAX_FRUITLESS = 3
"""So many recoveries in a row in which not one game ended, and the run gives up."""


class RunnerLost(TournamentError):
    """A runner's process is gone."""


def run_tournament(
    config: Config, out: str | Path, progress: Progress | None = None, address: str | None = None
) -> Path:
    """Play what is left of a configuration's games into the run folder `out`; its absolute path.

    The folder is made, or taken up where it was left. address: a Ray cluster's, None: a Ray of its own (or the one
    that this process already has).

    Raises ConfigurationError, RunFolderError, StorageError, BackendError, ModelFilesError and TournamentError;
    after each of them the same command goes on where it stopped.
    """
    progress = progress or Progress("quiet")
    seated = sorted({name for name in config.roster.agents() if config.agents[name].kind == "human"})
    if seated:
        raise ConfigurationError(
            f"{', '.join(seated)} is a human, and a tournament has no terminal: play it with wolfscope sit"
        )
    schedule = Schedule(config)
    for one in schedule.configs:
        check_agents(one)
    wanted = new_manifest(config.run.name, config.plain(), config.hash(), len(schedule), schedule.cells)
    wanted.models = model_names(used_backends(schedule.configs))
    wanted.prompts = prompt_hashes(schedule.configs)
    with RunFolder.claim(Path(out), wanted) as folder:
        for note in folder.notes:
            progress.say(note)
        if folder.manifest.status == "finished":
            progress.say(
                f"{folder.path} is complete: all {folder.manifest.n_games:,} games were played before"
            )
            return folder.path
        if folder.manifest.models != wanted.models:
            raise RunFolderError(
                f"{folder.path} was begun with the models {folder.manifest.models}, now they are {wanted.models}: "
                "put the same weights back, or choose another --out"
            )
        if folder.manifest.prompts != wanted.prompts:
            raise RunFolderError(
                f"{folder.path} was begun with the prompts {folder.manifest.prompts}, now they are {wanted.prompts}: "
                "use the version of Wolfscope that began it, or choose another --out"
            )
        _Tournament(folder, schedule, progress, address).run()
    return folder.path


def play_schedule(
    folder: RunFolder, schedule: Schedule, progress: Progress | None = None, address: str | None = None
) -> None:
    """Play what is left of a schedule into a claimed run folder, on Ray, and write its tables. Raises as above."""
    _Tournament(folder, schedule, progress or Progress("quiet"), address).run()


class _Tournament:
    def __init__(
        self, folder: RunFolder, schedule: Schedule, progress: Progress, address: str | None
    ) -> None:
        self.folder, self.schedule, self.progress, self.address = folder, schedule, progress, address
        self.backends: dict[str, Backend] = {}
        self.n_ended = 0

    def run(self) -> None:
        fruitless = 0
        with ray_for_now(self.address, self.progress):
            try:
                while True:
                    before = self.n_ended
                    try:
                        self._play_rest()
                        break
                    except (RunnerLost, EngineLost) as error:
                        fruitless = fruitless + 1 if self.n_ended == before else 0
                        if fruitless >= MAX_FRUITLESS:
                            raise TournamentError(
                                f"{error}; it happened {fruitless} times in a row, so the run stops"
                            ) from error
                        self.progress.pause()
                        self.progress.say(f"{error}; going on from the journal")
                        if isinstance(error, EngineLost):
                            self._stop_engines()
                    except KeyboardInterrupt:
                        self.progress.pause()
                        total = len(self.schedule)
                        self.progress.say(
                            f"stopped: {self.n_ended:,} of {total:,} games have ended, those under way are kept"
                        )
                        raise
            finally:
                self._stop_engines()
        self.progress.say("writing the tables")
        self.folder.finish()

    def _stop_engines(self) -> None:
        backends, self.backends = self.backends, {}
        stop_backends(backends)

    def _play_rest(self) -> None:
        """Play every game that has not ended by the journals."""
        journal = self._journal()
        self.n_ended = len(journal.ends)
        todo = todo_of(self.schedule, journal)
        n_left = len(self.schedule) - len(journal.ends)
        if n_left == 0:
            return
        self.ledger = Ledger(self.schedule.config.budget.run, self.folder.path, journal.ends.values())
        self._stop_if_spent()
        if not self.backends:
            self.backends = start_backends(
                used_backends(self.schedule.configs), self.progress.say, self.schedule.config.activations
            )
        if journal.ends or journal.unfinished:
            self.progress.say(
                f"going on: {len(journal.ends):,} of {len(self.schedule):,} games have ended, "
                f"{len(journal.unfinished):,} are continued from their last logged step"
            )
        self.progress.begin(len(self.schedule), list(journal.ends.values()))
        crew = _Crew(self, n_left)
        try:
            crew.play(todo)
        finally:
            crew.dismiss()
            self.progress.pause()
            self.ledger.keep()
        if self.n_ended < len(self.schedule):
            self._stop_if_spent()

    def _stop_if_spent(self) -> None:
        if (spent := self.ledger.spent()) is not None:
            raise BudgetSpent(
                f"the run has {spent}, {self.n_ended:,} of {len(self.schedule):,} games have ended: no more are "
                "started; the same command goes on with a larger budget"
            )

    def _journal(self) -> Journal:
        repair(sorted(self.folder.journal_folder.glob("*.jsonl")))
        return self.folder.journal()


def todo_of(schedule: Schedule, journal: Journal) -> Iterator[tuple[Planned, list[Record]]]:
    """The games that have not ended, unfinished ones first, with the records that they have.

    Raises RunFolderError where the journal has games that are not in the schedule.
    """
    open_games = set(journal.unfinished)
    known = set(journal.game_ids)
    unplayed = len(schedule) - len(known)
    planned_open = [p for p in schedule if p.game_id in known] if known else []
    if len(planned_open) != len(known):
        raise RunFolderError(
            f"the journal holds {len(known) - len(planned_open)} games that this configuration does not schedule: "
            "the rules or their defaults have changed since; use the version of Wolfscope that began the run"
        )
    for planned in planned_open:
        if planned.game_id in open_games:
            yield planned, journal.records(planned.game_id)
    if unplayed:
        for planned in schedule:
            if planned.game_id not in known:
                yield planned, []


class _Crew:
    """The runners of one attempt, and the games they are playing."""

    def __init__(self, tournament: _Tournament, n_left: int) -> None:
        self.progress = tournament.progress
        self.tournament = tournament
        config = tournament.schedule.config.run
        n_runners = min(config.runners or _default_runners(tournament), n_left, config.in_flight)
        self.share = -(-config.in_flight // n_runners)
        """Games in flight a runner."""
        self.fail_on_error = config.fail_on_error
        journals = tournament.folder.journal_folder
        session = 1 + max(
            (int(p.name[1:5]) for p in journals.glob("s[0-9][0-9][0-9][0-9]-*.jsonl")), default=0
        )
        remote = ray.remote(Runner).options(
            num_cpus=0, max_concurrency=self.share + 16, max_restarts=0, max_task_retries=0
        )
        schedule = tournament.schedule
        self.runners = [
            remote.remote(
                journals / f"s{session:04d}-r{i:03d}.jsonl",
                schedule.cells,
                schedule.configs,
                tournament.backends,
            )
            for i in range(n_runners)
        ]
        self.load = [0] * n_runners
        self.pending: dict[Any, int] = {}
        self.counts = [Counts() for _ in self.runners]
        self.asked: dict[Any, int] = {}
        self.asked_at = 0.0

    def play(self, todo: Iterator[tuple[Planned, list[Record]]]) -> None:
        """Play all games. Raises RunnerLost, EngineLost, StorageError, TournamentError."""
        while True:
            room = self.share * len(self.runners) - len(self.pending)
            if self.tournament.ledger.spent() is not None:
                room = 0
            for planned, records in itertools.islice(todo, room):
                runner = self.load.index(min(self.load))
                self.pending[self.runners[runner].play.remote(planned, records)] = runner
                self.load[runner] += 1
            if not self.pending:
                break
            ready, _ = ray.wait(list(self.pending), num_returns=1, timeout=0.25)
            if len(ready) < len(self.pending):
                ready, _ = ray.wait(list(self.pending), num_returns=len(self.pending), timeout=0)
            for ref in ready:
                self.load[self.pending.pop(ref)] -= 1
                self._ended(self._get(ref))
            self._look()

    def _ended(self, end: End) -> None:
        self.tournament.n_ended += 1
        self.tournament.ledger.add(end)
        self.progress.ended(end)
        broken = self.tournament.ledger.broken
        if end.status == "failed" and self.fail_on_error and broken >= self.fail_on_error:
            raise TournamentError(
                f"{broken} games have failed, the last one with {end.error}: the run stops here "
                "(run.fail_on_error = N allows more, 0 any number); failed games stay recorded"
            )

    def _get(self, ref: Any) -> Any:
        try:
            return ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, ReplayError):
                raise TournamentError(
                    f"an unfinished game cannot be continued, the rules have changed since: {cause}"
                ) from error
            if isinstance(cause, (StorageError, EngineLost, TournamentError)):
                raise cause from error
            raise
        except ray.exceptions.RayActorError as error:
            raise RunnerLost(f"a runner has died ({type(error).__name__})") from error

    def _look(self) -> None:
        """Ask the runners once a second what they have done, without waiting for the answer."""
        if self.asked:
            ready, _ = ray.wait(list(self.asked), num_returns=len(self.asked), timeout=0)
            for ref in ready:
                self.counts[self.asked.pop(ref)] = self._get(ref)
        elif time.monotonic() - self.asked_at > 1.0:
            self.asked = {runner.counts.remote(): i for i, runner in enumerate(self.runners)}
            self.asked_at = time.monotonic()
        self.progress.show(self._sum())

    def _sum(self) -> Counts:
        total = Counts()
        for counts in self.counts:
            total.add(counts)
        total.in_flight = len(self.pending)
        return total

    def dismiss(self) -> None:
        """Flush the journals of runners that still answer, and end all of them."""
        with contextlib.suppress(ray.exceptions.RayError):
            if not self.pending:
                for i, counts in enumerate(ray.get([r.counts.remote() for r in self.runners], timeout=10)):
                    self.counts[i] = counts
                self.progress.show(self._sum(), force=True)
                ray.get([runner.close.remote() for runner in self.runners], timeout=30)
        for runner in self.runners:
            ray.kill(runner)


def _default_runners(tournament: _Tournament) -> int:
    cores = os.cpu_count() or 1
    if not tournament.backends:
        return cores
    return max(1, min(cores // 2, -(-tournament.schedule.config.run.in_flight // 256)))


@contextlib.contextmanager
def ray_for_now(address: str | None, progress: Progress) -> Iterator[None]:
    """A Ray to work on: the one that is there, or one of our own for as long as we need it."""
    if ray.is_initialized():
        yield
        return
    progress.say("starting Ray" if address is None else f"connecting to Ray at {address}")
    began = time.monotonic()
    environment = {
        "PYTHONPATH": str(checkout()),
        "OMP_NUM_THREADS": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = (
        {"address": address}
        if address
        else {
            "address": "local",
            "object_store_memory": 256 * 2**20,
            "include_dashboard": False,
        }
    )
    ray.init(
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": environment},
        **options,
    )
    try:
        progress.say(f"Ray is up after {clock(time.monotonic() - began)}")
        yield
    finally:
        ray.shutdown()
