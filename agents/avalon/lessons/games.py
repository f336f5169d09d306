"""The games that a small model of Avalon learns from: rule sets with their shares, and the scripted players."""

from __future__ import annotations

from typing import Any

from agents.avalon.observer import Mix
from agents.avalon.scripted import Scripted, draw
from agents.avalon.styles import CHARACTERS
from agents.lessons import Distribution, played
from games import chance
from games.avalon.game import GAME
from games.play import play
from games.records import Record

EARLY: tuple[tuple[dict[str, Any], float], ...] = (
    ({"preset": "resistance-5"}, 0.3),
    ({"preset": "avalon-5"}, 0.7),
)
"""Small games, with which training begins."""
MIX: tuple[tuple[dict[str, Any], float], ...] = (
    ({"preset": "resistance-5"}, 0.1),
    ({"preset": "avalon-5"}, 0.6),
    ({"preset": "avalon-6"}, 0.2),
    ({"preset": "avalon-7"}, 0.1),
)
"""All rule sets of the main part of training, with their shares."""
PLAYERS = tuple(Scripted(name, name) for name in CHARACTERS)
WEIGHTS = tuple(0.1 if name == "random" else 1.0 for name in CHARACTERS)
MIXTURE: Mix = dict(zip(CHARACTERS, WEIGHTS, strict=True))
"""The characters from which every seat's player is drawn; the observers' prior too."""


def cast(config: Any, seed: int) -> list[Scripted]:
    """The player of each seat, drawn from the seed."""
    return [PLAYERS[chance.draw(WEIGHTS, chance.key(seed, "cast", i))] for i in range(config.n_players)]


def scripted_game(config: Any, seed: int) -> list[Record]:
    """The log of one game between scripted players whose characters are drawn from the seed."""
    return game_with_options(config, seed)[0]


def game_with_options(config: Any, seed: int) -> tuple[list[Record], list[list[Distribution]]]:
    """The log of `scripted_game`, and for each seat its player's distribution at each of its decisions."""
    return played(GAME, config, seed, cast(config, seed), draw)


def opening(config: Any, seed: int) -> list[Record]:
    """The records of `scripted_game` before anybody has acted."""
    return list(next(play(GAME, config, seed)).new)
