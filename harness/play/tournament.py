"""A tournament: every scheduled game once, into a run folder that survives a kill at any moment.

Games are played on Ray, or, where a run needs no cluster, in processes of this machine.

There is one way to recover: read the journals, keep the ended games, resume the others. The same command does it
after a kill, and a running tournament does it when a runner or an engine dies.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agents.backends.base import Backend, BackendError, EngineLost, ModelBroken, ServerRefuses
from games.records import Record
from harness.config.models import name_models, used_backends
from harness.config.sections import BackendSection, Config
from harness.errors import ConfigurationError, RunFolderError, TournamentError
from harness.machine import cores
from harness.play.ahead.in_flight import Fit, in_flight, look, wanted, words_of
from harness.play.ahead.side_by_side import engines, side_by_side
from harness.play.budget import BudgetSpent, Ledger
from harness.play.factory import check_agents, prompt_hashes
from harness.play.pools.local import LocalPool
from harness.play.preflight.backends import check_backends
from harness.play.preflight.keys import keys_apart
from harness.play.preflight.place import Executor, check_place, is_local
from harness.play.progress import Progress, clock
from harness.play.runner import RunnerLost, slow_agents
from harness.run.held import RunFolder, new_manifest
from harness.run.journal import End, Journal, Start, repair
from harness.schedule.branched import schedule_in
from harness.schedule.tournament import Planned, Schedule

if TYPE_CHECKING:
    from agents.backends.restart import Deaths
    from harness.play.pools.on_ray import RayPool

MAX_FRUITLESS = 5
"""The run gives up after this many recoveries in a row without a logged line (about half a minute)."""
MAX_RECOVERIES = 100
"""How many lost runners and engines one command recovers from."""
GAMES_A_RUNNER = 256
GAMES_A_CALL = 16
"""Games per call of scripted players, who play one in a few milliseconds."""
MAX_RUNNERS = 1024


def run_tournament(
    config: Config,
    out: str | Path,
    progress: Progress | None = None,
    address: str | None = None,
    executor: Executor = "auto",
) -> Path:
    """Play a configuration's remaining games into the run folder `out`; returns its absolute path.

    Creates the folder, or resumes the run in it. address: of a Ray cluster; None: this process's Ray instance or a
    new local one. executor: see `Executor`.

    Raises ConfigurationError, RunFolderError, StorageError, BackendError, ModelFilesError and TournamentError;
    after each of them the same command resumes.
    """
    progress = progress or Progress("quiet")
    seated = sorted({name for name in config.roster.agents() if config.agents[name].kind == "human"})
    if seated:
        raise ConfigurationError(
            f"{', '.join(seated)} is a human, and a tournament has no terminal: play it with wolfscope sit"
        )
    schedule = Schedule(config)
    check_agents(schedule.configs)
    asked = used_backends(schedule.configs)
    check_place(executor, asked, address)
    check_backends(asked)
    wanted = new_manifest(config.run.name, config.plain(), config.hash(), len(schedule), schedule.cells)
    name_models(wanted, asked)
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
        settled = schedule_in(folder.manifest, config)
        _Tournament(folder, settled, progress, address, executor=executor).run()
    return folder.path


def play_schedule(
    folder: RunFolder,
    schedule: Schedule,
    progress: Progress | None = None,
    address: str | None = None,
    backends: Mapping[str, Backend] | None = None,
) -> None:
    """Play the rest of a schedule into a claimed run folder, on Ray, and write its tables. Raises as above.

    backends: engines that run already, by the configuration's names; they are left running.
    """
    _Tournament(folder, schedule, progress or Progress("quiet"), address, backends).run()


class _Tournament:
    def __init__(
        self,
        folder: RunFolder,
        schedule: Schedule,
        progress: Progress,
        address: str | None,
        backends: Mapping[str, Backend] | None = None,
        executor: Executor = "auto",
    ) -> None:
        self.folder, self.schedule, self.progress, self.address = folder, schedule, progress, address
        self.executor, self.borrowed = executor, dict(backends or {})
        self.backends, self.n_ended = dict(self.borrowed), 0
        self.fits: list[Fit] | None = None
        self.used = self.playing = used_backends(schedule.configs)

    def run(self) -> None:
        asked = {*self.used, *self.borrowed}
        self.local = is_local(
            self.executor, asked, self.address, lambda: len(self.schedule) - len(self._journal().ends)
        )
        with keys_apart(self.used.values()), self._place():
            try:
                self._play_all()
            except KeyboardInterrupt:
                self.progress.pause()
                raise KeyboardInterrupt(
                    f"{self.n_ended:,} of {len(self.schedule):,} games have ended, those under way are kept"
                ) from None
            finally:
                self._stop_engines()
        self.progress.say("writing the tables")
        told = len(self.folder.notes)
        self.folder.finish(starts_of(self.schedule))
        for note in self.folder.notes[told:]:
            self.progress.say(note)

    def _place(self) -> contextlib.AbstractContextManager[None]:
        if self.local:
            return contextlib.nullcontext()
        from harness.play.pools.cluster import ray_for_now

        return ray_for_now(self.address, self.progress)

    def _play_all(self) -> None:
        """Play until every game has ended by the journals, through losses of runners and engines."""
        fruitless, logged, lost = 0, -1, ""
        for attempt in range(MAX_RECOVERIES + 1):
            journal = self._journal()
            if len(journal.ends) == len(self.schedule):
                return
            size = sum(path.stat().st_size for path in journal.paths)
            fruitless, logged = (fruitless + 1 if size == logged else 0), size
            if attempt:
                if fruitless >= MAX_FRUITLESS:
                    break
                self.progress.lost(f"{lost}; going on from the journal")
                time.sleep(2.0**fruitless - 1)
            try:
                self._play_rest(journal)
                lost = "the journals do not hold every game that has ended"
            except (ModelBroken, ServerRefuses) as error:
                raise TournamentError(
                    f"{error}. The run stops: {self.n_ended:,} of {len(self.schedule):,} games have ended, those under "
                    "way are kept"
                ) from error
            except (RunnerLost, EngineLost) as error:
                lost = str(error)
                if isinstance(error, EngineLost):
                    self._stop_engines()
            except BackendError as error:  # an engine that has run before may not start at once again
                if not attempt:
                    raise
                lost = str(error)
        raise TournamentError(
            f"{lost}; "
            + (
                f"{fruitless} times in a row nothing could be played on, so the run stops"
                if fruitless >= MAX_FRUITLESS
                else f"it was recovered from {MAX_RECOVERIES} times, so the run stops"
            )
            + "; the same command goes on"
        )

    def _stop_engines(self) -> None:
        backends, self.backends = self.backends, {}
        if not backends:
            return
        from harness.play.engines import stop_backends

        stop_backends({name: b for name, b in backends.items() if self.borrowed.get(name) is not b})

    def _play_rest(self, journal: Journal) -> None:
        """Play every game that has not ended by the journals."""
        self.n_ended = len(journal.ends)
        self.ledger = Ledger(self.schedule.config.budget.run, self.folder.path, journal.ends.values())
        self._stop_if_spent()
        if not self.backends and not self.local:
            from harness.play.engines import start_backends

            config, self.playing = self.schedule.config, self._with_engines(journal)
            self.backends = start_backends(self.playing, self.progress.say, config.activations, config.budget)
        if journal.ends or journal.unfinished:
            self.progress.say(
                f"going on: {len(journal.ends):,} of {len(self.schedule):,} games have ended, "
                f"{len(journal.unfinished):,} are continued from their last logged step"
            )
        n_left = len(self.schedule) - len(journal.ends)
        at_once = self._in_flight(n_left)
        n_runners = min(self.schedule.config.run.runners or self._default_runners(at_once), n_left, at_once)
        arguments = (self.schedule.cells, self.schedule.configs, self.backends, self.folder.session)
        try:
            together = 1 if any(slow_agents(config) for config in self.schedule.configs) else GAMES_A_CALL
            pool, deaths = self._pool()
            with pool(self.folder.journal_folder, n_runners, at_once, arguments, together) as workers:
                self.folder.keep(self.n_ended)
                self.progress.begin(len(self.schedule), list(journal.ends.values()))
                self.progress.publish(self.folder.path)
                for end in workers.play(
                    itertools.takewhile(
                        lambda _: self.ledger.spent() is None, todo_of(self.schedule, journal)
                    )
                ):
                    if end is not None:
                        self._ended(end)
                    else:
                        self._tell(deaths)
                        self.progress.show(workers.counts())
                self._tell(deaths, final=True)
                self.progress.show(workers.counts(), force=True)
        finally:
            self.progress.pause()
            self.ledger.keep()
            self.folder.keep(self.n_ended)
        if self.n_ended < len(self.schedule):
            self._stop_if_spent()

    def _pool(self) -> tuple[type[LocalPool] | type[RayPool], Deaths | None]:
        """The pool that plays the games, and the watcher of engine deaths."""
        if self.local:
            return LocalPool, None
        from agents.backends.restart import Deaths
        from harness.play.engines import engine_actors
        from harness.play.pools.on_ray import RayPool

        return RayPool, Deaths(engine_actors(self.backends))

    def _tell(self, deaths: Deaths | None, final: bool = False) -> None:
        if deaths is None:
            return
        for name, away in deaths.news(final):
            if away is None:
                self.progress.lost(
                    f"the engine of {name} has died: it is started again, its games wait for it"
                )
            else:
                self.progress.say(f"the engine of {name} is back after {clock(away)}")

    def _stop_if_spent(self) -> None:
        if (spent := self.ledger.spent()) is not None:
            raise BudgetSpent(
                f"the run has {spent}, {self.n_ended:,} of {len(self.schedule):,} games have ended: no more are "
                "started; the same command goes on with a larger budget"
            )

    def _ended(self, end: End) -> None:
        self.n_ended += 1
        self.ledger.add(end)
        self.progress.ended(end)
        most, broken = self.schedule.config.run.fail_on_error, self.ledger.broken
        if end.status == "failed" and most and broken >= most:
            raise TournamentError(
                f"{broken} games have failed, the last one with {end.error}: the run stops here "
                "(run.fail_on_error = N allows more, 0 any number); failed games stay recorded"
            )

    def _with_engines(self, journal: Journal) -> dict[str, BackendSection]:
        """The backends that play, each with as many engines as it gets; a cluster's machines are not this one."""
        if self.address is not None:
            return self.used
        return side_by_side(self.used, engines(self.schedule, self.used, journal.ends))

    def _in_flight(self, n_left: int) -> int:
        """Games at a time, n_left being left; tells the user what the engines' caches do to it."""
        config = self.schedule.config
        if self.fits is None:
            self.fits = look(self.schedule, self.playing, self.folder.manifest.models, n_left)
            for text in words_of(config, self.fits, wanted(config, n_left)):
                self.progress.say(text)
        return in_flight(config, self.fits)

    def _default_runners(self, at_once: int) -> int:
        if self.local:
            return cores()
        from harness.play.pools.cluster import n_cpus

        n = n_cpus()
        if not self.backends:
            return min(n, MAX_RUNNERS)
        return max(1, min(n // 2, -(-at_once // GAMES_A_RUNNER)))

    def _journal(self) -> Journal:
        repair(sorted(self.folder.journal_folder.glob("*.jsonl")))
        return self.folder.journal()


def starts_of(schedule: Iterable[Planned]) -> dict[str, Start]:
    """The start record that a journal must hold for each game of a schedule."""
    return {p.game_id: Start(p.index, p.seed, p.cell, p.agents) for p in schedule}


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
