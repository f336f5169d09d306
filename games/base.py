"""What every game of the harness is: a pure state machine over records, and what one seat sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from games.records import Action, Decision, Event, Record, Request
from games.statements import Statement


class GameError(ValueError):
    """Something was asked of a game that its rules do not allow."""


class ConfigError(GameError):
    """A configuration that makes no sense; the message says why and what would."""


class IllegalAction(GameError):
    """A decision outside what its request allows."""


class ReplayError(GameError):
    """A log that the rules do not give back."""


class Outcome(msgspec.Struct, frozen=True):
    """How a game ended."""

    winner: str
    """The winning faction, or `nobody`."""
    winners: tuple[int, ...]
    """The seats that won, living or dead."""
    reason: str


class SeatFacts(msgspec.Struct, frozen=True):
    """The truth about one seat."""

    name: str
    """Its public name."""
    role: str
    faction: str


class Observation(msgspec.Struct, frozen=True):
    """One seat's view at one request: all that it may know, in order."""

    game_id: str
    game: str
    """The game's name, the key of `games.load_game`."""
    config: Any
    request: Request
    records: tuple[Record, ...]
    """Every earlier record that the seat may see (public and private events, its own decisions), numbered 0, 1, 2,
    ... by themselves: `games.view` says why, and `Trace.continues` of a reply uses these numbers."""
    seed: int
    """The key of this seat's own random stream for this decision; players that are not this project's code are given a
    one-way hash of it (`games.view.sealed`)."""


class Game(Protocol):
    """The rules of one game. All functions are pure; `State` is the game's own frozen structure."""

    name: str

    @property
    def text(self) -> Any:
        """The module that puts records into words: `words_of(config, records)`, `line(record, seat, config, words)`,
        `question(request, words)`, `answer(request, action, words)`, `parse(request, reply, words)`."""
        ...

    def configure(self, **settings: Any) -> Any:
        """A validated configuration. Raises ConfigError."""
        ...

    def start(
        self, config: Any, seed: int, dealt: Sequence[str] | None = None
    ) -> tuple[Any, tuple[Event, ...]]:
        """The first state and the events up to the first requests; `dealt` stands in for the drawn roles."""
        ...

    def to_act(self, state: Any) -> tuple[Request, ...]:
        """All requests that can be answered together now; empty when the game is over."""
        ...

    def apply(self, state: Any, decisions: Sequence[Decision]) -> tuple[Any, tuple[Event, ...]]:
        """The state after one decision for each request, and the events they cause. Raises IllegalAction."""
        ...

    def outcome(self, state: Any) -> Outcome | None:
        """The outcome, None while the game goes on."""
        ...

    def seats(self, config: Any, records: Sequence[Record]) -> list[SeatFacts]:
        """The truth about every seat, from a whole log. Raises ReplayError where the log is one seat's view."""
        ...

    def transcript(self, records: Sequence[Record], seat: int | None, config: Any) -> list[str]:
        """The lines that a seat has read (the moderator's view for None), oldest first."""
        ...

    def statements(self, config: Any, records: Sequence[Record]) -> list[Statement]:
        """The truth of every typed act of a whole log. Raises ReplayError where the log is one seat's view."""
        ...

    def legal_fallback(self, request: Request, seed: int) -> Action:
        """A legal action for a seat that gave none: abstain where allowed, else drawn by `seed`."""
        ...


def next_seq(records: Sequence[Record]) -> int:
    """The sequence number after the last record."""
    return records[-1].seq + 1 if records else 0
