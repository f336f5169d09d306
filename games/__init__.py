"""The games that Wolfscope plays: pure rules, text for one seat, PettingZoo environments."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from games import compiled

if TYPE_CHECKING:
    from games.base import Game

compiled.use()

GAMES = {"werewolf": "games.werewolf:GAME", "avalon": "games.avalon:GAME"}
"""The game of each name, as `package.module:attribute`; it follows `games.base.Game`."""
DEFAULT = "werewolf"
"""The default game."""
SHIPPED = tuple(GAMES)
"""The games of the repository, without those that a process registers."""


def register(name: str, path: str) -> None:
    """Make a game known to this process: `path` is `package.module:attribute`, and the game's own name is `name`."""
    GAMES[name] = path


def known() -> dict[str, str]:
    """Name -> path of every game: those of the repository, those registered, and those of installed packages that state
    them under the entry point group `wolfscope.games`. A run folder names its game and never where its code is."""
    from importlib.metadata import entry_points

    installed = {entry.name: entry.value for entry in entry_points(group="wolfscope.games")}
    return installed | GAMES


@cache
def load_game(name: str) -> Game:
    """The game called `name`. Raises ValueError, naming the known ones."""
    path = GAMES.get(name) or known().get(name)
    if path is None:
        raise ValueError(f"no game is called {name!r}; there are: {', '.join(sorted(known()))}")
    module, _, attribute = path.partition(":")
    try:
        game: Game = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the game {name!r} cannot be had from {path!r}: {error}") from error
    if game.name != name:
        raise ValueError(f"the game at {path} calls itself {game.name!r}; it is registered as {name!r}")
    return game
