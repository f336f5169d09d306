"""What an agent is: something that turns one seat's observation into a reply."""

from __future__ import annotations

from typing import Protocol

from games.base import Observation
from games.records import Action, Reply


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
