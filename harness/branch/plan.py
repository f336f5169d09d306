"""The plan of a branch: its cells, its players with the change, and the recorded beginning of each continuation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from agents.backends.mock import MockBackend
from games.records import Action, Decision, Record, Request, Trace
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
    edited,
    fork_of,
    keeps,
    prefix,
)
from harness.config.files import parse_config, set_key
from harness.config.hashing import hash_of
from harness.config.sections import Config
from harness.replay.replay import Replay
from harness.run.held import new_manifest
from harness.run.manifest import Cell, Manifest
from harness.schedule.branched import Arm, BranchSchedule, Origin, schedule_of

HERE = 1000
"""Up to this many continuations with only scripted players are played in this process, without Ray."""


class Plan:
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

    def said(self) -> list[tuple[str, str]]:
        """(place, text) of the public words that the change puts into a player's mouth."""
        if not isinstance(self.change, Say):
            return []
        text = edited(self.change, self.replay, self.point.decision).text
        return [("the changed speech (--say)", text)] if text else []

    def _arms(self) -> list[Arm]:
        """The changed arm, then the unchanged one; adds new players to the configuration."""
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
                records = [untraced(r, seat) for r in records]
        if arm.name == "changed" and isinstance(self.change, Roles):
            # their prompts showed them another card
            for seat in (self.change.seat, self.change.other):
                records = [untraced(r, seat) for r in records]
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
    """(token ids, text) with which a player's model would have expressed an action; None where its player cannot."""
    from harness.play.factory import make_agent

    backend = config.agents[agent].backend or ""
    player: Any = make_agent(agent, config, {backend: MockBackend()})
    request = Request(
        decision.seat,
        decision.kind,
        decision.options,
        speaks=decision.kind in replay.game.speech_kinds,
        day=decision.day,
        phase=decision.phase,
    )
    if config.agents[agent].prompt != "transcript":  # a chat player's answer may come in several steps
        return None
    words = replay.game.text.answer(request, action, replay.words)
    ids = tuple(player.encoder.encode(words)[0])
    return ids, player.encoder.decode(ids)


def untraced(record: Record, seat: int) -> Record:
    """A decision of the seat without another model's tokens; other records as they are."""
    if isinstance(record, Decision) and record.seat == seat and record.trace is not None:
        return msgspec.structs.replace(record, trace=None)
    return record


def _seated(replay: Replay) -> tuple[str, ...]:
    run = replay.run
    if not run.finished:
        return run.journal.starts[replay.game_id].agents
    import polars as pl

    rows = run.seats.filter(pl.col("game_id") == replay.game_id).sort("seat", maintain_order=True).collect()
    return tuple(rows["agent"].to_list())
