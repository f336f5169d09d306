"""The games that the small model learns from: rule sets with their shares, and the scripted players in their seats."""

from __future__ import annotations

from typing import Any

from agents.lessons import Distribution, played
from agents.werewolf.observer import Mix
from agents.werewolf.scripted import Scripted, draw
from agents.werewolf.styles import CAST
from games import chance, load_game
from games.records import Record

FIVE = {"preset": "custom", "roles": {"werewolf": 1, "seer": 1, "villager": 3}, "reveal_night": "role",
        "reveal_day": "role", "ballot_abstain": True}  # fmt: skip
EARLY: tuple[tuple[dict[str, Any], float], ...] = (
    (FIVE, 0.6),
    ({"preset": "probe-6", "speech_rounds": 1}, 0.4),
)
"""Short games, with which training begins."""
MIX: tuple[tuple[dict[str, Any], float], ...] = (
    (FIVE, 0.12),
    ({"preset": "probe-6"}, 0.2),
    ({"preset": "classic-7"}, 0.4),
    ({"preset": "kaggle-7"}, 0.1),
    ({"preset": "aiwolf-5"}, 0.04),
    ({"preset": "foaster-6"}, 0.04),
    ({"preset": "xu-7"}, 0.04),
    ({"preset": "secretmafia-7", "speech_rounds": 1}, 0.03),
    ({"preset": "arena-8"}, 0.03),
)
"""All rule sets of the main part of training, with their shares."""
LAST_MIX = tuple(
    (settings, share * 2 / 3 + (settings["preset"] == "classic-7") / 3) for settings, share in MIX
)
"""Those of its last part: three in five games are of the rule set that the model is measured by."""
PLAYERS = tuple(Scripted(name, name) for name in CAST)
WEIGHTS = tuple(0.1 if name == "random" else 1.0 for name in CAST)
MIXTURE: Mix = dict(zip((player.name for player in PLAYERS), WEIGHTS, strict=True))
"""The characters from which every seat's player is drawn; the observers' prior too."""


def cast(config: Any, seed: int) -> list[Scripted]:
    """The player of each seat, drawn from the seed."""
    return [PLAYERS[chance.draw(WEIGHTS, chance.key(seed, "cast", i))] for i in range(config.n_players)]


def scripted_game(config: Any, seed: int) -> list[Record]:
    """The log of one game between scripted players whose characters are drawn from the seed."""
    return game_with_options(config, seed)[0]


def game_with_options(config: Any, seed: int) -> tuple[list[Record], list[list[Distribution]]]:
    """The log of `scripted_game`, and for each seat its player's distribution at each of its decisions."""
    return played(load_game("werewolf"), config, seed, cast(config, seed), draw)
