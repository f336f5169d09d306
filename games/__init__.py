"""The games that Wolfscope plays: pure rules, text for one seat, PettingZoo environments."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from games import compiled

compiled.use()

GAMES = {"werewolf": "games.werewolf"}
"""Where each game lives; a module here has a `GAME` that follows `games.base.Game`."""


def load_game(name: str) -> Any:
    """The game called `name`. Raises ValueError, naming the known ones."""
    if name not in GAMES:
        raise ValueError(f"no game is called {name!r}; there are: {', '.join(sorted(GAMES))}")
    return import_module(GAMES[name]).GAME
