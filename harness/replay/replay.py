"""A logged game, replayed record by record, as the moderator or as exactly one seat.

    from harness.replay.replay import open_replay
    replay = open_replay("runs/demo-1", "0")        # a game's id, the beginning of one, or its number
    for moment in replay.moments(seat=3):           # what player_3 saw and nothing else
        print(moment.line)

Nothing is played: the function that made the prompts makes the lines from the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from games.base import SeatFacts
from games.log import exits
from games.records import NOBODY, Decision, Event, Record, seat_id
from games.seat_view.views import see
from games.statements import Statement
from harness.errors import RunFolderError
from harness.run.folder import Run, load_run


class Moment(msgspec.Struct, frozen=True):
    """One record as one reader sees it."""

    seq: int
    """The record's number: in the log for the moderator, in the seat's own view (`games.seat_view`) for a seat."""
    day: int
    phase: str
    kind: str
    record: Record
    line: str
    """The line that the reader reads, as it stood in a prompt. Untrusted text: escape it before you show it."""
    decision: Decision | None = None
    """Moderator only: the decision that this event repeats."""
    statements: tuple[Statement, ...] = ()
    """Moderator only: the truth of the decision's typed acts."""


class Replay:
    """One game of a run."""

    def __init__(self, run: Run, game_id: str, records: list[Record] | None = None) -> None:
        """records: the game's log where it has been read already.

        Raises KeyError for an unknown game, RunFolderError for records of seats that the game does not have.
        """
        self.run, self.game_id = run, game_id
        self.game, self.config, self.seed = run.game(game_id)
        self.records: list[Record] = run.records(game_id) if records is None else records
        n = self.config.n_players
        for record in self.records:
            if (seat := record.seat if isinstance(record, Decision) else record.actor or 0) not in range(n):
                raise RunFolderError(
                    f"{run.path}: record {record.seq} of game {game_id} is of seat {seat}, the game has seats 0 to "
                    f"{n - 1}: the tables were not written by Wolfscope, or were edited; `wolfscope check` tells more"
                )

    @cached_property
    def seats(self) -> list[SeatFacts]:
        """The truth about every seat."""
        return self.game.seats(self.config, self.records)

    @cached_property
    def exits(self) -> dict[int, tuple[int, str]]:
        """seat -> (day, kind of the event) of every seat that left the game."""
        return exits(self.game, self.records)

    @cached_property
    def statements(self) -> dict[int, tuple[Statement, ...]]:
        """seq of a decision -> the truth of its typed acts, by the engine."""
        found: dict[int, list[Statement]] = {}
        for statement in self.game.statements(self.config, self.records):
            found.setdefault(statement.seq, []).append(statement)
        return {seq: tuple(row) for seq, row in found.items()}

    @cached_property
    def words(self) -> Any:
        """The game's vocabulary for putting records into words."""
        return self.game.text.words_of(self.config, self.records)

    @cached_property
    def echoes(self) -> dict[int, int]:
        """seq of an event -> seq of the decision that it repeats."""
        return echoes(self.records)

    def line(self, record: Record, seat: int | None) -> str | None:
        """One record as `seat` reads it (None: the moderator); None where it adds nothing."""
        return self.game.text.line(record, seat, self.config, self.words)

    def lines(self, seat: int | None = None) -> list[str]:
        """All lines that a seat has read, oldest first: `game.transcript(records, seat, config)`.

        The moderator (None) gets those and a line in brackets for each draw that has no words.
        """
        return [moment.line for moment in self.moments(seat)]

    def moments(self, seat: int | None = None) -> Iterator[Moment]:
        """The game in order: all events for the moderator (None), for a seat what it saw and nothing else.

        Raises RunFolderError for a seat that the game does not have.
        """
        if seat is not None:
            self.check_seat(seat)
        decisions = {r.seq: r for r in self.records if isinstance(r, Decision)}
        for record in self.records if seat is None else see(self.records, seat):
            line = self.line(record, seat)
            if line is None and seat is None and isinstance(record, Event):
                line = self._unsaid(record)
            if line is None:
                continue
            decision = decisions.get(self.echoes.get(record.seq, -1)) if seat is None else None
            yield Moment(
                seq=record.seq,
                day=record.day,
                phase=record.phase,
                kind=record.kind,
                record=record,
                line=line,
                decision=decision,
                statements=() if decision is None else self.statements.get(decision.seq, ()),
            )

    def _unsaid(self, event: Event) -> str | None:
        """A line for events that only the moderator sees and the game has no sentence for: draws, orders, a life
        saved."""
        names = [fact.name for fact in self.seats]
        parts = [] if event.actor is None else [names[event.actor]]
        if event.target is not None:
            parts.append("nobody" if event.target == NOBODY else names[event.target])
        if event.value is not None:
            parts.append(event.value)
        for key, value in (event.data or {}).items():
            if key != "roles" and isinstance(value, list) and all(isinstance(i, int) for i in value):
                parts.append(
                    f"({key}: {' '.join(names[i] if 0 <= i < len(names) else str(i) for i in value)})"
                )
        return f"({event.kind}) {' '.join(parts)}" if parts else None

    def check_seat(self, seat: int) -> None:
        """Raises RunFolderError for a seat that the game does not have."""
        if not 0 <= seat < len(self.seats):
            raise RunFolderError(
                f"game {self.game_id} has no {seat_id(seat)}; it has {seat_id(0)} to {seat_id(len(self.seats) - 1)} "
                f"({', '.join(fact.name for fact in self.seats)})"
            )

    def seat_of(self, word: str) -> int:
        """The seat that a user names: `3`, `player_3` or the player's name. Raises RunFolderError."""
        names = [fact.name.lower() for fact in self.seats]
        if word.lower() in names:
            return names.index(word.lower())
        digits = word.removeprefix("player_")
        if not digits.isdigit():
            raise RunFolderError(
                f"no seat of game {self.game_id} is called {word!r}; write player_0 to player_{len(names) - 1}, or "
                f"a name: {', '.join(fact.name for fact in self.seats)}"
            )
        self.check_seat(int(digits))
        return int(digits)

    def decision(self, seq: int) -> Decision:
        """The decision `seq`, also named by the seq of the event that repeats it.

        Raises RunFolderError naming the nearest decisions where there is none.
        """
        seq = self.echoes.get(seq, seq)
        found = {r.seq: r for r in self.records if isinstance(r, Decision)}
        if seq in found:
            return found[seq]
        near = sorted(found, key=lambda other: abs(other - seq))[:4]
        raise RunFolderError(
            f"record {seq} of game {self.game_id} is no decision (the game has records 0 to {len(self.records) - 1}); "
            f"decisions near it: {', '.join(f'{n} ({seat_id(found[n].seat)} {found[n].kind})' for n in sorted(near))}"
        )


def echoes(records: Sequence[Record]) -> dict[int, int]:
    """seq of an event -> seq of the decision that it repeats: the next event with its seat as actor."""
    found: dict[int, int] = {}
    waiting: dict[int, int] = {}
    answered = True
    for record in records:
        if isinstance(record, Decision):
            if answered:
                waiting = {}
            answered = False
            waiting[record.seat] = record.seq
        else:
            answered = True
            if record.actor is not None and record.actor in waiting:
                found[record.seq] = waiting.pop(record.actor)
    return found


def open_replay(run: str | Path | Run, game: str) -> Replay:
    """A game of a run, named by its id, the beginning of its id, or its number in the schedule.

    Raises RunFolderError where nothing or more than one game fits.
    """
    opened = run if isinstance(run, Run) else load_run(run)
    return Replay(opened, opened.game_id(game))


def living_at(replay: Replay, seq: int) -> list[bool]:
    """Whether each seat is in the game after the record `seq`."""
    kinds = replay.game.exit_kinds
    living = [True] * len(replay.seats)
    for record in replay.records:
        if record.seq > seq:
            break
        if isinstance(record, Event) and record.kind in kinds and record.target not in (None, NOBODY):
            living[int(record.target or 0)] = False
    return living
