"""Follows many games with observers in separate processes; an observer's result for a game depends on that game alone.

`Following` starts them and goes on; `result` waits for them. `python -m analysis.beliefs.observe FOLDER` is such a
process: it reads `FOLDER/job.json`, follows its games, and writes the frames beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from agents.werewolf.observer import TooLarge
from analysis.beliefs.deception import lies_of
from analysis.beliefs.kept import keep, kept, read_watched, write_watched
from analysis.beliefs.observers import fit_halves, follow, follow_fitted, follow_rungs
from analysis.beliefs.tables import Found, Watched, partly, together, watched_of
from analysis.data.frames import AT_ONCE, Logs, batched
from analysis.data.labels import label
from analysis.data.roster import in_words
from analysis.stats.errors import AnalysisError
from analysis.stats.threads import one_thread
from games.printable import lines_of
from harness.machine import cores
from harness.run.folder import load_run

ALONE = 100
"""Up to this many games are followed in this process."""


class Asked(msgspec.Struct, frozen=True):
    """What is requested of observers, besides the shift of belief at every utterance."""

    second_at: tuple[tuple[str, int], ...] = ()
    """(game_id, seq) of decisions whose second-order expectations are wanted."""
    beliefs: bool = True
    """Whether the first-order beliefs at every decision are wanted."""
    rungs: tuple[str, ...] = ()
    """Games that the observers of every rung of evidence follow too."""
    fitted: bool = False
    """Whether the observer under a character fitted on other games is wanted."""
    seed: int = 0


class Job(msgspec.Struct):
    """Some games to follow."""

    runs: list[tuple[str, str]]
    """(prefix of the game ids, run folder)."""
    ids: list[str]
    everything: list[str]
    """All games that are followed, for fits on other games than one's own."""
    models: bool
    """Whether any of these has decisions of a model."""
    asked: Asked


class Done(msgspec.Struct):
    """How following some games went."""

    failed: int = 0
    why: str = ""
    too_large: bool = False
    unfitted: int = 0
    """Games that the fitted observer could not follow to their end."""
    no_fit: str = ""


class Following:
    """Observers that follow the games of runs, in separate processes where the games are many."""

    def __init__(self, logs: Logs, asked: Asked, processes: int | None = None) -> None:
        """Starts the observers. processes: at most this many; None: one a core."""
        models = any(
            len(run.decisions.filter(pl.col("model").is_not_null()).select("seq").head(1).collect())
            for _, run in logs.runs
        )
        processes = cores() if processes is None else processes
        n = 1 if len(logs) <= ALONE else min(processes, len(logs) // ALONE + 1)
        runs = [(prefix, str(Path(run.path).resolve())) for prefix, run in logs.runs]
        self._logs, self._asked = logs, asked
        self._known = kept(logs, asked)
        self._jobs = [] if self._known else [
            Job(runs, logs.ids[i::n], logs.ids, models, _part(asked, frozenset(logs.ids[i::n]))) for i in range(n)
        ]  # fmt: skip
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._running: list[subprocess.Popen[str]] = []
        if self._jobs and len(logs) > ALONE:
            self._folder = tempfile.TemporaryDirectory(prefix="wolfscope-observe-")
            self._running = [
                _process(job, Path(self._folder.name) / str(i)) for i, job in enumerate(self._jobs)
            ]

    def result(self) -> Watched:
        """The observers' results. Raises AnalysisError where a process failed."""
        if self._known is not None:
            return self._known
        if self._folder is None:
            found = [_follow_all(job, self._logs) for job in self._jobs]
        else:
            try:
                found = self._collected(Path(self._folder.name))
            finally:
                self.stop()
        watched = _whole(found, self._logs)
        keep(self._logs, self._asked, watched)
        return watched

    def stop(self) -> None:
        """Ends the processes and removes what they wrote."""
        for process in self._running:
            process.kill()
            process.wait()
        if self._folder is not None:
            self._folder.cleanup()

    def _collected(self, folder: Path) -> list[tuple[Watched, Done]]:
        for process in self._running:
            _, said = process.communicate()
            if process.returncode:
                last = lines_of(said.strip())[-1:] or ["it said nothing"]
                raise AnalysisError(f"a process that follows games with observers has failed: {last[0]}")
        return [_read(folder / str(number)) for number in range(len(self._jobs))]


def observe(
    logs: Logs,
    second_at: Collection[tuple[str, int]] = (),
    beliefs: bool = True,
    processes: int | None = None,
) -> Watched:
    """`observers.watch` for the games of runs; the lies are looked up here. Raises AnalysisError where a process
    fails."""
    asked = Asked(tuple(sorted((game, int(seq)) for game, seq in second_at)), beliefs)
    return Following(logs, asked, processes).result()


def _part(asked: Asked, ids: frozenset[str]) -> Asked:
    """What is asked of some of the games."""
    return msgspec.structs.replace(
        asked,
        second_at=tuple((game, seq) for game, seq in asked.second_at if game in ids),
        rungs=tuple(game for game in asked.rungs if game in ids),
    )


def _process(job: Job, place: Path) -> subprocess.Popen[str]:
    place.mkdir()
    (place / "job.json").write_bytes(msgspec.json.encode(job))
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "POLARS_MAX_THREADS": "1"
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "analysis.beliefs.observe", str(place)], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _whole(found: list[tuple[Watched, Done]], logs: Logs) -> Watched:
    """The processes' results joined, in the order of the games."""
    if any(done.too_large for _, done in found):
        return watched_of(Found(), next(done.why for _, done in found if done.too_large))
    order = pl.DataFrame({"game_id": logs.ids}, schema={"game_id": pl.String}).with_row_index("place_")
    whole = together([watched for watched, _ in found])
    frames: dict[str, Any] = {
        name: _in_order(getattr(whole, name), order)
        for name in ("beliefs", "utterances", "second", "rungs", "fitted")
    }
    unfitted = sum(done.unfitted for _, done in found)
    no_fit = next((done.no_fit for _, done in found if done.no_fit), "")
    return replace(
        whole,
        **frames,
        why=partly(sum(d.failed for _, d in found), len(logs), next((d.why for _, d in found if d.why), "")),
        prior=in_words(logs.mixes),
        no_fit=partly(unfitted, len(logs), no_fit) or no_fit,
    )


def _in_order(frame: pl.DataFrame, order: pl.DataFrame) -> pl.DataFrame:
    """The rows in the order of the games; within a game the order stays."""
    placed = frame.join(order, on="game_id", how="left", maintain_order="left")
    return placed.sort("place_", maintain_order=True).drop("place_")


def _follow_all(job: Job, logs: Logs) -> tuple[Watched, Done]:
    second_at, deep = set(job.asked.second_at), frozenset(job.asked.rungs)
    whole, done, fitted = Found(), Done(), Found()
    fits = None
    if job.asked.fitted:
        every = Logs(logs.runs, frozenset(job.everything))
        fits, done.no_fit = fit_halves(job.everything, every.some, seed=job.asked.seed)
    for games in batched(logs, AT_ONCE):
        lies = lies_of(label(games))
        for log in games:
            rows, wrong = follow(log, job.models, lies, second_at, job.asked.beliefs)
            if isinstance(wrong, TooLarge):
                return watched_of(Found(), ""), Done(why=str(wrong), too_large=True)
            if log.game_id in deep:
                follow_rungs(log, rows, job.models)
            whole.add(rows)
            if wrong is not None:
                done.failed, done.why = done.failed + 1, done.why or str(wrong)
            if fits is not None and (wrong := follow_fitted(log, fits, job.models, fitted)) is not None:
                done.unfitted, done.no_fit = done.unfitted + 1, done.no_fit or str(wrong)
    return replace(watched_of(whole, ""), fitted=watched_of(fitted, "").beliefs), done


def _read(folder: Path) -> tuple[Watched, Done]:
    return read_watched(folder), msgspec.json.decode((folder / "done.json").read_bytes(), type=Done)


def main(folder: Path) -> None:
    """Follow the games of a job."""
    job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
    logs = Logs([(prefix, load_run(path)) for prefix, path in job.runs], frozenset(job.ids))
    with one_thread():
        watched, done = _follow_all(job, logs)
    write_watched(folder, watched)
    (folder / "done.json").write_bytes(msgspec.json.encode(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]))


__all__ = ["ALONE", "Asked", "Following", "Job", "main", "observe"]
