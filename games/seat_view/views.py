"""One seat's view of a game: the records that it may see, numbered by themselves, and the lines that it reads.

A view numbers its records 0, 1, 2, ... on its own. The log's numbers count hidden records too: their gaps would tell a
seat how many werewolves voted last night, or that a doctor has died. `in_log` leads back from a view's number to the
log's. A view does not tell who else saw an event (another witch, another medium): its audience is the seat alone. `see`
is the plain definition; `Seen` and `Views` keep all views of a running game up to date record by record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from games import chance
from games.base import Game, GameError, Observation
from games.records import Decision, Event, Record, Request, visible

OUTSIDER: Final = -2
"""A seat number that nobody has: its lines are those that all but a record's actor read."""


def see(records: Iterable[Record], seat: int) -> tuple[Record, ...]:
    """The records of a log that a seat may see, in order, with the view's own numbers."""
    out: list[Record] = []
    numbers: dict[int, int] = {}
    for record in records:
        if visible(record, seat):
            out.append(_numbered(record, seat, len(out), numbers))
    return tuple(out)


def _numbered(record: Record, seat: int, number: int, numbers: dict[int, int]) -> Record:
    """The record as number `number` of the view of `seat`, without its other audience; `numbers` maps the seqs of the
    seat's decisions to the view's."""
    if isinstance(record, Decision):
        numbers[record.seq] = number
        trace = record.trace
        if trace is not None and trace.continues is not None:
            trace = msgspec.structs.replace(trace, continues=numbers[trace.continues])
            return msgspec.structs.replace(record, seq=number, trace=trace)
    elif record.audience is not None and len(record.audience) > 1:
        return msgspec.structs.replace(record, seq=number, audience=(seat,))
    return record if record.seq == number else msgspec.structs.replace(record, seq=number)


def in_log(records: Iterable[Record], seat: int, number: int) -> int:
    """seq in the log of the record that the view of `seat` numbers `number`. Raises GameError where none is."""
    n_before = 0
    for record in records:
        if visible(record, seat):
            if n_before == number:
                return record.seq
            n_before += 1
    raise GameError(f"seat {seat} refers to record {number} of its view, which is not that long")


def private_key(seed: int, seat: int, n_seen: int) -> int:
    """The key of a seat's own random stream for a decision before which it has seen `n_seen` records.

    A one-way hash: `games.chance.key` is a bijection of the game's seed, from which the deal could be computed.
    """
    digest = blake2b(chance.key(seed, "seat", seat, n_seen).to_bytes(8, "little"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


class Seen:
    """The records that each seat of one game has seen so far, extended by `add` with every new record of the log.

    `observation(...)` equals `games.play.observe` of the whole log, but each record is filtered and numbered only once.
    """

    def __init__(self, game: Game, config: Any, n_seats: int) -> None:
        self._game, self._config = game, config
        self._log: list[Record] = []
        self._records: list[list[Record]] = [[] for _ in range(n_seats)]
        self._n_sorted = [0] * n_seats
        """By seat, the number of records of the log that `_records` covers."""
        self._numbers: list[dict[int, int]] = [{} for _ in range(n_seats)]

    def add(self, records: Sequence[Record]) -> None:
        """Take in the log's next records."""
        self._log += records

    def records(self, seat: int) -> Sequence[Record]:
        """The records that the seat may see, in its own numbers. Do not change the list."""
        out, numbers = self._records[seat], self._numbers[seat]
        for record in self._log[self._n_sorted[seat] :]:
            if visible(record, seat):
                out.append(_numbered(record, seat, len(out), numbers))
        self._n_sorted[seat] = len(self._log)
        return out

    def observation(self, game_id: str, seed: int, request: Request) -> Observation:
        """What the request's seat may see, and its own random key for this decision."""
        seen = self.records(request.seat)
        return Observation(
            game_id=game_id,
            game=self._game.name,
            config=self._config,
            request=request,
            records=tuple(seen),
            seed=private_key(seed, request.seat, len(seen)),
        )


class Views(Seen):
    """What each seat of one game has seen so far, as records and in words.

    `lines(seat)` equals `game.transcript(log, seat, config)`, but each record is put into words only once.
    """

    def __init__(self, game: Game, config: Any, n_seats: int) -> None:
        super().__init__(game, config, n_seats)
        self._lines: list[list[str]] = [[] for _ in range(n_seats)]
        self._others = {None: self._lines} | {
            seat: self._lines[:seat] + self._lines[seat + 1 :] for seat in range(n_seats)
        }
        """The lines of all seats but one."""
        self._words: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _retold, (self._game, self._config, len(self._lines), self._log)

    def add(self, records: Sequence[Record]) -> None:
        """Take in the log's next records."""
        if not records:
            return
        text, config = self._game.text, self._config
        if self._words is None:
            self._words = text.words_of(config, records)
        words, line_of = self._words, text.line
        self._log += records
        for record in records:
            alone: Sequence[int]
            if not isinstance(record, Event):
                alone = (record.seat,)
            elif record.audience is None:
                actor = record.actor
                if (line := line_of(record, OUTSIDER, config, words)) is not None:
                    for lines in self._others[actor]:
                        lines.append(line)
                alone = () if actor is None else (actor,)
            else:
                alone = record.audience
            for seat in alone:
                if (line := line_of(record, seat, config, words)) is not None:
                    self._lines[seat].append(line)

    def lines(self, seat: int) -> list[str]:
        """The lines that the seat has read, oldest first. Do not change the list."""
        return self._lines[seat]

    def text(self, request: Request) -> str:
        """All lines that the request's seat has read, and the question to it as the beginning of the next."""
        read = "\n".join(self._lines[request.seat])
        return f"{read}\n{self.question(request)}"

    def question(self, request: Request) -> str:
        """The beginning of the seat's next line."""
        return self._game.text.question(request, self._words)


def _retold(game: Game, config: Any, n_seats: int, log: Sequence[Record]) -> Views:
    """The views of a game after the records of `log`; pickles of views are made of it."""
    views = Views(game, config, n_seats)
    views.add(log)
    return views
