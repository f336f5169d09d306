"""Scripted players by the name of their policy, from the room of their game."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from agents.base import Agent, Players
from games.base import Game


def players_of(game: Game) -> Players:
    """The game's scripted players and observers. Raises ValueError where it has none."""
    if not game.players:
        raise ValueError(
            f"the game {game.name} has no scripted players; write policy as package.module:name for one of your own"
        )
    return cast(Players, import_module(game.players))


def make_policy(game: Game, name: str, policy: str, settings: Mapping[str, Any]) -> Agent:
    """The scripted player called `name`. Raises ValueError for an unknown policy or setting, naming the known."""
    return players_of(game).make_policy(name, policy, settings)
