"""Games for a forecast: a scripted player decides in each model's seat, and the model's prompts are rendered token
for token, with its own tokenizer, and sent nowhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from agents.backends.base import Capabilities
from agents.backends.mock import FirstChoice
from agents.base import Agent
from agents.policies import make_policy, players_of
from games import load_game
from games.base import Observation
from games.play import Answer, play
from games.records import NOBODY, Record, Reply, Span, Trace
from games.seat_view.views import Seen
from harness.config.sections import Config
from harness.play.budget import Booked, Meter, prices_of
from harness.play.elicitation import elicit_game
from harness.play.factory import make_agent
from harness.play.outside import is_outside
from harness.run.usage import Usage
from harness.schedule.tournament import Planned, Schedule


class Played(msgspec.Struct, frozen=True):
    """One game that a forecast is based on."""

    planned: Planned
    records: Sequence[Record]
    usage: dict[str, Usage]
    """Model -> its usage in the game, belief questions included."""
    seconds: float


class StandIns:
    """Plays the first games of a schedule without any model."""

    def __init__(self, schedule: Schedule, models: dict[str, str]) -> None:
        """`models`: backend name -> model. Raises ConfigurationError where a model's tokenizer cannot be had."""
        self.schedule, self.models = schedule, models
        self.wordless: set[str] = set()
        """Agents whose prompts are messages: only the server knows their tokens."""
        self.outside: set[str] = set()
        """Agents with outside code, which is not run."""
        self.most: dict[tuple[int, str], int] = {}
        """(cell, agent) -> tokens that it may generate for one decision, all attempts together."""
        self.attempts: dict[tuple[int, str], int] = {}
        """(cell, agent) -> calls of one free answer at most, all attempts and the forced choice together."""
        self.longest: dict[str, tuple[int, str]] = {}
        """Backend -> (tokens of the longest prompt with its generation limit, the agent that gets it)."""
        self.held: dict[str, int] = {}
        """Backend -> tokens of all contexts that a game has in the end, those of the game with most of them."""
        self._agents: dict[tuple[int, str], Any] = {}

    def play(self, per_cell: int) -> Iterator[Played]:
        """The first `per_cell` games of each combination of factors."""
        left = [per_cell] * len(self.schedule.cells)
        for planned in self.schedule:
            if left[planned.cell]:
                left[planned.cell] -= 1
                yield asyncio.run(self._play(planned))
            if not any(left):
                return

    async def _play(self, planned: Planned) -> Played:
        game, rules = self.schedule.cells[planned.cell].rules()
        config = self.schedule.configs[planned.cell]
        agents = [self._agent(planned.cell, config, name) for name in planned.agents]
        meter = Meter(config.budget, prices_of(config, self.models))
        began = time.process_time()
        steps = play(game, rules, planned.seed)
        step, log, views = next(steps), list[Record](), Seen(game, rules, len(agents))
        held: dict[tuple[str, int], int] = {}
        while step.requests:
            log += step.new
            views.add(step.new)
            answers = []
            for request in step.requests:
                seen = views.observation(planned.game_id, planned.seed, request)
                reply = await meter.asking(request.seat, agents[request.seat].act(seen))
                answers.append(Answer(reply, planned.agents[request.seat]))
                if (trace := reply.trace) is not None:
                    backend = config.agents[planned.agents[request.seat]].backend or ""
                    whole = (trace.n_cached or 0) + len(trace.prompt_ids) + len(trace.output_ids)
                    held[backend, request.seat] = max(whole, held.get((backend, request.seat), 0))
            step = steps.send(answers)
        log += step.new
        for name in {backend for backend, _ in held}:
            whole = sum(tokens for (backend, _), tokens in held.items() if backend == name)
            self.held[name] = max(whole, self.held.get(name, 0))
        seconds = time.process_time() - began
        if config.beliefs.enabled:
            asked = elicit_game(config.beliefs, game, planned.game_id, rules, planned.seed, log, agents)
            await meter.asking(NOBODY, asked)
        return Played(planned, log, meter.usage(), seconds)

    def _agent(self, cell: int, config: Config, name: str) -> Any:
        if (cell, name) not in self._agents:
            section = config.agents[name]
            if is_outside(section):
                self.outside.add(name)
                self._agents[cell, name] = _scripted(name, config)
            elif section.kind == "scripted":
                self._agents[cell, name] = make_agent(name, config, {})
            elif section.kind == "human":
                self._agents[cell, name] = _scripted(name, config)
            else:
                backend = section.backend or ""
                silent = Booked(silent_of(self.models.get(backend, backend), config.backends[backend].kind))
                player: Any = make_agent(name, config, {backend: silent})
                if player.encoder is None:
                    self.wordless.add(name)
                    self._agents[cell, name] = _scripted(name, config)
                else:
                    self.most[cell, name] = int(player.settings["max_tokens"]) * (1 + section.retries)
                    self.attempts[cell, name] = 1 + section.retries + player.repairs
                    longest = partial(self._long, backend, name)
                    self._agents[cell, name] = StandIn(player, silent, _scripted(name, config), longest)
        return self._agents[cell, name]

    def _long(self, backend: str, name: str, tokens: int) -> None:
        """Record that a prompt of the agent, with its generation limit, has this many tokens."""
        if tokens > self.longest.get(backend, (0, ""))[0]:
            self.longest[backend] = (tokens, name)


def _scripted(name: str, config: Config) -> Agent:
    """The scripted player that stands in for a model or a human: the first of the game's policies."""
    game = load_game(config.game.name)
    return make_policy(game, name, players_of(game).policies()[0], {})


class StandIn:
    """A scripted player that is logged as if a model had spoken."""

    def __init__(self, player: Any, backend: Booked, scripted: Agent, long: Callable[[int], None]) -> None:
        """long: callback with the tokens of each prompt including its generation limit."""
        self.name, self.backend = player.name, backend
        self.backend_retries, self.first_wait_s = 0, 0.0  # nothing fails
        self._player, self._scripted, self._long = player, scripted, long

    def belief_questions(self, *given: Any) -> Any:
        """As the model is asked."""
        return self._player.belief_questions(*given)

    async def act(self, observation: Observation) -> Reply:
        """The scripted player's move, with the prompt that the model would have been given."""
        reply = await self._scripted.act(observation)
        context = self._player.context(observation)
        text = load_game(observation.game).text
        words = text.words_of(observation.config, observation.records)
        said = text.answer(observation.request, reply.action, words) + "\n"
        ids = tuple(self._player.encoder.encode(said)[0])
        start = len(context.ids)
        kind = "own_speech" if reply.action.text else "own_act"
        spans = tuple(Span(k, start, start + len(ids), observation.request.seat) for k in ("output", kind))
        trace = Trace(
            model=self.backend.model,
            prompt_ids=context.delta(),
            output_ids=ids,
            output_text=said,
            continues=context.continues,
            spans=(*context.own_spans(), *spans),
            n_cached=context.own,
        )
        self.backend.book(Usage(1, start, context.own, len(ids)))
        constrained = self._player.constrained and bool(observation.request.options)
        if constrained and (reply.action.text or self._player.notes):
            after = start + len(ids)  # the choice is asked after the words or notes, in a separate call
            self.backend.book(Usage(1, after, after, 2))
        self._long(start + int(self._player.settings["max_tokens"]))
        return msgspec.structs.replace(reply, trace=trace)


def silent_of(model: str, kind: str) -> FirstChoice:
    """A backend that returns empty answers at once, with the capabilities of its kind; its calls are booked."""
    return FirstChoice(model=model, capabilities=Capabilities(steers=True, reads=kind != "openai"))
