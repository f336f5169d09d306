"""Building the log of a game that was played elsewhere, in this project's own records.

The log records the game as this project would: who was asked, what was chosen, what each seat was shown. Other rules
made it, so replaying it under these rules may differ; only living seats may act or be acted on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from games.records import EVERYONE, MODERATOR, NOBODY, Action, Decision, Event, Record, SpeechAct, Trace
from games.werewolf.config import WerewolfConfig
from games.werewolf.roles import faction_of
from games.werewolf.words.names import public_names
from harness.errors import WolfscopeError
from harness.gate import name_of
from harness.run.journal import End

MOST_BYTES = 256 * 2**20
"""A file of one game is read up to this size, unpacked."""


class ImportFormatError(WolfscopeError, ValueError):
    """A file that violates its format; the message names file, place and field."""


class Imported(msgspec.Struct, frozen=True):
    """One game that was read."""

    game_id: str
    settings: dict[str, Any]
    """The game's settings, as far as the file gives them."""
    agents: tuple[str, ...]
    """The agent of each seat."""
    records: tuple[Record, ...]
    end: End


class LogBuilder:
    """Writes one game's log in order. `fail` raises ImportFormatError, with the place in the file added.

    Players are called what `games.werewolf.words.names` makes of the file's names.
    """

    def __init__(
        self,
        names: Sequence[str],
        roles: Sequence[str],
        agents: Sequence[str],
        fail: Callable[[str], ImportFormatError],
    ) -> None:
        self.names, self.roles, self.fail = list(names), list(roles), fail
        self.agents = tuple(name_of(agent) for agent in agents)
        self.records: list[Record] = []
        self.living = set(range(len(roles)))
        self.day, self.phase = 0, "setup"
        if len(set(self.names)) != len(self.names):
            raise fail(f"two players have one name: {self.names}")
        self.names = list(public_names(self.names))
        self.event("setup", data={"names": self.names})
        self.event("deal", MODERATOR, data={"roles": self.roles})
        wolves = {seat for seat, role in enumerate(roles) if role == "werewolf"}
        for seat, role in enumerate(roles):
            known = {str(i): "werewolf" for i in sorted(wolves - {seat})} if seat in wolves else {}
            self.event("role", (seat,), target=seat, value=role, data={"known": known})

    def event(self, kind: str, audience: tuple[int, ...] | None = EVERYONE, **fields: Any) -> None:
        """The next event."""
        self.records.append(
            Event(len(self.records), kind, audience, day=self.day, phase=self.phase, **fields)
        )

    def decide(
        self,
        seat: int,
        kind: str,
        *,
        option: int | None = None,
        options: Sequence[int] = (),
        text: str = "",
        acts: tuple[SpeechAct, ...] = (),
        trace: Trace | None = None,
    ) -> None:
        """The next decision, of a living seat, on a living one or on nobody."""
        self.check_alive(seat, f"makes a decision ({kind})")
        if option is not None and options and option not in options:
            shown = ", ".join(str(o) for o in options)
            raise self.fail(f"{self.names[seat]} chooses {option} ({kind}), which is none of {shown}")
        self.records.append(
            Decision(
                seq=len(self.records),
                seat=seat,
                kind=kind,
                action=Action(option, text, acts),
                options=tuple(options),
                day=self.day,
                phase=self.phase,
                agent=self.agents[seat],
                trace=trace,
            )
        )

    def choose(
        self, seat: int, kind: str, target: int, audience: tuple[int, ...] | None, trace: Trace | None = None
    ) -> None:
        """A seat's choice of a living seat or of nobody, and the event that repeats it."""
        if target != NOBODY:
            self.check_alive(target, f"is chosen ({kind})")
        options = sorted({*self.living, target})
        self.decide(seat, kind, option=target, options=options, trace=trace)
        self.event(kind, audience, actor=seat, target=target)

    def speak(self, seat: int, text: str, acts: tuple[SpeechAct, ...], trace: Trace | None = None) -> None:
        """A public speech."""
        self.decide(seat, "speech", text=text, acts=acts, trace=trace)
        self.event("speech", actor=seat, text=text, acts=acts)

    def turn(self, day: int, phase: str) -> None:
        """Begin another phase; does nothing where it is that phase already."""
        if (self.day, self.phase) != (day, phase):
            self.day, self.phase = day, phase
            self.event("phase", value=phase)

    def leave(self, seat: int, kind: str, shown: str | None) -> None:
        """A seat leaves the game."""
        self.check_alive(seat, f"leaves the game ({kind})")
        self.event(kind, target=seat, value=shown)
        self.living.discard(seat)

    def check_alive(self, seat: int, what: str) -> None:
        """Raises ImportFormatError where a seat has left the game."""
        if seat not in self.living:
            raise self.fail(f"{self.names[seat]} has left the game and {what}")

    def wolves(self) -> tuple[int, ...]:
        """The living werewolves."""
        return tuple(seat for seat in sorted(self.living) if self.roles[seat] == "werewolf")

    def finish(self, winner: str, reason: str, seconds: float = 0.0) -> End:
        """The outcome event, and the game's end. winner: a faction."""
        winners = tuple(i for i, role in enumerate(self.roles) if faction_of(role) == winner)
        self.event("outcome", value=winner, data={"winners": list(winners), "reason": reason})
        return End("finished", winner, winners, reason, seconds=seconds)


def with_what_was_done(
    settings: dict[str, Any], records: Sequence[Record], roles: Sequence[str]
) -> dict[str, Any]:
    """The settings of a game, relaxed until they allow everything in its log."""
    found = dict(settings)
    usual = {name: field.default for name, field in WerewolfConfig.model_fields.items()}
    decisions = [r for r in records if isinstance(r, Decision)]
    inspected: set[tuple[int, int]] = set()
    protected: dict[int, int] = {}
    for d in decisions:
        target = NOBODY if d.action.option is None else d.action.option
        if d.kind == "inspect":
            if (d.seat, target) in inspected:
                found["seer_repeats"] = True
            inspected.add((d.seat, target))
        elif d.kind == "protect":
            if target == d.seat:
                found["doctor_self"] = True
            if target != NOBODY and protected.get(d.seat) == target:
                found["doctor_repeats"] = True
            protected[d.seat] = target
        elif d.kind == "night_kill" and target != NOBODY and roles[target] == "werewolf":
            found["kill_targets"] = "anyone"
        elif d.kind == "ballot" and target == d.seat:
            found["ballot_self"] = True
        if target == NOBODY and d.kind in ("night_kill", "ballot"):
            found["kill_abstain" if d.kind == "night_kill" else "ballot_abstain"] = True
    for key, most in (("max_days", max((r.day for r in records), default=0)), *_spoken(decisions, found)):
        if most > found.get(key, usual[key]):
            found[key] = most
    return found


def _spoken(decisions: Sequence[Decision], settings: dict[str, Any]) -> list[tuple[str, int]]:
    """The most speeches of a seat, or of all seats, on one day, as the setting of the form of discussion."""
    by_day = Counter(d.day for d in decisions if d.kind == "speech" and d.action.text)
    by_seat = Counter((d.day, d.seat) for d in decisions if d.kind == "speech" and d.action.text)
    most_of_all, most_of_one = max(by_day.values(), default=0), max(by_seat.values(), default=0)
    form = settings.get("discussion")
    if form == "free":
        return [("free_per_day", most_of_all), ("free_per_seat", most_of_one)]
    return [("speech_turns", most_of_all)] if form == "bidding" else [("speech_rounds", most_of_one)]
