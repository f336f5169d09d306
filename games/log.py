"""A game's log as JSON lines, `{"event": {...}}` or `{"decision": {...}}` each; equal logs give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from games.base import Game, ReplayError
from games.records import Decision, Event, Record


class Line(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One line; exactly one field is set."""

    event: Event | None = None
    decision: Decision | None = None


def dumps(records: Iterable[Record]) -> bytes:
    """The records as JSON lines, each with its line break."""
    return _ENCODER.encode_lines([Line(r) if isinstance(r, Event) else Line(None, r) for r in records])


def loads(data: bytes) -> list[Record]:
    """The records of JSON lines. Raises ReplayError, naming the first line that is not a record."""
    out: list[Record] = []
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else (), 1):
        try:
            found = _DECODER.decode(line)
        except msgspec.DecodeError as error:
            raise ReplayError(f"line {number} of the log is no record: {error}") from error
        record = found.event if found.decision is None else found.decision
        if record is None or (found.event is not None and found.decision is not None):
            raise ReplayError(f"line {number} of the log holds {line[:80]!r}, not one event or one decision")
        out.append(record)
    return out


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Line)


def exits(game: Game, records: Sequence[Record]) -> dict[int, tuple[int, str]]:
    """seat -> (day, kind of the event) of every seat that left the game."""
    return {
        r.target: (r.day, r.kind)
        for r in records
        if isinstance(r, Event) and r.kind in game.exit_kinds and r.target is not None and r.target >= 0
    }
