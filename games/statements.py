"""The truth of what was said, from the rules: what every game can say about the typed acts in its log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from games.records import Event, Record, SpeechAct

Label = Literal["truth", "lie", "honest mistake", "none"]


class Statement(msgspec.Struct, frozen=True):
    """One typed act of one decision, compared with the truth and with what its speaker had been told."""

    seq: int
    """The decision that spoke."""
    act: int
    """Place in the decision's acts."""
    speaker: int
    is_false: bool | None
    """Whether the asserted proposition is false in the world; None where the act asserts nothing."""
    knows_false: bool | None
    """Whether the proposition is impossible given what the speaker had been told."""

    @property
    def label(self) -> Label:
        """`lie`: false and the speaker knew; `honest mistake`: false and it could not know; `truth`; `none`."""
        if self.is_false is None:
            return "none"
        if not self.is_false:
            return "truth"
        return "lie" if self.knows_false else "honest mistake"


class Naming(msgspec.Struct, frozen=True):
    """A kind of decision by which a seat names another, and when the naming is right."""

    guilty: bool
    """Whether the naming is right if the named seat has the role of the game's first belief target (a ballot to exile),
    or if it does not (a place in a team)."""
    plural: str
    """Several such decisions: `ballots`."""
    right: str
    """A right naming in words: `hit a werewolf`."""


class Reading(Protocol):
    """What is known from a game's log, event by event: each seat's knowledge by the rules alone, and public counts.

    `analysis` builds its rows, labels and baselines from it for every game.
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
    def foretold(self) -> Mapping[str, str]:
        """Name -> question about the near future; empty where the game asks none."""
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
        """Public counts about a subject, by name of `features`; some concern its relation to the viewer."""
        ...

    def holds(self, act: SpeechAct, speaker: int, roles: Sequence[str]) -> bool | None:
        """Whether an act's proposition is true; None where it asserts nothing. roles: the truth, by seat."""
        ...

    def p_of(self, act: SpeechAct, speaker: int) -> float | None:
        """Probability of an act's proposition given what its speaker was told; None where it asserts nothing."""
        ...

    def withheld(self, seat: int, told: Collection[int]) -> bool:
        """Whether the seat withholds a decisive private result. told: subjects that it has reported on."""
        ...

    def outcomes(self, records: Sequence[Record]) -> Mapping[str, Mapping[int, bool]]:
        """Name of `foretold` -> seq of a decision at which it is asked -> the outcome, from a whole log."""
        ...
