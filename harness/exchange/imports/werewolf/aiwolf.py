"""Logs of the AIWolf servers: comma-separated lines, `day,kind,...`, as the Java server 0.4 to 0.6 and the servers of
the natural-language division write them.

    day,status,index,ROLE,ALIVE|DEAD,agent[,name]       all seats, at the start of each day and at the end
    day,talk|whisper,number,turn,index,text[,time]      the text may hold commas; time: unix time, in all or none
    day,vote|attackVote,index,target        day,execute,index,ROLE      day,attack,target|-1,true|false
    day,divine,index,target,HUMAN|WEREWOLF  day,guard,index,target,ROLE day,result,humans,werewolves,WINNER

A blank in place of ALIVE or DEAD is ignored. Indices count from 1. Here a night precedes its day: the log's night of
day d is night d + 1. The log does not say whether ballots were shown to the players, so the caller must.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from games.printable import lines_of
from games.records import EVERYONE, MODERATOR, NOBODY
from games.werewolf.discussion import OVER, SKIP, SPEAK
from games.werewolf.roles import species_of
from harness.config.hashing import hash_of
from harness.exchange.imports.werewolf.aiwolf_talk import acts_of
from harness.exchange.imports.werewolf.log import Imported, ImportFormatError, LogBuilder, with_what_was_done
from harness.run.journal import End

ROLES = {
    "VILLAGER": "villager", "WEREWOLF": "werewolf", "SEER": "seer", "BODYGUARD": "doctor", "MEDIUM": "medium",
    "POSSESSED": "possessed",
}  # fmt: skip
SIDES = {"VILLAGER": "village", "WEREWOLF": "werewolf"}
SILENCE = {"Skip": ("skip", SKIP), "Over": ("over", OVER)}
FIELDS = {
    "talk": 6, "whisper": 6, "vote": 4, "attackVote": 4, "execute": 4, "attack": 4, "divine": 5, "guard": 5,
    "result": 5,
}  # fmt: skip
"""Fields of each kind of line but `status`, day and kind included."""
TIME = re.compile(r",\d{10}(?:\d{3})?$")
"""A unix time in seconds or milliseconds at the end of an utterance."""


def read_aiwolf(file: Path, data: bytes, ballots_shown: bool = False) -> Imported:
    """The game of a log. Raises ImportFormatError naming file, line and field."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImportFormatError(f"{file}: not UTF-8 at byte {error.start}") from error
    lines = lines_of(text)
    reader = _Reader(file, ballots_shown)
    reader.timed = _is_timed(lines)
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader.read(number, line)
    return reader.game(hash_of(["aiwolf", text]))


def _is_timed(lines: Sequence[str]) -> bool:
    """Whether the log's utterances end in a unix time: by its first utterance."""
    spoken = (line for line in lines if line.split(",", 2)[1:2] in (["talk"], ["whisper"]))
    return TIME.search(next(spoken, "")) is not None


class _Reader:
    def __init__(self, file: Path, ballots_shown: bool) -> None:
        self.file, self.ballots_shown = file, ballots_shown
        self.number = 0
        self.timed = False
        """Whether utterances end in a unix time."""
        self.end: End | None = None
        self.seats: list[tuple[str, str, str]] = []
        """(name, role, agent), while the first block of status lines is read."""
        self.log: LogBuilder | None = None
        self.killed: int | None = None
        """The seat that is found dead in the morning."""

    def fail(self, what: str) -> ImportFormatError:
        return ImportFormatError(f"{self.file}, line {self.number}: {what}")

    def read(self, number: int, line: str) -> None:
        self.number = number
        head = line.split(",", 2)
        if len(head) < 3:
            raise self.fail(f"{line[:60]!r} is no line of an AIWolf log (day,kind,...)")
        day, kind = self.integer(head[0], "day"), head[1]
        if self.end is not None:
            raise self.fail(f"a {kind} line after the result")
        if kind == "status":
            self.status(day, line.split(",", 6))
            return
        if kind not in FIELDS:
            raise self.fail(f"no kind of line is called {kind!r}; there are: status, {', '.join(FIELDS)}")
        fields = line.split(",", FIELDS[kind] - 1)
        if len(fields) != FIELDS[kind]:
            raise self.fail(f"a {kind} line has {FIELDS[kind]} fields, this one {len(fields)}")
        if kind in ("talk", "whisper"):
            fields[-1] = self.said(fields[-1])
        getattr(self, kind)(self.started(), day, *fields[2:])

    def said(self, text: str) -> str:
        """An utterance without the time that follows it in logs that have one."""
        time = TIME.search(text)
        if (time is not None) != self.timed:
            has, others = ("ends", "does not") if time is not None else ("does not end", "does")
            raise self.fail(
                f"the utterance {has} in a unix time, and the log's first one {others}: {text[-40:]!r}"
            )
        return text if time is None else text[: time.start()]

    def started(self) -> LogBuilder:
        if self.log is None:
            if not self.seats:
                raise self.fail("the log does not begin with status lines")
            names, roles, agents = zip(*self.seats, strict=True)
            self.log = LogBuilder(names, roles, agents, self.fail)
        return self.log

    # Fields

    def integer(self, text: str, field: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise self.fail(f"{field} is {text!r}, not a number") from None

    def seat(self, text: str, field: str) -> int:
        index = self.integer(text, field)
        if not 1 <= index <= len(self.seats):
            raise self.fail(f"{field} is {index}, the agents are 1 to {len(self.seats)}")
        return index - 1

    def word(self, text: str, field: str, known: dict[str, str]) -> str:
        if text not in known:
            raise self.fail(f"{field} is {text!r}; known are {', '.join(known)}")
        return known[text]

    # Lines

    def status(self, day: int, fields: list[str]) -> None:
        if len(fields) not in (6, 7):
            raise self.fail(f"a status line has 6 or 7 fields, this one {len(fields)}")
        index = self.integer(fields[2], "index")
        role = self.word(fields[3], "role", ROLES)
        alive = self.word(fields[4], "status", {"ALIVE": "y", "DEAD": "", "": "unknown"})
        if self.log is None:
            if index != len(self.seats) + 1 or day != 0:
                raise self.fail(
                    f"status of agent {index} on day {day}, expected agent {len(self.seats) + 1} on day 0"
                )
            name = fields[6] if len(fields) == 7 else f"Agent[{index:02d}]"
            self.seats.append((name, role, fields[5] or name))
            return
        seat = self.seat(fields[2], "index")
        self.morning(self.log, day)
        if role != self.seats[seat][1]:
            raise self.fail(f"role of agent {index} is {role}, it was {self.seats[seat][1]}")
        if alive != "unknown" and bool(alive) != (seat in self.log.living):
            what = "alive" if seat in self.log.living else "dead"
            raise self.fail(f"status of agent {index} is {fields[4]}, but by the lines before it is {what}")

    def morning(self, log: LogBuilder, day: int) -> None:
        """The day begins: the night's victim is announced."""
        if log.phase == "night" or self.killed is not None:
            log.turn(day, "day")
            if self.killed is not None:
                log.leave(self.killed, "death", None)
            elif day > 1:
                log.event("no_death")
            self.killed = None

    def by_day(self, log: LogBuilder, day: int) -> None:
        if log.phase == "night":
            raise self.fail("a line of the day inside the night")
        log.turn(day, "day")

    def talk(self, log: LogBuilder, day: int, number: str, turn: str, index: str, text: str) -> None:
        self.by_day(log, day)
        seat = self.seat(index, "index")
        if text in SILENCE:
            value, option = SILENCE[text]
            log.decide(seat, "speech", option=option, options=(SPEAK, SKIP, OVER))
            log.event("silence", actor=seat, value=value)
            return
        acts = acts_of(text, seat, log.names)
        log.decide(seat, "speech", option=SPEAK, options=(SPEAK, SKIP, OVER), text=text, acts=acts)
        log.event("speech", actor=seat, text=text, acts=acts)

    def whisper(self, log: LogBuilder, day: int, number: str, turn: str, index: str, text: str) -> None:
        seat = self.seat(index, "index")
        if log.roles[seat] != "werewolf":
            raise self.fail(f"agent {index} whispers and is a {log.roles[seat]}")
        acts = acts_of(text, seat, log.names)
        log.decide(seat, "whisper", text=text, acts=acts)
        log.event("whisper", log.wolves(), actor=seat, text=text, acts=acts)

    def vote(self, log: LogBuilder, day: int, index: str, target: str) -> None:
        self.by_day(log, day)
        audience = EVERYONE if self.ballots_shown else MODERATOR
        log.choose(self.seat(index, "index"), "ballot", self.seat(target, "target"), audience)

    def execute(self, log: LogBuilder, day: int, index: str, role: str) -> None:
        self.by_day(log, day)
        seat = self.seat(index, "index")
        if self.word(role, "role", ROLES) != log.roles[seat]:
            raise self.fail(f"role of agent {index} is {role}, it was {log.roles[seat]}")
        log.leave(seat, "exile", None)
        mediums = tuple(i for i in sorted(log.living) if log.roles[i] == "medium")
        if mediums:
            log.event("sense", mediums, target=seat, value=species_of(log.roles[seat]))

    def divine(self, log: LogBuilder, day: int, index: str, target: str, species: str) -> None:
        log.turn(day + 1, "night")
        seat, subject = self.seat(index, "index"), self.seat(target, "target")
        shown = self.word(species, "species", {"HUMAN": "human", "WEREWOLF": "werewolf"})
        if shown != species_of(log.roles[subject]):
            raise self.fail(f"species of agent {target} is {species}, but it is a {log.roles[subject]}")
        log.decide(
            seat, "inspect", option=subject, options=sorted({*log.living, subject} - ({seat} - {subject}))
        )
        log.event("inspect", (seat,), actor=seat, target=subject, value=shown)

    def guard(self, log: LogBuilder, day: int, index: str, target: str, role: str) -> None:
        log.turn(day + 1, "night")
        self.word(role, "role", ROLES)
        seat = self.seat(index, "index")
        log.choose(seat, "protect", self.seat(target, "target"), (seat,))

    def attackVote(self, log: LogBuilder, day: int, index: str, target: str) -> None:
        log.turn(day + 1, "night")
        log.choose(self.seat(index, "index"), "night_kill", self.seat(target, "target"), log.wolves())

    def attack(self, log: LogBuilder, day: int, target: str, done: str) -> None:
        log.turn(day + 1, "night")
        died = self.word(done, "success", {"true": "y", "false": ""})
        if self.integer(target, "target") == -1:
            log.event("prey", log.wolves(), target=NOBODY)
            return
        seat = self.seat(target, "target")
        log.check_alive(seat, "is attacked")
        log.event("prey", log.wolves(), target=seat)
        self.killed = seat if died else None

    def result(self, log: LogBuilder, day: int, humans: str, werewolves: str, winner: str) -> None:
        self.morning(log, day)
        side = self.word(winner, "winner", SIDES)
        wolves = len(log.wolves())
        counted = (self.integer(humans, "humans"), self.integer(werewolves, "werewolves"))
        if counted != (len(log.living) - wolves, wolves):
            raise self.fail(
                f"humans and werewolves alive are {counted}, by the lines before ({len(log.living) - wolves}, {wolves})"
            )
        if (side == "village") != (wolves == 0):
            raise self.fail(f"winner is {winner} with {wolves} werewolves alive")
        reason = "no werewolf lives" if side == "village" else "as many werewolves as others live"
        self.end = log.finish(side, reason)

    def game(self, game_id: str) -> Imported:
        if self.log is None or self.end is None:
            raise self.fail("the log ends without a result line: the game was not played to its end")
        counts: dict[str, int] = {}
        for role in self.log.roles:
            counts[role] = counts.get(role, 0) + 1
        settings = {
            "roles": counts, "seer_learns": "species", "kill_targets": "anyone", "discussion": "free",
            "ballot_self": True, "ballot_public": self.ballots_shown, "revotes": 1, "tie": "random",
            "first_night": "inspect_only", "reveal_night": "none", "reveal_day": "none",
        }  # fmt: skip
        settings = with_what_was_done(settings, self.log.records, self.log.roles)
        return Imported(game_id, settings, self.log.agents, tuple(self.log.records), self.end)
