"""Following many games with observers, in processes of their own: what an observer says of a game depends on it alone.

`python -m analysis.beliefs.observe FOLDER` reads `FOLDER/job.json`, follows its games, and writes the frames beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from agents.werewolf.observer import TooLarge
from analysis.beliefs.deception import lies_of
from analysis.beliefs.observers import Found, Watched, follow, partly, together, watched_of
from analysis.data.frames import Logs
from analysis.data.labels import label
from analysis.data.roster import in_words
from analysis.stats.errors import AnalysisError
from analysis.stats.threads import one_thread
from games.printable import lines_of
from harness.run.folder import load_run

ALONE = 100
"""So few games are followed in this process."""
SPEAKERS: dict[str, Any] = {
    "game_id": pl.String, "seq": pl.Int32, "roles": pl.List(pl.String), "p": pl.List(pl.Float64),
}  # fmt: skip


class Job(msgspec.Struct):
    """Some games to follow."""

    runs: list[tuple[str, str]]
    """(prefix of the game ids, run folder)."""
    ids: list[str]
    models: bool
    """Whether any game of the report has decisions of a model."""
    beliefs: bool
    """Whether the first-order beliefs at every decision are wanted."""
    second_at: list[tuple[str, int]]


class Done(msgspec.Struct):
    """How following some games went."""

    failed: int
    why: str
    too_large: bool = False


def observe(
    logs: Logs,
    second_at: Collection[tuple[str, int]] = (),
    beliefs: bool = True,
    processes: int | None = None,
) -> Watched:
    """As `observers.watch`, of the games of runs, in several processes where there are many; lies are found here.

    beliefs: whether the first-order beliefs at every decision are wanted. Raises AnalysisError where a process fails.
    """
    models = any(
        len(run.decisions.filter(pl.col("model").is_not_null()).select("seq").head(1).collect())
        for _, run in logs.runs
    )
    processes = (os.cpu_count() or 1) if processes is None else processes
    n = 1 if len(logs) <= ALONE else min(processes, len(logs) // ALONE + 1)
    runs = [(prefix, str(Path(run.path).resolve())) for prefix, run in logs.runs]
    place = {game: i % n for i, game in enumerate(logs.ids)}
    jobs = [Job(runs, logs.ids[i::n], models, beliefs, []) for i in range(n)]
    for game, seq in sorted(second_at):
        if game in place:
            jobs[place[game]].second_at.append((game, int(seq)))
    if n == 1:
        found = [_follow_all(jobs[0], logs)]
    else:
        with tempfile.TemporaryDirectory(prefix="wolfscope-observe-") as folder:
            found = _in_processes(jobs, Path(folder))
    if any(done.too_large for _, done in found):
        why = next(done.why for _, done in found if done.too_large)
        return watched_of(Found(), why)
    order = pl.DataFrame({"game_id": logs.ids}, schema={"game_id": pl.String}).with_row_index("place_")
    whole = together([watched for watched, _ in found])
    failed = sum(done.failed for _, done in found)
    return Watched(
        _in_order(whole.beliefs, order),
        _in_order(whole.utterances, order),
        _in_order(whole.second, order),
        whole.speakers,
        partly(failed, len(logs), next((done.why for _, done in found if done.why), "")),
        in_words(logs.mixes),
    )


def _in_order(frame: pl.DataFrame, order: pl.DataFrame) -> pl.DataFrame:
    """The rows in the order of the games, those of one game as they are."""
    placed = frame.join(order, on="game_id", how="left", maintain_order="left")
    return placed.sort("place_", maintain_order=True).drop("place_")


def _in_processes(jobs: list[Job], folder: Path) -> list[tuple[Watched, Done]]:
    running = []
    path = os.pathsep.join(filter(None, sys.path))
    for number, job in enumerate(jobs):
        place = folder / str(number)
        place.mkdir()
        (place / "job.json").write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-m", "analysis.beliefs.observe", str(place)]
        environment = {**os.environ, "PYTHONPATH": path, "POLARS_MAX_THREADS": "1"}
        running.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        )
    try:
        for process in running:
            _, said = process.communicate()
            if process.returncode:
                last = lines_of(said.strip())[-1:] or ["it said nothing"]
                raise AnalysisError(f"a process that follows games with observers has failed: {last[0]}")
    finally:
        for process in running:
            process.kill()
    return [_read(folder / str(number)) for number in range(len(jobs))]


def _follow_all(job: Job, logs: Logs) -> tuple[Watched, Done]:
    second_at = set(job.second_at)
    parts, done = [watched_of(Found(), "")], Done(0, "")
    for log in logs:
        rows, wrong = follow(log, job.models, lies_of(label([log])), second_at, job.beliefs)
        if isinstance(wrong, TooLarge):
            return parts[0], Done(0, str(wrong), True)
        parts.append(watched_of(rows, ""))
        if wrong is not None:
            done = Done(done.failed + 1, done.why or str(wrong))
    return together(parts), done


def _write(folder: Path, watched: Watched, done: Done) -> None:
    watched.beliefs.write_parquet(folder / "beliefs.parquet")
    watched.utterances.write_parquet(folder / "utterances.parquet")
    watched.second.write_parquet(folder / "second.parquet")
    rows: list[tuple[Any, ...]] = [
        (game, seq, list(roles), p.ravel().tolist()) for (game, seq), (roles, p) in watched.speakers.items()
    ]
    pl.DataFrame(rows, schema=SPEAKERS, orient="row").write_parquet(folder / "speakers.parquet")
    (folder / "done.json").write_bytes(msgspec.json.encode(done))


def _read(folder: Path) -> tuple[Watched, Done]:
    beliefs, utterances, second = (
        pl.read_parquet(folder / f"{name}.parquet") for name in ("beliefs", "utterances", "second")
    )
    speakers = {
        (game, seq): (tuple(roles), np.array(p).reshape(-1, len(roles)))
        for game, seq, roles, p in pl.read_parquet(folder / "speakers.parquet").iter_rows()
    }
    done = msgspec.json.decode((folder / "done.json").read_bytes(), type=Done)
    return Watched(beliefs, utterances, second, speakers, ""), done


def main(folder: Path) -> None:
    """Follow the games of a job."""
    job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
    logs = Logs([(prefix, load_run(path)) for prefix, path in job.runs], frozenset(job.ids))
    with one_thread():
        _write(folder, *_follow_all(job, logs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
