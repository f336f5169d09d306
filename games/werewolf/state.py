"""A running game of Werewolf: what the moderator knows, and the few primitives with which the rules change it.

The rules (`night.py`, `day.py`) are generators over a `Moderator`: they yield the requests of a wave, are sent its
decisions, and go on from there, so they read like the rules of the game. A `State` is one moment of such a game and
never changes; where its moderator has moved on since, the game is replayed up to that moment.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from games import chance
from games.base import Outcome
from games.records import EVERYONE, MODERATOR, NOBODY, Action, Decision, Event, Request, SpeechAct
from games.werewolf.config import WerewolfConfig
from games.werewolf.lexicon import N_NAMES
from games.werewolf.roles import faction_of, species_of

T = TypeVar("T")
Asking = Generator[tuple[Request, ...], Sequence[Decision], T]
"""Rules that ask: they yield requests, are sent one decision for each in that order, and return a `T`."""
Rules = Asking[None]


class GameOver(Exception):
    """Ends the rules where they stand; the outcome is the moderator's."""


class Moderator:
    """Everything about a running game. Seats index all lists."""

    __slots__ = (
        *("config", "events", "first_seed", "outcome", "past", "rules", "seed", "seq"),
        *("alive", "dealt", "names", "pack", "roles"),
        *("day", "mayor", "n_draws", "n_to_shoot", "phase", "present"),
        *("bids", "heals", "inspected", "last_protected", "last_speaker", "mentioned", "poisons"),
    )

    def __init__(self, config: WerewolfConfig, seed: int, roles: tuple[str, ...]) -> None:
        n = len(roles)
        self.config = config
        self.first_seed = seed
        self.seed = seed
        """The seed of the draws to come; another than the first one after a fork."""
        self.roles = roles
        self.names = chance.sample(range(N_NAMES), n, chance.key(seed, "names"))
        """Index of each seat's name in the lexicon's pool."""
        self.dealt: dict[str, list[int]] = {}
        """The seats dealt each role, living or dead, in seat order."""
        for seat, role in enumerate(roles):
            self.dealt.setdefault(role, []).append(seat)
        self.pack = tuple(self.dealt["werewolf"])
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
        """The living seats, in seat order; `leave` takes seats out."""
        self.alive = {role: tuple(seats) for role, seats in self.dealt.items()}
        """The living seats of each dealt role, in seat order."""
        self.n_draws = 0
        """Number of draws so far that everyone knows took place; the counter of the named streams."""
        self.n_to_shoot = 0
        """Dead hunters who have not shot yet."""
        self.mayor = NOBODY
        self.inspected: list[tuple[int, ...]] = [()] * n
        """Seats that each seat has inspected."""
        self.last_protected = [NOBODY] * n
        witches = self.dealt.get("witch", ())
        self.heals = dict.fromkeys(witches, config.witch_heals)
        """Healing potions left, by witch."""
        self.poisons = dict.fromkeys(witches, config.witch_poisons)
        self.bids = config.discussion == "bidding"
        """Whether who spoke last, and about whom, decides who speaks next."""
        self.last_speaker = NOBODY
        self.mentioned: tuple[int, ...] = ()
        """Seats that the last speech spoke about."""

    def living(self, role: str) -> tuple[int, ...]:
        """Living seats of one role, in seat order."""
        return self.alive.get(role, ())

    def leave(self, seats: Sequence[int]) -> None:
        """Take seats out of the game."""
        for seat in seats:
            role = self.roles[seat]
            self.present, self.alive[role] = without(self.present, seat), without(self.alive[role], seat)

    def ballot_options(self, voter: int, among: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Whom `voter` may vote for among seats (all living ones): not itself unless the rules say so; `NOBODY` where
        it may abstain."""
        seats = self.present if among is None else among
        options = seats if self.config.ballot_self else without(seats, voter)
        return (*options, NOBODY) if self.config.ballot_abstain else options

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

    def pick(self, tied: Sequence[int], stream: str | None = None) -> int:
        """One of the tied seats, at random; the draw is logged for the moderator.

        A draw of the night has its own `stream`, counted by day, and a draw of the day counts even where there is no
        tie, so that later draws reveal nothing hidden.
        """
        if stream is None:
            self.n_draws += 1
        if len(tied) == 1:
            return tied[0]
        counter = self.n_draws if stream is None else self.day
        picked = chance.choice(tied, chance.key(self.seed, stream or "ties", counter))
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


class State(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One moment of a game, between two waves."""

    moderator: Moderator
    """The game's moderator, which may have moved on: `rules.moderator_at` gives it as of this moment."""
    n_waves: int
    """How many waves have been answered."""
    seed: int
    """The seed of the draws to come."""
    requests: tuple[Request, ...]
    """What is asked now, with options in seat order; `rules.to_act` puts them in the order that seats see."""
    seq: int
    """The next sequence number."""
    outcome: Outcome | None

    def __eq__(self, other: object) -> bool:
        """Whether both follow from the same rules, deal, seeds and actions."""
        if not isinstance(other, State):
            return NotImplemented
        one, two = self.moderator, other.moderator
        same = (one.config, one.roles, one.first_seed) == (two.config, two.roles, two.first_seed)
        return same and self.seed == other.seed and self.past == other.past

    @property
    def past(self) -> list[tuple[int, list[Action]]]:
        """The seed and the actions of each wave that has been answered."""
        waves = self.moderator.past[: self.n_waves]
        return [(seed, [d.action for d in decisions]) for seed, decisions in waves]


def choice_of(decision: Decision) -> int:
    """The option of a decision that the rules have already checked; NOBODY where it only took words."""
    option = decision.action.option
    return NOBODY if option is None else option


def without(seats: tuple[int, ...], seat: int) -> tuple[int, ...]:
    """The seats but one, in the same order."""
    if seat not in seats:
        return seats
    i = seats.index(seat)
    return seats[:i] + seats[i + 1 :]


def leaders(choices: Iterable[int]) -> tuple[tuple[int, ...], int]:
    """The most chosen seats in seat order, and how often they were chosen; abstentions do not count."""
    times: dict[int, int] = {}
    top = 0
    for seat in choices:
        if seat != NOBODY:
            times[seat] = n = times.get(seat, 0) + 1
            if n > top:
                top = n
    if len(times) < 2:
        return tuple(times), top
    return tuple(sorted([seat for seat, n in times.items() if n == top])), top


def shown_role(role: str, reveal: str) -> str | None:
    """What a reveal rule (`none`, `role`, `faction`, `species`) shows of a role."""
    if reveal == "role":
        return role
    if reveal == "faction":
        return faction_of(role)
    if reveal == "species":
        return species_of(role)
    return None
