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
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from agents.backends.base import BackendError
from games.records import Action, Decision, Record, Request, Trace
from harness.atomic import write_whole
from harness.branch.changes import (
    Change,
    ChangeError,
    Choose,
    Nothing,
    Player,
    Point,
    Prefix,
    Roles,
    Say,
    Steer,
    describe,
    fork_of,
    keeps,
    locate,
    prefix,
)
from harness.branch.effects import Effects, effects, effects_table, measure
from harness.config.files import parse_config, set_key
from harness.config.hashing import hash_of
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.play.progress import Progress
from harness.replay.replay import Replay, open_replay
from harness.run.folder import RunFolder, load_run, new_manifest
from harness.run.journal import JournalWriter, Start
from harness.run.manifest import Cell, Manifest
from harness.schedule.branched import Arm, BranchSchedule, Origin, schedule_of

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

HERE = 1000
"""At most so many continuations of scripted players alone are played in this process, without Ray."""


def branch(
    run: str | Path,
    game: str,
    at: int,
    change: Change,
    n: int,
    out: str | Path,
    progress: Progress | None = None,
    address: str | None = None,
) -> Path:
    """Play `n` continuations with the change and `n` without it into the run folder `out`; its absolute path.

    at: seq of a decision, or of the event that repeats it. The same call goes on after a stop.

    Raises ChangeError where the game has no room for the change, RunFolderError, ConfigurationError, and whatever
    playing a tournament raises.
    """
    replay = open_replay(run, game)
    return _play(_Plan(replay, locate(replay, at), change, n), Path(out), progress, address)


def resample(
    run: str | Path,
    game: str,
    at: int,
    n: int,
    out: str | Path,
    keep: bool = False,
    progress: Progress | None = None,
    address: str | None = None,
) -> Path:
    """Play `n` continuations without any change; the decision `at` itself is made anew unless it is to be kept.

    Decisions that were made together with it (one wave: ballots, night acts) are made anew with it.
    """
    replay = open_replay(run, game)
    return _play(_Plan(replay, locate(replay, at), Nothing(), n, keep), Path(out), progress, address)


class _Plan:
    """Everything about a branch before it is played."""

    def __init__(self, replay: Replay, point: Point, change: Change, n: int, keep: bool = False) -> None:
        if n < 1:
            raise ChangeError(f"n is {n}; at least 1 continuation is needed")
        if isinstance(change, (Player, Steer)):
            replay.check_seat(change.seat)
        if isinstance(change, Roles):
            replay.check_seat(change.seat)
            replay.check_seat(change.other)
        self.replay, self.point, self.change, self.n = replay, point, change, n
        self.keep = keep or keeps(change)
        run = replay.run
        self.parent_cell = run.cell(replay.game_id)
        parent = schedule_of(run.manifest)
        cell = run.manifest.cells.index(self.parent_cell)
        self.seated = _seated(replay)
        self.plain = parent.configs[cell].plain()
        self.plain["experiment"] = {}
        self.plain["run"] |= {"games": n, "name": f"{run.manifest.name}-branch"}
        self.plain["roster"] = {"seats": list(self.seated)}
        self.arms = self._arms()
        self.config = parse_config(self.plain, "branch")
        self.cells = [self._cell(arm) for arm in self.arms]
        self.origin = Origin(
            run=str(run.path.resolve()),
            name=run.manifest.name,
            config_hash=run.manifest.config_hash,
            game_id=replay.game_id,
            seq=point.decision.seq,
            first=point.end if self.keep else point.start,
            seed=replay.seed,
            n=n,
            change=json.loads(msgspec.json.encode(change)) | ({"keep": True} if keep else {}),
            what=describe(change, replay, point),
            arms=tuple(self.arms),
        )
        self.schedule = BranchSchedule(self.config, self.cells, self.origin)

    def _arms(self) -> list[Arm]:
        """The changed arm before the unchanged one; new players are added to the configuration on the way."""
        change, seated = self.change, list(self.seated)
        if isinstance(change, Nothing):
            return [Arm("unchanged", tuple(seated))]
        without = list(seated)
        if isinstance(change, Player):
            seated[change.seat] = self._player(change)
        elif isinstance(change, Prefix):
            seat = self.point.decision.seat
            own = sum(
                isinstance(r, Decision) and r.seat == seat for r in self.replay.records[: self.point.start]
            )
            seated[seat] = self._copy(seat, "prefix", {"prefix": {"text": change.text, "decision": own}})
        elif isinstance(change, Steer):
            seated[change.seat], without[change.seat] = self._steered(change)
        return [Arm("changed", tuple(seated)), Arm("unchanged", tuple(without))]

    def _player(self, change: Player) -> str:
        agents = self.plain["agents"]
        if change.agent is not None and change.agent not in agents:
            raise ChangeError(
                f"the run has no player {change.agent!r}; it has: {', '.join(agents)}. A scripted character can be "
                "named with --set policy=NAME"
            )
        name = change.agent or self.seated[change.seat]
        if not change.settings:
            if name == self.seated[change.seat]:
                raise ChangeError(f"{name} sits at seat {change.seat} already: nothing would change")
            return str(name)
        return self._copy(change.seat, "changed", {}, base=name, settings=change.settings)

    def _copy(
        self,
        seat: int,
        suffix: str,
        extra: dict[str, Any],
        base: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> str:
        """A new player of the configuration: the seat's own with some settings changed."""
        base = base or self.seated[seat]
        agent = json.loads(json.dumps(self.plain["agents"][base]))
        name = f"{base}+{suffix}"
        for key, value in (settings or {}).items():
            if not key.startswith("backend."):
                set_key(agent, key, value)
                continue
            old = agent["backend"]
            if old is None:
                raise ChangeError(f"{base} has no backend, so {key} cannot be set")
            copied = f"{old}+{suffix}"
            self.plain["backends"].setdefault(copied, json.loads(json.dumps(self.plain["backends"][old])))
            set_key(self.plain["backends"][copied], key.removeprefix("backend."), value)
            agent["backend"] = copied
        if extra:
            if agent["kind"] != "llm":
                raise ChangeError(f"{base} is a {agent['kind']} player: only a model has words to begin with")
            agent["settings"] = agent["settings"] | extra
        self.plain["agents"][name] = agent
        return name

    def _steered(self, change: Steer) -> tuple[str, str]:
        """(the steered player, the same on the same kind of backend without steering)."""
        base = self.seated[change.seat]
        backend = self.plain["agents"][base]["backend"]
        if backend is None:
            raise ChangeError(f"{base} is no model: there is nothing to steer")
        if self.plain["backends"][backend]["kind"] == "openai":
            raise ChangeError(
                f"{base} plays on a server, whose activations cannot be reached: nothing can be steered"
            )
        vector = Path(change.vector).resolve()
        if not vector.is_file():
            raise ChangeError(
                f"there is no vector {vector}: give a .npy or .safetensors file with one vector (d_model,)"
            )
        settings = {"backend.kind": "transformers", "backend.replicas": 1}
        plain = self._copy(change.seat, "unsteered", {}, settings=settings)
        self.plain["backends"][self.plain["agents"][plain]["backend"]]["settings"] = {}
        steered = f"{base}+steered"
        given = {key: value for key, value in msgspec.structs.asdict(change).items() if key != "seat"}
        self.plain["agents"][steered] = self.plain["agents"][plain] | {
            "steering": given | {"vector": str(vector)}
        }
        return steered, plain

    def _cell(self, arm: Arm) -> Cell:
        changed = arm.name == "changed"
        fork = fork_of(self.change if changed else Nothing(), self.replay, self.point)
        parent = self.parent_cell
        return Cell({"arm": arm.name}, parent.game, parent.settings, (*parent.forks, fork))

    def manifest(self) -> Manifest:
        """The manifest that the branch wants."""
        parent = msgspec.to_builtins(self.origin)
        known = {key: value for key, value in parent.items() if key != "run"}
        key = hash_of([self.config.hash(), known])
        wanted = new_manifest(self.config.run.name, self.config.plain(), key, len(self.schedule), self.cells)
        wanted.parent = parent
        return wanted

    def prefix(self, arm: Arm) -> list[Record]:
        """The records with which every continuation of an arm begins."""
        if arm.name == "changed":
            records = prefix(self.change, self.replay, self.point, self._trace())
        else:
            records = list(self.replay.records[: self.point.end if self.keep else self.point.start])
        for seat, (old, new) in enumerate(zip(self.seated, arm.agents, strict=True)):
            if self._model(old) != self._model(new):
                records = [_untraced(r, seat) for r in records]
        if arm.name == "changed" and isinstance(self.change, Roles):
            # their prompts showed them another card
            for seat in (self.change.seat, self.change.other):
                records = [_untraced(r, seat) for r in records]
        return records

    def _model(self, agent: str) -> str | None:
        backend = self.config.agents[agent].backend
        return None if backend is None else self.config.backends[backend].model

    def _trace(self) -> Trace | None:
        """The tokens of the changed action as its model would have emitted them, where a model decided."""
        decision, change = self.point.decision, self.change
        if decision.trace is None or not isinstance(change, (Say, Choose)):
            return None
        from harness.branch.changes import edited

        action = edited(change, self.replay, decision)
        text = emitted(self.config, self.seated[decision.seat], self.replay, decision, action)
        if text is None:
            return None
        ids, words = text
        inside = tuple(s for s in decision.trace.spans if s.kind not in ("reasoning", "output", "speech"))
        return msgspec.structs.replace(
            decision.trace,
            output_ids=ids,
            output_text=words,
            spans=inside,
            logprobs=(),
            n_cached=0,
            attempts=1,
            rejected=(),
            reasoning=None,
            sampling=None,
        )


def emitted(
    config: Config, agent: str, replay: Replay, decision: Decision, action: Action
) -> tuple[tuple[int, ...], str] | None:
    """(token ids, text) with which a player's model would have given an action; None where its player cannot tell."""
    from harness.play.factory import make_agent

    backend = config.agents[agent].backend or ""
    player: Any = make_agent(agent, config, {backend: _Silent()})
    request = Request(
        decision.seat,
        decision.kind,
        decision.options,
        speaks=decision.kind in replay.game.text.SPEECHES,
        day=decision.day,
        phase=decision.phase,
    )
    if hasattr(player, "emitted"):
        made: tuple[tuple[int, ...], str] = player.emitted(request, action, replay.words)
        return made
    if config.agents[agent].prompt != "transcript" or not hasattr(player, "encoder"):
        return None
    words = replay.game.text.answer(request, action, replay.words)
    ids = tuple(player.encoder.encode(words)[0])
    return ids, player.encoder.decode(ids)


class _Silent:
    """A backend for players that are asked for their words alone."""

    model = "none"

    async def generate(self, prompts: Any) -> list[Any]:
        raise BackendError("this player is not meant to be asked", retryable=False)

    async def close(self) -> None:
        return


def _untraced(record: Record, seat: int) -> Record:
    """A decision of the seat without another model's tokens; other records as they are."""
    if isinstance(record, Decision) and record.seat == seat and record.trace is not None:
        return msgspec.structs.replace(record, trace=None)
    return record


def _seated(replay: Replay) -> tuple[str, ...]:
    run = replay.run
    if not run.finished:
        return run.journal.starts[replay.game_id].agents
    import polars as pl

    rows = run.seats.filter(pl.col("game_id") == replay.game_id).sort("seat").collect()
    return tuple(rows["agent"].to_list())


def _play(plan: _Plan, out: Path, progress: Progress | None, address: str | None) -> Path:
    from harness.config.models import model_names, used_backends
    from harness.play.factory import check_agents

    progress = progress or Progress("quiet")
    check_agents(plan.schedule.configs)
    beginnings = [plan.prefix(arm) for arm in plan.arms]
    wanted = plan.manifest()
    backends = used_backends(plan.schedule.configs)
    wanted.models = model_names(backends)
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


def _write_beginnings(folder: RunFolder, plan: _Plan, beginnings: list[list[Record]]) -> None:
    """Journal the recorded part of every continuation: to the players of the rest they are unfinished games."""
    begun = folder.journal()
    todo = [planned for planned in plan.schedule if planned.game_id not in begun]
    if not todo:
        return
    session = len(list(folder.journal_folder.glob("s0000-*.jsonl")))
    journal = JournalWriter(folder.journal_folder / f"s0000-r{session:03d}.jsonl")
    for planned in todo:
        start = Start(planned.index, planned.seed, planned.cell, planned.agents)
        journal.add(planned.game_id, beginnings[planned.cell], start=start)
    journal.close()


async def _play_here(folder: RunFolder, schedule: BranchSchedule, progress: Progress) -> None:
    """Play what is left in this process: scripted players need no more."""
    from harness.play.runner import Runner

    journal = folder.journal()
    numbers = [int(p.name[1:5]) for p in folder.journal_folder.glob("s[0-9][0-9][0-9][0-9]-*.jsonl")]
    path = folder.journal_folder / f"s{1 + max(numbers, default=0):04d}-r000.jsonl"
    runner = Runner(path, schedule.cells, schedule.configs, {})
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
    """The recorded game that a branch comes from, None where it is no branch or its parent is not there any more."""
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
