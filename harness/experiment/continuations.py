"""Continuations: games played to their end from a moment, one for each outcome of the decision.

An arm acts at one decision, so it affects the future only through that decision. Continuation k
of a moment draws one number u, the same for all arms; each arm's decision is the option at quantile u of its own
exact distribution; then the game's players play on with the seed of continuation k. Arms with the same decision share
the continuation, so that only the decision makes a difference.

A worker (`harness.experiment.work`) plays scripted players as they are and models through one hooked backend. The
continuations' outcomes are kept, their logs are not; `wolfscope branch` keeps the logs for one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import polars as pl

from agents.backends.base import Backend
from games import chance
from games.branching import Forked
from games.play import Answer, play
from games.records import NOBODY, Decision, Event, Record
from games.seat_view.views import Seen
from harness.branch.changes import Change, Choose, Say, fork_of, locate, prefix
from harness.branch.plan import emitted
from harness.experiment.moments import Moment
from harness.play.factory import make_agent
from harness.play.runner import slow_agents
from harness.replay.replay import Replay
from harness.run.folder import Run
from harness.schedule.branched import continuation_seed, schedule_of

FUTURES: dict[str, Any] = {
    "moment": pl.Int32,
    "arm": pl.String,
    "k": pl.Int32,
    "option": pl.Int16,  # the option chosen
    "won": pl.Float64,  # the viewer's side
    "exiled": pl.Float64,  # the subject is exiled next
    "votes": pl.Float64,  # share of the others' next ballots that are for the subject
    "lies": pl.Float64,  # statements that their speakers know to be false, from the decision on
}
"""One row a moment, arm and continuation."""
AT_ONCE = 64
"""Continuations that are played concurrently."""


class Future(msgspec.Struct, frozen=True):
    """The outcome of one continuation."""

    won: float
    exiled: float
    votes: float
    lies: float


class Futures:
    """Plays recorded games on. `backends` are the models behind the run's players, by the configuration's names."""

    def __init__(self, run: Run, backends: Mapping[str, Backend]) -> None:
        self.run, self.backends = run, backends
        self.configs = schedule_of(run.manifest).configs
        self._agents: dict[tuple[int, str], Any] = {}
        seats = (
            run.seats.select("game_id", "seat", "agent")
            .sort("game_id", "seat", maintain_order=True)
            .collect()
        )
        self._seated = {
            str(g[0]): part["agent"].to_list() for g, part in seats.group_by("game_id", maintain_order=True)
        }

    def seated(self, game_id: str) -> list[str]:
        """The players of a game's seats."""
        return self._seated[game_id]

    def play(
        self, moment: Moment, changes: Mapping[Any, Change], ks: Mapping[Any, Sequence[int]]
    ) -> dict[Any, Future]:
        """(label, k) -> the outcome of continuation k after the change `label`; ks: the continuations wanted of
        each."""
        with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop of its own
            return thread.submit(lambda: asyncio.run(self._play(moment, changes, ks))).result()

    async def _play(
        self, moment: Moment, changes: Mapping[Any, Change], ks: Mapping[Any, Sequence[int]]
    ) -> dict[Any, Future]:
        replay = Replay(self.run, moment.game_id)
        point = locate(replay, moment.seq)
        cell = self.run.manifest.cells.index(self.run.cell(moment.game_id))
        seated, slow = self._seated[moment.game_id], slow_agents(self.configs[cell])
        agents = [self._agent(cell, name) for name in seated]
        waiting = {seat for seat, name in enumerate(seated) if name in slow}
        room = asyncio.Semaphore(AT_ONCE)

        async def one(label: Any, begun: Sequence[Record], game: Any, k: int) -> tuple[Any, Future]:
            async with room:
                seed = continuation_seed(replay.seed, moment.seq, k)
                name = f"{moment.game_id}/{moment.seq}/{label}/{k}"
                return (label, k), await self._one(
                    replay, game, name, seed, list(begun), agents, waiting, moment, point.end
                )

        tasks = []
        for label, change in changes.items():
            game = Forked(replay.game, fork_of(change, replay, point))
            begun = prefix(change, replay, point, self._trace(cell, replay, point.decision, change))
            tasks += [one(label, begun, game, k) for k in ks[label]]
        return dict(await asyncio.gather(*tasks))

    def _agent(self, cell: int, name: str) -> Any:
        if (cell, name) not in self._agents:
            self._agents[cell, name] = make_agent(name, self.configs[cell], self.backends)
        return self._agents[cell, name]

    def _trace(self, cell: int, replay: Replay, decision: Decision, change: Change) -> Any:
        """The tokens that a model would have emitted for the changed decision, None where no model decided."""
        if decision.trace is None or not isinstance(change, (Say, Choose)):
            return None
        from harness.branch.changes import edited

        action = edited(change, replay, decision)
        text = emitted(self.configs[cell], decision.agent, replay, decision, action)
        if text is None:
            return None
        ids, words = text
        kept = tuple(s for s in decision.trace.spans if s.kind not in ("reasoning", "output", "speech"))
        return msgspec.structs.replace(
            decision.trace,
            output_ids=ids,
            output_text=words,
            spans=kept,
            logprobs=(),
            rejected=(),
            reasoning=None,
        )

    async def _one(
        self,
        replay: Replay,
        game: Any,
        name: str,
        seed: int,
        records: list[Record],
        agents: Sequence[Any],
        waiting: set[int],
        moment: Moment,
        end: int,
    ) -> Future:
        """waiting: the seats whose players may wait for I/O; the others are asked one after the other, which costs no
        turn of the event loop."""
        steps = play(game, replay.config, seed, replayed=tuple(records))
        seen = Seen(game, replay.config, len(agents))
        seen.add(records)
        answers: list[Answer] | None = None
        try:
            while True:
                step = next(steps) if answers is None else steps.send(answers)
                records.extend(step.new)
                seen.add(step.new)
                asked = [agents[r.seat].act(seen.observation(name, seed, r)) for r in step.requests]
                if waiting.isdisjoint(r.seat for r in step.requests):
                    replies = [await act for act in asked]
                else:
                    replies = await asyncio.gather(*asked)
                answers = [Answer(reply) for reply in replies]
        except StopIteration as stop:
            return _future(game, replay.config, records, stop.value, moment, end)


def _future(
    game: Any, config: Any, records: Sequence[Record], outcome: Any, moment: Moment, end: int
) -> Future:
    later = [r for r in records if r.seq >= end]
    exile = next((r.target for r in later if isinstance(r, Event) and r.kind == "exile"), NOBODY)
    ballots: dict[int, int | None] = {}
    for r in later:
        if isinstance(r, Decision) and r.kind == "ballot" and r.seat != moment.seat:
            ballots.setdefault(r.seat, r.action.option)
    said = game.statements(config, records)
    return Future(
        won=float(moment.seat in outcome.winners),
        exiled=float(exile == moment.subject),
        votes=sum(o == moment.subject for o in ballots.values()) / len(ballots) if ballots else 0.0,
        lies=float(sum(s.label == "lie" for s in said if s.seq >= end)),
    )


def follow(
    futures: Futures, moment: Moment, measured: Sequence[Mapping[str, Any]], n: int
) -> list[dict[str, Any]]:
    """The rows (`FUTURES`) of a moment: n continuations for each arm. measured: its rows of `folder.OUTCOMES`."""
    choices: dict[str, list[int]] = {}
    seed = futures.run.game(moment.game_id)[2]
    draws = np.array([chance.uniform(chance.key(seed, "experiment", moment.seq, k)) for k in range(n)])
    for row in measured:
        if row["options"]:
            choices[row["arm"]] = chosen(row["options"], row["logprobs"], draws)
    wanted: dict[int, set[int]] = {}
    for options in choices.values():
        for k, option in enumerate(options):
            wanted.setdefault(option, set()).add(k)
    changes = {option: Choose(option) for option in wanted}
    told = futures.play(moment, changes, {option: sorted(ks) for option, ks in wanted.items()})
    return [
        {"moment": moment.id, "arm": arm, "k": k, "option": option} | msgspec.structs.asdict(told[option, k])
        for arm, options in choices.items()
        for k, option in enumerate(options)
    ]


def chosen(options: Sequence[int], logprobs: Sequence[float], draws: np.ndarray) -> list[int]:
    """The options at the quantiles given by numbers in [0, 1), with options in seat order and probabilities
    normalised over the legal ones."""
    order = np.argsort(options)
    p = np.exp(np.asarray(logprobs)[order])
    edges = np.cumsum(p / p.sum())
    at = np.minimum(np.searchsorted(edges, draws, side="right"), len(options) - 1)
    return [int(np.asarray(options)[order][i]) for i in at]
