"""Which observers follow the games of which game: one module a game."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from analysis.beliefs.avalon import follower as avalon
from analysis.beliefs.tables import Found
from analysis.beliefs.werewolf import follower as werewolf
from analysis.data.frames import GameLog
from games.records import Decision


class Follower(Protocol):
    """The observers of one game; a module."""

    GAME: str
    """The game's name."""
    OBSERVER: ModuleType
    """The package of its observers, whose code decides what they believe."""
    RUNGS: tuple[str, ...]
    """The rungs of evidence, the lowest first; the highest is the exact observer's."""
    MEANS: str
    """The rungs in words."""
    fitted_to: Callable[[Sequence[GameLog], int], Any] | None
    """The character that explains some games best, by so many sweeps; None where no character is fitted. Raises
    ValueError."""
    fitted: Callable[[GameLog, Any, bool, Found], ValueError | None] | None
    """Adds the beliefs of the observer under a fitted character to the rows; why it ends early."""

    def follow(
        self,
        log: GameLog,
        models: bool,
        lies: Collection[tuple[str, int]] = (),
        second_at: Collection[tuple[str, int]] = (),
        beliefs: bool = True,
    ) -> tuple[Found, ValueError | None]:
        """One game's results, and why they end early (`analysis.beliefs.observers.follow`)."""
        ...

    def on_rung(self, log: GameLog, name: str, lapse: float) -> Any:
        """The observer on a rung, before the game. Raises ValueError for a game that it does not model."""
        ...

    def believed(self, log: GameLog, observer: Any, record: Decision, source: str) -> list[tuple[Any, ...]]:
        """What the observer believes in the place of the seat that decides: rows of `SCHEMA`."""
        ...

    def p_of(self, row: Mapping[str, Any], roles: Sequence[str], beliefs: np.ndarray) -> float | None:
        """Probability of a statement's proposition (a row of `analysis.data.labels`) under its speaker's beliefs
        `(n_seats, n_roles)`; None where they say nothing of it."""
        ...


FOLLOWERS: Mapping[str, Follower] = {
    module.GAME: module for module in (cast(Follower, werewolf), cast(Follower, avalon))
}
"""Game -> its observers."""
