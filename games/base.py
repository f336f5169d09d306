"""The interface of games: a pure state machine over records, its text, and one seat's view of it.

A new game is a package with a `GAME` that follows `Game`, and one line in `games.GAMES` (or an entry point of its own
package, see `games.known`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from games.records import Action, Decision, Event, Record, Request, SpeechForm
from games.statements import Naming, Reading, Statement
from games.text import Text


class GameError(ValueError):
    """A caller asked for something that the game's rules do not allow."""


class ConfigError(GameError):
    """A configuration that makes no sense; the message says why and what would."""


class IllegalAction(GameError):
    """A decision outside what its request allows."""


class Malformed(GameError):
    """A reply that cannot be read as an answer to its request; the message says why."""


class ReplayError(GameError):
    """A log that the rules do not reproduce."""


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
    """Every earlier record that the seat may see (public and private events, its own decisions), with their own numbers
    0, 1, 2, ...: `games.seat_view.views` says why, and `Trace.continues` of a reply uses these numbers."""
    seed: int
    """The key of this seat's own random stream for this decision, from which the game's seed does not follow
    (`games.seat_view.views.private_key`)."""


class BeliefTarget(msgspec.Struct, frozen=True):
    """A question about another seat: the subject of beliefs, the label of probes, and a target of reports."""

    name: str
    """A role or a side, as the key of a term of the game's lexicon."""
    roles: tuple[str, ...]
    """The roles (keys) that make the answer yes."""
    phrase: str
    """The role in words, as it follows "is": `a werewolf`."""
    plural: str = ""
    """Its plural: `werewolves`."""
    apart: bool = False
    """Whether seats that know the first question's answer are asked this one too (Merlin's hunter knows evil)."""

    def p(self, probabilities: Mapping[str, float]) -> float:
        """The probability of yes. probabilities: role key -> probability."""
        return sum(probabilities.get(role, 0.0) for role in self.roles)

    def places(self, roles: Sequence[str]) -> list[int]:
        """The indices in `roles` of those that make the answer yes."""
        return [i for i, role in enumerate(roles) if role in self.roles]


class GameConfig(BaseModel):
    """One rule set of a game; each game's own configuration adds its settings. Unknown settings are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    preset: str = "custom"
    """The name of the preset that these settings came from."""
    lexicon: str = "classic"
    """The words under which the game is shown."""

    @property
    def n_players(self) -> int:
        """The number of seats."""
        raise NotImplementedError(f"{type(self).__name__} does not say how many seats it has")


Config = TypeVar("Config", bound=GameConfig)


def validated(kind: type[Config], game: str, settings: Mapping[str, Any]) -> Config:
    """A configuration of `game` from plain settings. Raises ConfigError with every complaint in one message."""
    try:
        return kind(**settings)
    except ValidationError as error:
        complaints = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise ConfigError(f"this game of {game} cannot be played: {complaints}") from error


class State(Protocol):
    """One moment of a game; a frozen `msgspec.Struct`."""

    @property
    def seed(self) -> int:
        """The seed of the draws to come; `games.branching` replaces it."""
        ...


class Game(Protocol):
    """The rules of one game. All functions are pure; configurations and states are the game's own frozen types."""

    @property
    def name(self) -> str:
        """The key of `games.load_game`."""
        ...

    @property
    def text(self) -> Text:
        """How records become words, and words actions."""
        ...

    @property
    def exit_kinds(self) -> tuple[str, ...]:
        """Kinds of events whose target leaves the game (`games.log.exits`)."""
        ...

    @property
    def speech_kinds(self) -> tuple[str, ...]:
        """Kinds of decisions that take words, those of the public discussion first."""
        ...

    @property
    def speech_acts(self) -> Mapping[str, SpeechForm]:
        """Every kind of typed speech act."""
        ...

    @property
    def belief_targets(self) -> tuple[BeliefTarget, ...]:
        """The questions about other seats, at least one. The first defines "suspicion" in this game: the tables'
        `p_werewolf` is its probability, whatever the game."""
        ...

    @property
    def sides(self) -> tuple[str, str]:
        """The faction that the first belief target asks about, and the one against it, as `SeatFacts.faction`."""
        ...

    @property
    def namings(self) -> Mapping[str, Naming]:
        """Kind of decision -> what it says of the seat that is its option; empty where no decision names a seat."""
        ...

    @property
    def secret_choice(self) -> str:
        """Kind of decision by which partners of the first of `sides` choose a seat unseen by the others; empty where
        there is none."""
        ...

    @property
    def belief_moments(self) -> tuple[str, ...]:
        """Kinds of decisions before which beliefs are asked, unless a configuration names others."""
        ...

    @property
    def players(self) -> str:
        """Import path of the module with the game's scripted policies and observers (`agents.base.Players`), empty
        where there are none. It is imported when a policy is asked for: `games` never imports `agents`."""
        ...

    def settings(self) -> tuple[str, ...]:
        """The names of all settings that `configure` takes."""
        ...

    @property
    def presets(self) -> tuple[str, ...]:
        """The names of the rule sets that `configure(preset=...)` takes, `custom` aside; empty where there are none."""
        ...

    @property
    def lexicons(self) -> tuple[str, ...]:
        """The names of the lexicons, at least one; further values that a configuration takes (`random-7`) are not
        listed."""
        ...

    def configure(self, **settings: Any) -> Any:
        """A validated `GameConfig`; without settings the game's default. Raises ConfigError."""
        ...

    def private_talk(self, config: Any) -> bool:
        """Whether some seats can talk unheard by the others under these rules."""
        ...

    def rules_text(self, config: Any, role: str | None = None) -> str:
        """The complete rules, one a line; with `role`, first what they mean for a player who has it."""
        ...

    def start(
        self, config: Any, seed: int, dealt: Sequence[str] | None = None
    ) -> tuple[Any, tuple[Event, ...]]:
        """The first `State` and the events up to the first requests; `dealt` replaces the drawn roles.

        Raises GameError where `dealt` is not the deck.
        """
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

    def snapshot(self, state: Any) -> bytes:
        """The state as JSON, with all hidden information."""
        ...

    def restore(self, data: bytes | str) -> Any:
        """The state of a snapshot; `restore(snapshot(state)) == state`. Raises ReplayError for data that is not a
        snapshot."""
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

    def reading(self, config: Any) -> Reading | None:
        """A new fold over a game's events; None where the game has none: `analysis` then cannot read its logs."""
        ...

    def legal_fallback(self, request: Request, seed: int) -> Action:
        """A legal action for a seat that gave none: abstain where allowed, else drawn by `seed`."""
        ...
