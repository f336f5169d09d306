"""The protocol of agents, which turn one seat's observation into a reply, and of a game's module of agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from games.base import GameError, Observation
from games.records import Action, Record, Reply


class Agent(Protocol):
    """A player of one or many seats; all its state can be rebuilt from its observations."""

    name: str

    async def act(self, observation: Observation) -> Reply:
        """Answer the observation's request. Never raises for a bad model reply: that is a recorded fallback."""
        ...


class ScriptedAgent(Agent, Protocol):
    """An agent whose choices are drawn from a distribution that it can state."""

    def distribution(self, observation: Observation) -> list[tuple[Action, float]]:
        """Every action that it may take and its probability; the probabilities add up to 1."""
        ...


@runtime_checkable
class ModelPlayer(Agent, Protocol):
    """An agent that asks a model and can rebuild its prompts from an observation; test with `isinstance`.

    A player that can also be asked for its beliefs is an `agents.llm.beliefs.Believer`.
    """

    encoder: Any
    """The model's words as token ids (`agents.llm.encoder.Encoder`); None where a server takes messages."""
    settings: Mapping[str, Any]
    """How it samples; `max_tokens` among them."""
    multi_step: bool
    """Whether a decision may take several answers (notes, a choice after words): its logged prompt then goes on after
    that of the first question."""
    constrained: bool
    """Whether it chooses among the legal answers alone."""
    repairs: bool
    """Whether it chooses among the legal answers alone after its own answers could not be used."""
    notes: bool
    """Whether it writes private notes before it answers."""

    def context(self, observation: Observation) -> Any:
        """The prompt of an observation (`agents.llm.transcript_context.Context`)."""
        ...

    def legal_answers(self, observation: Observation) -> tuple[tuple[int, ...], ...]:
        """Token ids of every legal answer, in the order of the options; empty where the reply is words."""
        ...


class NoPosterior(GameError):
    """The game has no such posterior; the message says why."""


Points = list[tuple[int, int, int, float]]
"""(seq, viewer, subject, probability that the subject is what the game's first belief target asks), ordered by seq."""


Posterior = Callable[[Any, Sequence[Record]], Points]
"""An observer's beliefs, from a game's configuration and its whole log. Raises NoPosterior."""


class Players(Protocol):
    """A game's module of agents; the game states its import path (`Game.players`)."""

    def policies(self) -> tuple[str, ...]:
        """The names of the scripted policies; the first stands in for a model in a dry run."""
        ...

    def make_policy(self, name: str, policy: str, settings: Mapping[str, Any]) -> Agent:
        """The scripted player called `name`. Raises ValueError for an unknown policy or setting, naming the known."""
        ...

    def lessons(self) -> str:
        """Import path of what a small model of the game is trained on (`agents.lessons.Lessons`), empty where there is
        nothing."""
        ...

    def posteriors(self, mix: Mapping[str, float] | None) -> Mapping[str, Posterior]:
        """Source -> observer of this game. mix: policy -> share, where all players are scripted and have no settings of
        their own; some sources need it."""
        ...
