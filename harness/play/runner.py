"""A runner: one process that plays many games concurrently and writes one journal.

All decisions of a step are asked together, and the steps of different games interleave, so that an engine gets all
open requests at once. A step is in the journal before the next question is asked.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agents.backends.base import Backend, EngineLost, ModelBroken
from agents.base import Agent
from agents.llm.beliefs import Belief
from agents.replies import BACKEND_ERROR
from games.base import ReplayError
from games.play import Answer, play
from games.records import NOBODY, Decision, Record, Reply, Request
from games.seat_view.views import Seen
from harness.config.sections import Config
from harness.errors import StorageError, TournamentError
from harness.play.budget import REASON as OVER_BUDGET
from harness.play.budget import Booked, BudgetExceeded, Meter, prices_of
from harness.play.elicitation import elicit_game
from harness.play.factory import make_agent
from harness.run.journal import End, JournalWriter, Start
from harness.run.manifest import Cell
from harness.schedule.tournament import Planned

if TYPE_CHECKING:
    from harness.activations.recorder import Watched


class RunnerLost(TournamentError):
    """A runner's process is gone, or the node that it was on."""


class Counts(msgspec.Struct):
    """A runner's counts since it started."""

    decisions: int = 0
    fallbacks: int = 0
    model_decisions: int = 0
    backend_errors: int = 0
    """Decisions of models that are fallbacks because the backend failed."""
    prompt_tokens: int = 0
    """Prompt tokens, including those of the context that a prompt continues."""
    cached_tokens: int = 0
    """Of these, taken from an engine's prefix cache."""
    output_tokens: int = 0
    games: int = 0
    in_flight: int = 0
    cpu_seconds: float = 0.0
    """Processor time of the runner's process since it was ready to play."""

    def add(self, other: Counts) -> None:
        """Add up, field by field."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def slow_agents(config: Config) -> set[str]:
    """The seated agents that may wait for I/O: all but the scripted players of the package."""
    agents = {name: config.agents[name] for name in config.roster.agents()}
    return {name for name, agent in agents.items() if not agent.policy or ":" in agent.policy}


class Runner:
    """Plays games into one journal. Lives in a Ray actor; works the same without."""

    def __init__(
        self,
        journal: Path,
        cells: Sequence[Cell],
        configs: Sequence[Config],
        backends: Mapping[str, Backend],
        session: int = 0,
    ) -> None:
        """Creates the journal. `cells` and `configs` are those of the schedule, in its order; session is the index of
        the manifest's session that plays."""
        self._journal = JournalWriter(journal, session)
        self._cells = [cell.rules() for cell in cells]
        self._configs = configs
        self._backends: dict[str, Backend] = {name: Booked(backend) for name, backend in backends.items()}
        self._prices = prices_of(configs[0], {name: b.model for name, b in backends.items()})
        self._watched = self._watch(journal.parent.parent / "activations")
        self._agents: dict[tuple[int, str], Agent] = {}
        # Scripted players never wait: a task for each of their moves would only cost time.
        self._slow = [slow_agents(config) for config in configs]
        self._contexts: dict[tuple[str, int], int] = {}
        self._counts = Counts()
        for cell, config in enumerate(configs):
            for name in config.roster.agents():
                self._agent(cell, name)
        self._ready_at = time.process_time()

    async def play(self, planned: Planned, replayed: Sequence[Record] = ()) -> End:
        """Play a game to its end, from the end of `replayed` where the journals already hold a part of it.

        A game that cannot continue has an end as well, with its reason. Raises StorageError when the journal cannot
        be written, EngineLost when there is no engine any more, ReplayError when the rules have changed since
        `replayed` was written: none of them is the game's fault, and the game can be resumed.
        """
        await asyncio.sleep(0)  # games of players who never wait run back to back: let other calls in between
        began = time.monotonic()
        self._counts.in_flight += 1
        if not replayed:
            self._journal.add(
                planned.game_id, start=Start(planned.index, planned.seed, planned.cell, planned.agents)
            )
        for record in replayed:  # speech before an interruption is context for later turns
            if isinstance(record, Decision):
                self._length(planned.game_id, record)
        beliefs: Sequence[Belief] = ()
        meter = Meter(self._configs[planned.cell].budget, self._prices, replayed)
        try:
            end, beliefs = await self._play(planned, list(replayed), meter)
        except (StorageError, EngineLost, ReplayError):
            raise
        except BudgetExceeded as error:
            end = End(status="failed", reason=OVER_BUDGET, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this game's data and not the others' end
            end = End(status="failed", error=_in_words(error))
        finally:
            self._counts.in_flight -= 1
        end = msgspec.structs.replace(end, seconds=round(time.monotonic() - began, 3), usage=meter.usage())
        self._journal.add(planned.game_id, end=end, beliefs=beliefs)
        self._counts.games += 1
        return end

    async def _play(
        self, planned: Planned, records: list[Record], meter: Meter
    ) -> tuple[End, Sequence[Belief]]:
        game, config = self._cells[planned.cell]
        agents = [self._agent(planned.cell, name) for name in planned.agents]
        steps = play(game, config, planned.seed, replayed=tuple(records))
        seen = Seen(game, config, len(agents))
        seen.add(records)
        answers: Sequence[Answer] | None = None
        try:
            while True:
                step = next(steps) if answers is None else steps.send(answers)
                if step.new:
                    self._journal.add(planned.game_id, step.new)
                    self._count(planned.game_id, step.new)
                    self._settle(planned.game_id, step.new)
                    records.extend(step.new)
                    seen.add(step.new)
                meter.check()
                answers = await self._ask(planned, seen, step.requests, agents, meter)
        except StopIteration as stop:
            outcome = stop.value
        for seat in range(len(agents)):
            self._contexts.pop((planned.game_id, seat), None)
        if self._watched is not None:
            self._watched.forget(planned.game_id, len(agents))
        end = End(
            status="finished", winner=outcome.winner, winners=tuple(outcome.winners), reason=outcome.reason
        )
        section = self._configs[planned.cell].beliefs
        if not section.enabled:
            return end, ()
        asked = elicit_game(section, game, planned.game_id, config, planned.seed, records, agents)
        return end, await meter.asking(NOBODY, asked)

    async def _ask(
        self,
        planned: Planned,
        seen: Seen,
        requests: Sequence[Request],
        agents: Sequence[Agent],
        meter: Meter,
    ) -> list[Answer]:
        acts = [agents[r.seat].act(seen.observation(planned.game_id, planned.seed, r)) for r in requests]
        if not any(planned.agents[r.seat] in self._slow[planned.cell] for r in requests):
            replies = [await act for act in acts]
        else:
            replies = await asyncio.gather(
                *(meter.asking(r.seat, act) for r, act in zip(requests, acts, strict=True))
            )
        return [
            Answer(_finite(reply), planned.agents[request.seat])
            for request, reply in zip(requests, replies, strict=True)
        ]

    def _agent(self, cell: int, name: str) -> Agent:
        if (cell, name) not in self._agents:
            self._agents[cell, name] = make_agent(name, self._configs[cell], self._backends, outside=True)
        return self._agents[cell, name]

    def _watch(self, path: Path) -> Watched | None:
        """Wrap the backend whose activations are recorded during play."""
        section = self._configs[0].activations if self._configs else None
        if section is None or not section.while_playing:
            return None
        name = section.backend or next((n for n, b in self._backends.items() if b.capabilities.layers), None)
        if name not in self._backends or not self._backends[name].capabilities.layers:
            return None
        from harness.activations.recorder import Watched

        watched = Watched(self._backends[name], path, section)
        self._backends[name] = watched
        return watched

    def _settle(self, game_id: str, records: Sequence[Record]) -> None:
        if self._watched is not None:
            for record in records:
                if isinstance(record, Decision):
                    self._watched.settle(game_id, record)

    def _count(self, game_id: str, records: Sequence[Record]) -> None:
        counts = self._counts
        for record in records:
            if not isinstance(record, Decision):
                continue
            counts.decisions += 1
            counts.fallbacks += record.fallback is not None
            counts.model_decisions += record.trace is not None
            counts.backend_errors += record.fallback == BACKEND_ERROR
            if (trace := record.trace) is not None:
                length = self._length(game_id, record)
                counts.prompt_tokens += length
                counts.cached_tokens += min(trace.n_cached, length)  # a server may count differently
                counts.output_tokens += len(trace.output_ids)

    def _length(self, game_id: str, record: Decision) -> int:
        """Tokens of a decision's whole prompt, the context that it continues included."""
        trace = record.trace
        if trace is None:
            return 0
        before = self._contexts.get((game_id, record.seat), 0) if trace.continues is not None else 0
        length = before + len(trace.prompt_ids)
        self._contexts[game_id, record.seat] = length + len(trace.output_ids)
        return length

    async def counts(self) -> Counts:
        """The counts so far."""
        return msgspec.structs.replace(self._counts, cpu_seconds=time.process_time() - self._ready_at)

    async def close(self) -> None:
        """Flush the journal and the activations to the disk."""
        self._journal.close()
        if self._watched is not None:
            self._watched.flush()


def _finite(reply: Reply) -> Reply:
    """The reply with log-probabilities that JSON can hold: minus infinity becomes the lowest float."""
    trace = reply.trace
    if trace is None or all(map(math.isfinite, trace.logprobs)):
        return reply
    if any(map(math.isnan, trace.logprobs)):
        raise ModelBroken(f"{trace.model} gives NaN instead of probabilities: its weights are broken")
    finite = tuple(p if math.isfinite(p) else -sys.float_info.max for p in trace.logprobs)
    return msgspec.structs.replace(reply, trace=msgspec.structs.replace(trace, logprobs=finite))


def _in_words(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)
    at = f" ({Path(where[-1].filename).name}:{where[-1].lineno})" if where else ""
    return f"{type(error).__name__}: {error}{at}"
