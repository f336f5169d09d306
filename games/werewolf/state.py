"""The state of a game of Werewolf, and the few primitives with which the rules change it.

A state holds an agenda: a stack of steps, the first of which is being asked. Handlers (`night.py`, `day.py`) answer
"whom does this step ask?" and "what do the answers do?", and push further steps. All fields are immutable values, so
a shallow copy is a snapshot; only a `Turn` works on a copy of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from games import chance
from games.base import Outcome
from games.records import EVERYONE, MODERATOR, NOBODY, Action, Event, Request, SpeechAct
from games.werewolf.config import WerewolfConfig, faction_of, species_of


class Step(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One item of the agenda. What the fields mean is the step's own business."""

    kind: str
    order: tuple[int, ...] = ()
    """The seats that take turns."""
    turn: int = 0
    """Index into `order`."""
    told: tuple[int, ...] = ()
    """Choices made so far, aligned with `order` or with the seats."""
    among: tuple[int, ...] = ()
    """The seats that can be chosen."""
    acts: tuple[str, ...] = ()
    """The night acts of a wave."""
    round: int = 0


class State(msgspec.Struct, gc=False):
    """Everything about a game between two requests. Treat as frozen: `apply` returns a new one."""

    config: WerewolfConfig
    seed: int
    roles: tuple[str, ...]
    names: tuple[int, ...]
    """Index of each seat's name in the lexicon's pool."""
    pack: tuple[int, ...]
    """The seats dealt a werewolf, living or dead."""
    present: tuple[int, ...]
    """The living seats, in seat order."""
    inspected: tuple[tuple[int, ...], ...]
    """Seats that each seat has inspected."""
    last_protected: tuple[int, ...]
    heals: tuple[int, ...]
    """Healing potions left, by seat."""
    poisons: tuple[int, ...]
    agenda: tuple[Step, ...] = ()
    requests: tuple[Request, ...] = ()
    outcome: Outcome | None = None
    seq: int = 0
    """The next sequence number."""
    n_draws: int = 0
    """Draws so far whose happening everyone can tell; the counter of the named streams."""
    day: int = 0
    phase: str = "setup"
    mayor: int = NOBODY
    prey: int = NOBODY
    """Tonight's target of the werewolves."""
    agreed: int = NOBODY
    """The target on which the werewolves' channel agreed tonight; it needs no vote."""
    protected: tuple[int, ...] = ()
    poisoned: tuple[int, ...] = ()
    healed: bool = False
    last_speaker: int = NOBODY
    mentioned: tuple[int, ...] = ()
    """Seats that the last speech spoke about."""

    @property
    def n(self) -> int:
        """The number of seats."""
        return len(self.roles)

    def living(self, role: str | None = None) -> tuple[int, ...]:
        """Living seats (of one role), in seat order."""
        if role is None:
            return self.present
        roles = self.roles
        return tuple([i for i in self.present if roles[i] == role])

    def wolves(self) -> tuple[int, ...]:
        """Living werewolves, in seat order."""
        present = self.present
        return tuple([i for i in self.pack if i in present])


class Turn:
    """One application of the rules: a working copy of a state and the events it gives rise to."""

    __slots__ = ("events", "state")

    def __init__(self, state: State) -> None:
        self.state: State = state.__copy__()  # type: ignore[attr-defined]
        self.events: list[Event] = []

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
        """Append an event."""
        s = self.state
        self.events.append(
            Event(s.seq, kind, audience, s.day, s.phase, actor, target, value, text, acts, data)
        )
        s.seq += 1

    def push(self, *steps: Step) -> None:
        """Put steps before the rest of the agenda, the first of them next."""
        self.state.agenda = steps + self.state.agenda

    def key(self, stream: str) -> int:
        """The key of the next draw of a stream that everyone can tell was due."""
        self.state.n_draws += 1
        return chance.key(self.state.seed, stream, self.state.n_draws)

    def pick(self, tied: Sequence[int], stream: str | None = None) -> int:
        """One of the tied seats, at random; the draw is logged for the moderator.

        A draw of the night takes a `stream` of its own, counted by day, and one of the day counts even where there is
        no tie: nobody may notice by later draws what was hidden from him.
        """
        s = self.state
        k = self.key("ties") if stream is None else chance.key(s.seed, stream, s.day)
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
        """End the game."""
        s = self.state
        s.outcome = Outcome(winner, tuple(winners), reason)
        s.agenda = ()
        self.emit("outcome", value=winner, data={"winners": list(s.outcome.winners), "reason": reason})


def leaders(choices: Iterable[int]) -> tuple[tuple[int, ...], int]:
    """The most chosen seats in seat order, and how often they were chosen; abstentions do not count."""
    counts: dict[int, int] = {}
    for choice in choices:
        if choice != NOBODY:
            counts[choice] = counts.get(choice, 0) + 1
    if not counts:
        return (), 0
    top = max(counts.values())
    return tuple(sorted([seat for seat, count in counts.items() if count == top])), top


def ask(
    s: State,
    step: Step,
    seat: int,
    kind: str,
    options: Iterable[int] = (),
    *,
    speaks: bool = False,
    ordered: bool = False,
) -> Request:
    """A request; options are shown in an order drawn for it, unless they are `ordered` by nature.

    The draw depends on nothing but the seat, the day and the place in the day's programme, which the seat knows.
    """
    shown = options if isinstance(options, tuple) else tuple(options)
    if not ordered and len(shown) > 1:
        place = (s.day << 24) + (step.round << 16) + (step.turn << 8) + seat
        shown = chance.shuffled(shown, chance.key(s.seed, kind, place))
    return Request(seat, kind, shown, speaks, s.day, s.phase)


def shown_role(role: str, reveal: str) -> str | None:
    """What a reveal rule (`none`, `role`, `faction`, `species`) shows of a role."""
    if reveal == "role":
        return role
    if reveal == "faction":
        return faction_of(role)
    if reveal == "species":
        return species_of(role)
    return None


def choice_of(action: Action) -> int:
    """The option of an action that the rules have already checked to have one."""
    return NOBODY if action.option is None else action.option


def bury(t: Turn, seats: Sequence[int], cause: str) -> None:
    """Take seats out of the game together and put on the agenda what follows from it.

    First the dead hunters shoot, then victory is checked, then a dead mayor names a successor, then last words.
    """
    s = t.state
    s.present = tuple([i for i in s.present if i not in seats])
    after = [Step("shoot", order=(i,)) for i in seats if s.roles[i] == "hunter"]
    after.append(Step("check"))
    if s.mayor in seats:
        after.append(Step("succession", order=(s.mayor,)))
    words = s.config.last_words
    if words == "all" or (words == "exiled" and cause == "exile"):
        after += [Step("last_words", order=(i,)) for i in seats]
    t.push(*after)
