"""What an agent is (it turns one seat's observation into a reply), and what the room of a game's agents holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from games.base import GameError, Observation
from games.records import Action, Record, Reply


class Agent(Protocol):
    """A player of one or many seats; it holds no state that its observations do not give it back."""

    name: str

    async def act(self, observation: Observation) -> Reply:
        """Answer the observation's request. Never raises for a bad model reply: that is a recorded fallback."""
        ...


class ScriptedAgent(Agent, Protocol):
    """An agent whose choices are drawn from a distribution that it can state."""

    def distribution(self, observation: Observation) -> list[tuple[Action, float]]:
        """Every action that it may take and its probability; the probabilities add up to 1."""
        ...


class NoPosterior(GameError):
    """This game has no such posterior; the message says why."""


Points = list[tuple[int, int, int, float]]
"""(seq, viewer, subject, probability that the subject is what the game's first belief target asks), ordered by seq."""


Posterior = Callable[[Any, Sequence[Record]], Points]
"""What an observer believes, from a game's configuration and its whole log. Raises NoPosterior."""


class Players(Protocol):
    """What a game's room in `agents` offers; a module, whose import path the game states (`Game.players`)."""

    def policies(self) -> tuple[str, ...]:
        """The names of the scripted policies; the first stands in for a model in a dry run."""
        ...

    def make_policy(self, name: str, policy: str, settings: Mapping[str, Any]) -> Agent:
        """The scripted player called `name`. Raises ValueError for an unknown policy or setting, naming the known."""
        ...

    def posteriors(self, mix: Mapping[str, float] | None) -> Mapping[str, Posterior]:
        """Source -> observer of this game. mix: policy -> share, where all players are scripted and have no settings of
        their own; some sources need it."""
        ...
