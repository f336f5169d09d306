"""What a small model of Avalon is measured by (`agents.exam.Exam`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.avalon.lessons.games import MIXTURE, cast, scripted_game
from agents.avalon.observer import RUNGS, Observer, second_order_beliefs
from agents.exam import Asked, Counts, ReadingCounts
from games.avalon.game import GAME

__all__ = [
    "ASKED",
    "CHARACTERS",
    "FORM_PRESETS",
    "PLAYS",
    "PRESET",
    "ROUND",
    "RUNGS",
    "cast",
    "counts",
    "observer",
    "p_characters",
    "scripted_game",
    "second_order",
]

PRESET = "avalon-5"
FORM_PRESETS = ("avalon-5", "avalon-6", "avalon-7")
ROUND = "mission"
ASKED = {"evil": Asked(("servant",), "Loyal servants"), "merlin": Asked(("assassin",), "Assassins")}
CHARACTERS: tuple[str, ...] = ()
PLAYS = ""


def observer(rung: str, config: Any) -> Observer:
    """The observer on a rung, with the shares of the characters as its prior."""
    return Observer.on_rung(rung, config, MIXTURE)


def second_order(observer: Observer, viewer: int) -> np.ndarray:
    """`[j, k]`: the viewer's expectation of j's belief that k is evil."""
    return np.asarray(second_order_beliefs(observer, [viewer])[0])


def p_characters(observer: Observer, viewer: int) -> np.ndarray:
    """No character is asked for: `(n_seats, 0)`."""
    return np.empty((observer.n, 0))


def counts(config: Any) -> Counts:
    """The counts of the game's reading."""
    return ReadingCounts(GAME, config)
