"""What a small model of Werewolf is measured by (`agents.exam.Exam`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.exam import Asked
from agents.werewolf.lessons.games import MIXTURE, cast, scripted_game
from agents.werewolf.observer import RUNGS, Observer, second_order_beliefs
from agents.werewolf.styles import CAST as CHARACTERS
from agents.werewolf.vocabulary import PLAYS
from games.records import Record
from games.werewolf.config import WerewolfConfig
from games.werewolf.evidence import Evidence

__all__ = [
    "ASKED",
    "CHARACTERS",
    "FORM_PRESETS",
    "PLAYS",
    "PRESET",
    "ROUND",
    "RUNGS",
    "PublicCounts",
    "cast",
    "counts",
    "observer",
    "p_characters",
    "scripted_game",
    "second_order",
]

PRESET = "classic-7"
FORM_PRESETS = ("classic-7", "probe-6", "kaggle-7")
ROUND = "day"
ASKED = dict.fromkeys(("werewolf", "seer"), Asked(("villager",), "Plain villagers"))


def observer(rung: str, config: Any) -> Observer:
    """The observer on a rung, with the shares of the characters as its prior."""
    return Observer.on_rung(rung, config, MIXTURE)


def second_order(observer: Observer, viewer: int) -> np.ndarray:
    """`[j, k]`: the viewer's expectation of j's belief that k is a werewolf."""
    return second_order_beliefs(observer, viewer)


def p_characters(observer: Observer, viewer: int) -> np.ndarray:
    """Probability `(n_seats, n_characters)` of each seat's character in the viewer's place."""
    return observer.p_characters(viewer)


class PublicCounts:
    """Counts of public events around a subject: made, received, exchanged with the viewer, towards players whose side
    is known; reports and claims; how far the game has come."""

    def __init__(self, config: WerewolfConfig) -> None:
        self.seen = Evidence.empty(config.n_players)

    def add(self, record: Record) -> None:
        """Take in the next record of the log."""
        self.seen.add(record)

    def about(self, subject: int, viewer: int) -> tuple[float, ...]:
        """The counts about a subject."""
        seen = self.seen
        made, received, mutual, aimed = [], [], [], []
        for table in (seen.accusations, seen.defences, seen.questions, seen.ballots):
            made.append(sum(table[subject]))
            received.append(sum(row[subject] for row in table))
            mutual += [table[subject][viewer], table[viewer][subject]]
            for wolf in (False, True):
                shown = [
                    k for k, r in enumerate(seen.revealed) if r is not None and (r == "werewolf") == wolf
                ]
                aimed.append(sum(table[subject][k] for k in shown))
        reports = [by[subject] for by in seen.reports.values() if subject in by]
        own = seen.reports.get(subject, {})
        rest = [
            sum(reports), len(reports) - sum(reports), len(own), sum(own.values()),
            seen.claims[subject] == "seer", sum(claim == "seer" for claim in seen.claims),
            seen.today[subject], seen.day, sum(seen.alive),
        ]  # fmt: skip
        return tuple(float(x) for x in (*made, *received, *mutual, *aimed, *rest))


def counts(config: WerewolfConfig) -> PublicCounts:
    """Counts of a game that begins."""
    return PublicCounts(config)
