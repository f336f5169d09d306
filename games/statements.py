"""The truth of what was said, by the engine: what every game can tell of the typed acts in its log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from games.records import Event, Record, SpeechAct

Label = Literal["truth", "lie", "honest mistake", "none"]


class Statement(msgspec.Struct, frozen=True):
    """One typed act of one decision, held against the world and against what its speaker had been told."""

    seq: int
    """The decision that spoke."""
    act: int
    """Place in the decision's acts."""
    speaker: int
    is_false: bool | None
    """Whether the asserted proposition is false in the world; None where the act asserts nothing."""
    knows_false: bool | None
    """Whether what the speaker had been told leaves no room for the proposition to be true."""

    @property
    def label(self) -> Label:
        """`lie`: false and the speaker knew; `honest mistake`: false and it could not know; `truth`; `none`."""
        if self.is_false is None:
            return "none"
        if not self.is_false:
            return "truth"
        return "lie" if self.knows_false else "honest mistake"


class Naming(msgspec.Struct, frozen=True):
    """A kind of decision by which a seat names another, and what it is right about."""

    guilty: bool
    """Whether the named one is taken to be what the game's first belief target asks (an exile's ballot), or not to be
    (a place in a team)."""
    plural: str
    """Several such decisions: `ballots`."""
    right: str
    """What one does that is right: `hit a werewolf`."""


class Reading(Protocol):
    """What a game's log makes known, fed event by event: to each seat by the rules alone, and to all in counts.

    Rows, labels and baselines of `analysis` are made of it, whatever the game.
    """

    @property
    def features(self) -> tuple[str, ...]:
        """The names of `counts`."""
        ...

    @property
    def spoken(self) -> tuple[str, ...]:
        """Kinds of decisions whose words others hear."""
        ...

    @property
    def namings(self) -> Mapping[str, Naming]:
        """Kind of decision -> what it says of the seat that is its option; empty where no decision names a seat."""
        ...

    @property
    def foretold(self) -> Mapping[str, str]:
        """Name -> question, of what is asked about the near future; empty where nothing is."""
        ...

    @property
    def living(self) -> Collection[int]:
        """The seats that take part."""
        ...

    def see(self, event: Event) -> None:
        """Take in the next event of the log."""
        ...

    def posterior(self, viewer: int) -> Sequence[Mapping[str, float]]:
        """For each seat, the probability of each role given what the viewer knows: 0 or 1 exactly where it follows."""
        ...

    def counts(self, subject: int, viewer: int) -> Mapping[str, int]:
        """What is public about a subject, counted, by name of `features`; some of it in relation to the viewer."""
        ...

    def holds(self, act: SpeechAct, speaker: int, roles: Sequence[str]) -> bool | None:
        """Whether what an act asserts is so in the world; None where it asserts nothing. roles: the truth, by seat."""
        ...

    def p_of(self, act: SpeechAct, speaker: int) -> float | None:
        """Probability of what an act asserts by what its speaker was told; None where it asserts nothing."""
        ...

    def withheld(self, seat: int, told: Collection[int]) -> bool:
        """Whether the seat keeps back a decisive private result. told: subjects that it has reported on."""
        ...

    def outcomes(self, records: Sequence[Record]) -> Mapping[str, Mapping[int, bool]]:
        """Of each of `foretold`, seq of the decisions at which it is asked -> what came, from a whole log."""
        ...
