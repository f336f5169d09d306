"""Prompts rebuilt from a log: each request of a game, the records before it, and players that build its context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agents.backends.base import Capabilities
from agents.backends.mock import MockBackend
from agents.base import ModelPlayer
from games.play import waves
from games.records import Decision, Record, Request
from harness.config.sections import Config
from harness.errors import WolfscopeError
from harness.play.factory import make_agent
from harness.play.outside import is_outside


def asked(
    game: Any, config: Any, seed: int, records: Sequence[Record]
) -> Iterator[tuple[Request, Decision, Sequence[Record]]]:
    """(request, the decision it got, the records before it was asked), for every whole wave of a sound log."""
    for requests, wave, before in waves(game, config, seed, records):
        for request, decision in zip(requests, wave, strict=True):
            yield request, decision, before


class Players:
    """The model players of a run's configurations, created only to build prompts."""

    def __init__(self, configs: Sequence[Config]) -> None:
        self._configs = configs
        self._players: dict[tuple[int, str], Any] = {}
        self.skipped: dict[str, None] = {}
        """The reasons why some players could not be created."""

    def get(self, cell: int, name: str) -> Any:
        """The player `name`, with a method `context(observation)`; None where it has none or cannot be made."""
        if (cell, name) not in self._players:
            config = self._configs[cell]
            self._players[cell, name] = None
            if name in config.agents and is_outside(config.agents[name]):
                self.skipped[
                    f"agents.{name} is {config.agents[name].policy!r}, code from outside, which is not run to check it"
                ] = None
            elif name in config.agents and config.agents[name].kind == "llm":
                backend = config.agents[name].backend or ""
                try:
                    player = make_agent(
                        name, config, {backend: MockBackend(capabilities=Capabilities(steers=True))}
                    )
                    self._players[cell, name] = player if isinstance(player, ModelPlayer) else None
                except WolfscopeError as error:
                    self.skipped[str(error)] = None
        return self._players[cell, name]
