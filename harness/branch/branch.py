"""Play a recorded game on from one of its decisions, with one thing changed and without.

    from harness.branch.branch import branch, resample, Choose
    path = branch("runs/demo-1", "0", at=41, change=Choose(3), n=200, out="runs/what-if")
    print(effects("runs/what-if"))
    resample("runs/demo-1", "0", at=41, n=200, out="runs/how-sure")     # no change: how determined was this moment?

The result is a run folder like any other, whose manifest names its parent. It is played by the same agents and the same
machinery as a tournament and resumes like one.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from games.records import Record
from harness.atomic import write_whole
from harness.branch.changes import (
    Change,
    ChangeError,
    Choose,
    Nothing,
    Player,
    Prefix,
    Roles,
    Say,
    Steer,
    locate,
)
from harness.branch.effects import Effects, effects, measure
from harness.branch.effects_text import effects_table
from harness.branch.plan import HERE, Plan, emitted
from harness.errors import ConfigurationError
from harness.play.progress import Progress
from harness.replay.replay import Replay, open_replay
from harness.run.folder import load_run
from harness.run.held import RunFolder
from harness.run.journal import JournalWriter, Start
from harness.schedule.branched import BranchSchedule

__all__ = [
    "Change",
    "ChangeError",
    "Choose",
    "Effects",
    "Nothing",
    "Player",
    "Prefix",
    "Roles",
    "Say",
    "Steer",
    "branch",
    "effects",
    "effects_table",
    "emitted",
    "resample",
]


def branch(
    run: str | Path,
    game: str,
    at: int,
    change: Change,
    n: int,
    out: str | Path,
    progress: Progress | None = None,
    address: str | None = None,
    trust_policies: bool = False,
) -> Path:
    """Play `n` continuations with the change and `n` without it into the run folder `out`; its absolute path.

    at: seq of a decision, or of the event that repeats it. trust_policies: run the code of players that the folder
    names from outside the repository. The same call resumes after a stop.

    Raises ChangeError where the game has no room for the change, RunFolderError, ConfigurationError, and whatever
    playing a tournament raises.
    """
    replay = open_replay(run, game)
    return _play(Plan(replay, locate(replay, at), change, n), Path(out), progress, address, trust_policies)


def resample(
    run: str | Path,
    game: str,
    at: int,
    n: int,
    out: str | Path,
    keep: bool = False,
    progress: Progress | None = None,
    address: str | None = None,
    trust_policies: bool = False,
) -> Path:
    """Play `n` continuations without any change; the decision `at` itself is made again unless it is kept.

    Decisions made simultaneously with it (one wave: ballots, night acts) are made again with it.
    """
    replay = open_replay(run, game)
    return _play(
        Plan(replay, locate(replay, at), Nothing(), n, keep), Path(out), progress, address, trust_policies
    )


def _play(plan: Plan, out: Path, progress: Progress | None, address: str | None, trusted: bool) -> Path:
    from harness.config.models import name_models, used_backends
    from harness.play.factory import check_agents
    from harness.play.outside import refuse_outside

    progress = progress or Progress("quiet")
    refuse_outside(plan.schedule.configs, trusted)
    check_agents(plan.schedule.configs, plan.said())
    beginnings = [plan.prefix(arm) for arm in plan.arms]
    wanted = plan.manifest()
    backends = used_backends(plan.schedule.configs)
    name_models(wanted, backends)
    with RunFolder.claim(out, wanted) as folder:
        if folder.manifest.status != "finished":
            _write_beginnings(folder, plan, beginnings)
            if backends or len(plan.schedule) > HERE:
                from harness.play.tournament import play_schedule

                play_schedule(folder, plan.schedule, progress, address)
            else:
                # in a thread of its own: the caller may have an event loop, as notebooks do
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(asyncio.run, _play_here(folder, plan.schedule, progress)).result()
        path = folder.path
    measured = measure(load_run(path))
    write_whole(path / "branch.json", msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")
    return path


def _write_beginnings(folder: RunFolder, plan: Plan, beginnings: list[list[Record]]) -> None:
    """Journal the recorded part of every continuation; the runner then resumes them as unfinished games."""
    begun = folder.journal()
    todo = [planned for planned in plan.schedule if planned.game_id not in begun]
    if not todo:
        return
    session = len(list(folder.journal_folder.glob("s0000-*.jsonl")))
    journal = JournalWriter(folder.journal_folder / f"s0000-r{session:03d}.jsonl", folder.session)
    for planned in todo:
        start = Start(planned.index, planned.seed, planned.cell, planned.agents)
        journal.add(planned.game_id, beginnings[planned.cell], start=start)
    journal.close()


async def _play_here(folder: RunFolder, schedule: BranchSchedule, progress: Progress) -> None:
    """Play the rest in this process, which suffices for scripted players."""
    from harness.play.runner import Runner

    journal = folder.journal()
    numbers = [int(p.name[1:5]) for p in folder.journal_folder.glob("s[0-9][0-9][0-9][0-9]-*.jsonl")]
    path = folder.journal_folder / f"s{1 + max(numbers, default=0):04d}-r000.jsonl"
    runner = Runner(path, schedule.cells, schedule.configs, {}, folder.session)
    progress.begin(len(schedule), list(journal.ends.values()))
    try:
        for planned in schedule:
            if planned.game_id not in journal.ends:
                progress.ended(await runner.play(planned, journal.records(planned.game_id)))
                progress.show(await runner.counts())
    finally:
        await runner.close()
        progress.pause()
    failed = [end.error for end in folder.journal().ends.values() if end.status == "failed"]
    if failed:
        progress.say(f"{len(failed)} continuations have failed, the first with: {failed[0]}")
    folder.finish()


def parent_of(path: str | Path) -> Replay | None:
    """The recorded game that a branch starts from; None where the run is no branch or its parent is gone."""
    from harness.errors import RunFolderError
    from harness.schedule.branched import origin_of

    origin = origin_of(load_run(path).manifest)
    if origin is None:
        return None
    try:
        parent = load_run(origin.run)
        if parent.manifest.config_hash != origin.config_hash:
            return None
        return open_replay(parent, origin.game_id)
    except (RunFolderError, ConfigurationError):
        return None
