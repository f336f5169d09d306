"""The settings of a game of Avalon, as one validated, frozen configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from games.avalon.lexicon import lexicon
from games.avalon.roles import EVIL, TEAM_SIZES, TWO_FAILS_FROM, Role
from games.base import GameConfig, validated


class AvalonConfig(GameConfig):
    """One rule set. Unknown settings and combinations that make no sense are refused at construction.

    The rules use the lexicon only to find names in a speech.
    """

    roles: dict[Role, int]
    """How many seats have each role; 5 to 10 seats in all."""

    max_rejections: int = Field(5, ge=1, le=10)
    """Number of rejected teams for one mission with which evil wins; an accepted team resets the count."""
    hammer: bool = False
    """Whether the last team that may be proposed for a mission goes without a vote."""
    two_fails: bool = True
    """Whether the fourth mission of seven or more players fails only by two failures."""

    talk_before: tuple[Literal["proposal", "vote"], ...] = ("vote",)
    """When all discuss: before each proposal, between a proposal and its vote, or both."""
    discussion: Literal["round_robin", "random_order", "bidding", "free", "simultaneous", "none"] = (
        "round_robin"
    )
    """Round robin: seats in order from a random starter; random order: one order a discussion; bidding: the highest
    bid (0-4) speaks; free: cycles in one order, each may skip or be over; simultaneous: all at once."""
    speech_rounds: int = Field(1, ge=1, le=10)
    """Rounds a discussion (round_robin, random_order, simultaneous)."""
    speech_turns: int = Field(5, ge=1, le=100)
    """Speeches a discussion under bidding."""
    free_per_seat: int = Field(2, ge=1)
    """Most utterances of one seat in one free discussion."""
    free_per_day: int = Field(10, ge=1)
    """Most utterances of all seats together in one free discussion."""
    max_speech_chars: int = Field(2000, ge=40)
    """A longer speech is shown to others cut to this many characters; the log keeps all of it."""

    @property
    def n_players(self) -> int:
        """The number of seats."""
        return sum(self.roles.values())

    def count(self, role: str) -> int:
        """How many seats have a role."""
        return sum(n for name, n in self.roles.items() if name == role)

    @property
    def decks(self) -> tuple[str, ...]:
        """The role cards, one a seat, in the order of `roles`."""
        return tuple(role for role, count in self.roles.items() for _ in range(count))

    @property
    def n_evil(self) -> int:
        """How many seats are evil."""
        return sum(self.count(role) for role in EVIL)

    def team_size(self, mission: int) -> int:
        """How many go on mission 1, 2, ... 5."""
        return TEAM_SIZES[self.n_players][mission - 1]

    def fails_needed(self, mission: int) -> int:
        """How many failures make mission 1, 2, ... 5 fail."""
        return 2 if self.two_fails and mission == 4 and self.n_players >= TWO_FAILS_FROM else 1

    @model_validator(mode="after")
    def _sensible(self) -> AvalonConfig:
        def refuse(why: str) -> None:
            raise ValueError(why)

        lexicon(self.lexicon)  # raises where there is none
        n, evil = self.n_players, self.n_evil
        if any(count < 0 for count in self.roles.values()):
            refuse(f"roles has a negative count: {self.roles}")
        if not 5 <= n <= 10:
            refuse(f"roles add up to {n} seats; 5 to 10 can play")
        if evil < 1:
            refuse("roles has nobody of the evil side; add at least one")
        if evil >= n - evil:
            refuse(f"{evil} of {n} seats are evil; evil must be fewer than good")
        for role in ("merlin", "assassin"):
            if self.count(role) > 1:
                refuse(f"roles has {self.count(role)} of {role!r}; there can be one")
        if self.count("merlin") != self.count("assassin"):
            refuse("merlin and assassin come together: the one is whom the other looks for")
        for role, other in (("percival", "merlin"), ("mordred", "merlin"), ("morgana", "percival")):
            if self.count(role) and not self.count(other):
                refuse(f"{role!r} does nothing without {other!r}: add one, or use a servant or minion")
        if len(self.talk_before) != len(set(self.talk_before)):
            refuse(f"talk_before names a moment twice: {self.talk_before}")
        if bool(self.talk_before) != (self.discussion != "none"):
            refuse(
                f"discussion = {self.discussion!r} with talk_before = {list(self.talk_before)}: set discussion = "
                "'none' and talk_before = [] for a game without words, else name a moment"
            )
        return self


def build(**settings: Any) -> AvalonConfig:
    """A configuration from plain settings. Raises ConfigError with every complaint in one message."""
    return validated(AvalonConfig, "avalon", settings)
