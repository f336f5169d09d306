"""How a small model of a game is measured: held-out games of its teachers, who is asked what, and who knows better.

`harness.model_evaluation` measures the model of any game through this alone. The lessons of a game have its module
(`agents.lessons.Lessons.exam`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from agents.base import ScriptedAgent
from games import load_game
from games.base import Game, GameError, Observation
from games.records import Action, Event, Record

HELD_OUT = 1 << 40
"""Seeds of measured games follow from numbers from here on, those of training from lower ones: a collision of the
63-bit hashes is that unlikely."""
HIGHEST = "exact"
"""The name of the observer on the highest rung."""


class Teacher(ScriptedAgent, Protocol):
    """A scripted player that a small model learns from."""

    def choose(self, observation: Observation) -> Action:
        """One action drawn from its distribution with the observation's own key."""
        ...


class SeatObserver(Protocol):
    """An ideal reader of one game."""

    @property
    def roles(self) -> Sequence[str]:
        """The roles in play."""
        ...

    def update(self, record: Record) -> Any:
        """Take in the next record of the log."""
        ...

    def beliefs(self, viewer: int) -> np.ndarray:
        """Probability `(n_seats, n_roles)` of each role of each seat in the viewer's place."""
        ...


class Counts(Protocol):
    """Counts of public events: what a reader knows who only counts."""

    def add(self, record: Record) -> None:
        """Take in the next record of the log."""
        ...

    def about(self, subject: int, viewer: int) -> tuple[float, ...]:
        """The counts about a subject, some of them about its relation to the viewer."""
        ...


class Asked(msgspec.Struct, frozen=True):
    """Whose beliefs about one target are measured."""

    roles: tuple[str, ...]
    """The viewers' roles."""
    words: str
    """These viewers, as a sentence begins: `Plain villagers`."""


class Exam(Protocol):
    """What a small model of one game is measured by; a module."""

    PRESET: str
    """The rule set in which beliefs are asked and sides win."""
    FORM_PRESETS: tuple[str, ...]
    """Those in which the form of its decisions is measured."""
    ROUND: str
    """What `Decision.day` counts in this game: `day`, `mission`."""
    ASKED: Mapping[str, Asked]
    """Name of each measured belief target -> whose beliefs about it."""
    RUNGS: tuple[str, ...]
    """The evidence ladder's rungs, lowest first; the observer on the highest is the exact one."""
    CHARACTERS: tuple[str, ...]
    """The teachers' characters that the model may be asked for; empty where no question asks for them."""
    PLAYS: str
    """The last word of that question."""

    def cast(self, config: Any, seed: int) -> Sequence[Teacher]:
        """The teacher in each seat, drawn from the seed; its name is its character."""
        ...

    def scripted_game(self, config: Any, seed: int) -> list[Record]:
        """The log of one game among the teachers that `cast` draws."""
        ...

    def observer(self, rung: str, config: Any) -> SeatObserver:
        """The observer on a rung, with the teachers' shares as its prior."""
        ...

    def second_order(self, observer: Any, viewer: int) -> np.ndarray:
        """`[j, k]`: the viewer's expectation of j's belief that the first belief target holds of k."""
        ...

    def p_characters(self, observer: Any, viewer: int) -> np.ndarray:
        """Probability `(n_seats, n_characters)` of each seat's character in the viewer's place."""
        ...

    def counts(self, config: Any) -> Counts:
        """Counts of a game that begins."""
        ...


class ReadingCounts:
    """The counts of the game's own reading (`games.base.Game.reading`)."""

    def __init__(self, game: Game, config: Any) -> None:
        reading = game.reading(config)
        if reading is None:
            raise GameError(f"the game {game.name} has no reading, so its public events cannot be counted")
        self.reading = reading

    def add(self, record: Record) -> None:
        """Take in the next record of the log."""
        if isinstance(record, Event):
            self.reading.see(record)

    def about(self, subject: int, viewer: int) -> tuple[float, ...]:
        """The counts of `games.statements.Reading.features`."""
        return tuple(map(float, self.reading.counts(subject, viewer).values()))


def observers(exam: Exam, config: Any) -> dict[str, SeatObserver]:
    """An observer for each rung of evidence; the last is the exact one, called `exact`."""
    lower = {rung: exam.observer(rung, config) for rung in exam.RUNGS[:-1]}
    return lower | {HIGHEST: exam.observer(exam.RUNGS[-1], config)}


def lexicon_of(game: str, tokenizer: Any) -> str:
    """The lexicon whose words of the game's default rule set a tokenizer has. Raises GameError where there is none."""
    rules, words = load_game(game), set(tokenizer.get_vocab())
    for name in rules.lexicons:
        if words.issuperset(rules.text.words_in(rules.configure(lexicon=name))):
            return name
    raise GameError(
        f"the model's tokenizer ({len(words)} words) has all words of {game} under none of the lexicons "
        f"{', '.join(rules.lexicons)}; train it with `wolfscope train-small-model --game {game} --lexicon NAME`"
    )
