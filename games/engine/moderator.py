"""What the moderator of a running game knows, and the few primitives with which rules change it.

Rules are generators over a `Moderator`: they yield the requests of a wave, are sent its decisions, and go on from
there, so they read like the rules of the game. `games.engine.machine` makes a pure state machine of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from games import chance
from games.base import IllegalAction, Outcome
from games.language.lexicon import N_NAMES
from games.language.quoting import writable
from games.records import EVERYONE, MODERATOR, NOBODY, Action, Decision, Event, Request, SpeechAct

T = TypeVar("T")
Asking = Generator[tuple[Request, ...], Sequence[Decision], T]
"""Rules that ask: they yield requests, are sent one decision for each in that order, and return a `T`."""
Rules = Asking[None]


class GameOver(Exception):
    """Ends the rules where they stand; the outcome is the moderator's."""


class Moderator:
    """Everything about a running game. Seats index all lists. A game's own moderator adds what its rules keep."""

    OWN_ORDER: ClassVar[tuple[str, ...]] = ("bid", "speech")
    """Decisions whose options are no seats and keep the order that they have by nature."""
    ROLE_TERMS: ClassVar[tuple[str, ...]] = ()
    """The keys that a speech act may have as its role."""

    def __init__(self, config: Any, seed: int, roles: tuple[str, ...]) -> None:
        n = len(roles)
        self.config = config
        self.first_seed = seed
        self.seed = seed
        """The seed of the draws to come; another than the first one after a fork."""
        self.roles = roles
        self.names = chance.sample(range(N_NAMES), n, chance.key(seed, "names"))
        """Index of each seat's name in the lexicon's pool."""
        self.rules: Rules
        self.past: list[tuple[int, tuple[Decision, ...]]] = []
        """The waves so far, each with the seed at that time; with config, first seed and roles they determine the
        game."""
        self.events: list[Event] = []
        """What has happened since the last wave was answered."""
        self.seq = 0
        """The next sequence number."""
        self.outcome: Outcome | None = None
        self.day, self.phase = 0, "setup"
        self.present = tuple(range(n))
        """The seats that take part, in seat order."""
        self.n_draws = 0
        """Number of draws so far that everyone knows took place; the counter of the named streams."""
        self.last_speaker = NOBODY
        self.mentioned: tuple[int, ...] = ()
        """Seats that the last speech spoke about."""

    def programme(self) -> Rules:
        """The whole game, from the deal to the outcome."""
        raise NotImplementedError

    def after_speech(self, place: int) -> Rules:
        """What follows each single speech; `place` counts them within a discussion."""
        yield from ()

    def ask(
        self, seat: int, kind: str, options: tuple[int, ...] = (), speaks: bool = False, place: int = 0
    ) -> Request:
        """A request of the present day and phase."""
        return Request(seat, kind, options, speaks, self.day, self.phase, place)

    def emit(
        self,
        kind: str,
        audience: tuple[int, ...] | None = EVERYONE,
        actor: int | None = None,
        target: int | None = None,
        value: str | None = None,
        text: str | None = None,
        acts: tuple[SpeechAct, ...] = (),
        data: dict[str, Any] | None = None,
    ) -> None:
        """Let an event happen."""
        seq = self.seq
        self.events.append(
            Event(seq, kind, audience, self.day, self.phase, actor, target, value, text, acts, data)
        )
        self.seq = seq + 1

    def key(self, stream: str) -> int:
        """The key of the next draw of a stream; everyone knows that this draw takes place."""
        self.n_draws += 1
        return chance.key(self.seed, stream, self.n_draws)

    def pick(self, tied: Sequence[int], stream: str) -> int:
        """One of the seats, at random; the draw is logged for the moderator."""
        k = self.key(stream)
        if len(tied) == 1:
            return tied[0]
        picked = chance.choice(tied, k)
        self.emit("draw", MODERATOR, target=picked, data={"tied": list(tied)})
        return picked

    def order(self, seats: Sequence[int]) -> tuple[int, ...]:
        """The seats in a random order; the draw is logged for the moderator."""
        drawn = chance.shuffled(seats, self.key("order"))
        self.emit("order", MODERATOR, data={"order": list(drawn)})
        return drawn

    def finish(self, winner: str, winners: Iterable[int], reason: str) -> None:
        """End the game. Raises GameOver."""
        self.outcome = Outcome(winner, tuple(winners), reason)
        self.emit("outcome", value=winner, data={"winners": list(self.outcome.winners), "reason": reason})
        raise GameOver

    def check_legal(self, request: Request, decision: Decision) -> None:
        """Raises IllegalAction where a decision does not fit its request, naming what was allowed."""
        seat, kind, action = decision.seat, decision.kind, decision.action
        if seat != request.seat or kind != request.kind:
            raise IllegalAction(
                f"seat {seat} answers {kind!r}, but seat {request.seat} was asked for {request.kind!r}"
            )
        if request.options:
            if action.option not in request.options:
                raise IllegalAction(
                    f"seat {seat} chose {action.option} for {kind!r}; allowed are {sorted(request.options)}"
                )
        elif action.option is not None:
            raise IllegalAction(f"seat {seat} chose {action.option} for {kind!r}, which takes no option")
        if not request.speaks and (action.text or action.acts):
            raise IllegalAction(f"seat {seat} spoke at {kind!r}, which takes no words")
        if not writable(action.text):
            raise IllegalAction(
                f"seat {seat} said half a character (a lone surrogate), which no log can hold"
            )
        self._check_acts(seat, action)

    def _check_acts(self, seat: int, action: Action) -> None:
        n = len(self.roles)
        for act in action.acts:
            about = act.team if act.subject is None else (act.subject, *act.team)
            if any(not 0 <= other < n for other in about):
                raise IllegalAction(f"seat {seat} spoke about the seats {about}; there are 0 to {n - 1}")
            if act.role is not None and act.role not in self.ROLE_TERMS:
                raise IllegalAction(
                    f"seat {seat} spoke about the role {act.role!r}; there are {', '.join(self.ROLE_TERMS)}"
                )


def choice_of(decision: Decision) -> int:
    """The option of a decision that the rules have already checked; NOBODY where it only took words."""
    option = decision.action.option
    return NOBODY if option is None else option
