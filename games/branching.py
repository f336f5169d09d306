"""A game that continues a recorded game from one decision on with another seed.

Up to the decision `at` all draws use the recorded game's seed (`Fork`); from the consequences of that decision on they
use the continuation's own seed. So the log of a continuation can be folded, checked and resumed like that of a whole
game.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from games.base import Game, GameError, Outcome
from games.records import Decision, Event, Request


class Fork(msgspec.Struct, frozen=True):
    """Where a continuation leaves the recorded game."""

    seed: int
    """The recorded game's seed."""
    at: int
    """seq of the decision after which draws use the continuation's seed."""
    roles: tuple[str, ...] | None = None
    """The role of each seat where the deal was changed, None for the recorded one."""


class ForkedState(msgspec.Struct, frozen=True):
    """The game's own state and the seed that it will have after the fork."""

    inner: Any
    seed: int


class Forked:
    """A game continued from a fork (`games.base.Game`). The original game's `State` must be a struct with the field
    `seed`.

    A fork of a fork is a `Forked` game of a `Forked` one.
    """

    def __init__(self, game: Game, fork: Fork) -> None:
        self._game, self.fork = game, fork

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # not set yet while unpickling
            raise AttributeError(name)
        return getattr(self._game, name)

    def start(
        self, config: Any, seed: int, dealt: Sequence[str] | None = None
    ) -> tuple[ForkedState, tuple[Event, ...]]:
        """The recorded game's beginning. Raises GameError where the changed roles do not fit."""
        roles = self.fork.roles if dealt is None else dealt
        if roles is None:
            state, events = self._game.start(config, self.fork.seed)
        else:
            state, events = self._game.start(config, self.fork.seed, roles)
        if not hasattr(state, "seed"):
            raise GameError(f"{self._game.name} cannot be branched: its state has no field `seed`")
        return ForkedState(state, seed), events

    def to_act(self, state: ForkedState) -> tuple[Request, ...]:
        """As the game's own."""
        return self._game.to_act(state.inner)

    def apply(
        self, state: ForkedState, decisions: Sequence[Decision]
    ) -> tuple[ForkedState, tuple[Event, ...]]:
        """The game's `apply`, with the fork's seed before `at` and the continuation's seed from there on."""
        inner = state.inner
        if inner.seed != state.seed and decisions and decisions[-1].seq >= self.fork.at:
            inner = msgspec.structs.replace(inner, seed=state.seed)
        after, events = self._game.apply(inner, decisions)
        return ForkedState(after, state.seed), events

    def outcome(self, state: ForkedState) -> Outcome | None:
        """As the game's own."""
        return self._game.outcome(state.inner)
