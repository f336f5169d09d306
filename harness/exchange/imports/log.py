"""Building the log of a game that was played elsewhere, in this project's own records.

The log is what happened as this project would have written it down: who was asked, what was chosen, what each seat was
shown. It was not made by these rules, so it is not claimed that they would give it back; who acts, and on whom, is held
to who lives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from games.records import EVERYONE, MODERATOR, NOBODY, Action, Decision, Event, Record, SpeechAct, Trace
from games.werewolf.roles import faction_of
from harness.errors import WolfscopeError
from harness.run.journal import End


class ImportFormatError(WolfscopeError, ValueError):
    """A file that is not what it should be; the message names file, place and field."""


class Imported(msgspec.Struct, frozen=True):
    """One game that was read."""

    game_id: str
    settings: dict[str, Any]
    """Of the game's configuration, as far as the file tells them."""
    agents: tuple[str, ...]
    """Who played each seat."""
    records: tuple[Record, ...]
    end: End


class LogBuilder:
    """Writes one game's log in order. `fail` raises ImportFormatError, with the place in the file added."""

    def __init__(
        self,
        names: Sequence[str],
        roles: Sequence[str],
        agents: Sequence[str],
        fail: Callable[[str], ImportFormatError],
    ) -> None:
        self.names, self.roles, self.agents, self.fail = list(names), list(roles), tuple(agents), fail
        self.records: list[Record] = []
        self.living = set(range(len(roles)))
        self.day, self.phase = 0, "setup"
        if len(set(self.names)) != len(self.names):
            raise fail(f"two players have one name: {self.names}")
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
        """Another phase begins, once: nothing where it is that phase already."""
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
