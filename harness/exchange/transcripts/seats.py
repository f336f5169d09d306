"""The transcript of one seat in one game: its observations as user messages, its answers as assistant messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from games.records import Decision, Event, Record, visible
from harness.run.folder import Run


class Message(msgspec.Struct, frozen=True):
    """One message."""

    role: str
    """`system`: the rules and the seat's role; `user`: what it was shown; `assistant`: what it answered."""
    content: str
    seq: int | None = None
    """seq of the decision that it answers."""
    reasoning: str | None = None


class Transcript(msgspec.Struct, frozen=True):
    """One seat's view of one game."""

    id: str
    """`<game id>/<seat>`."""
    game_id: str
    seat: int
    name: str
    role: str
    faction: str
    agent: str
    model: str
    won: bool | None
    messages: tuple[Message, ...]


def transcripts(run: Run) -> Iterator[Transcript]:
    """One for every seat that a model had in an ended game."""
    seats: dict[str, list[dict[str, Any]]] = {}
    for row in run.seats.collect().iter_rows(named=True):
        seats.setdefault(row["game_id"], []).append(row)
    for game_id, records in run.logs():
        game, config, _ = run.game(game_id)
        facts = game.seats(config, records)
        for row in seats.get(game_id, ()):
            seat = int(row["seat"])
            mine = [r.trace for r in records if isinstance(r, Decision) and r.seat == seat]
            model = next((trace.model for trace in mine if trace is not None), None)
            if model is not None:
                yield Transcript(
                    f"{game_id}/{seat}", game_id, seat, facts[seat].name, facts[seat].role, facts[seat].faction,
                    str(row["agent"]), model, row.get("won"), tuple(_messages(game, config, records, seat)),
                )  # fmt: skip


def _messages(game: Any, config: Any, records: Sequence[Record], seat: int) -> Iterator[Message]:
    setup, shown = records[0], []
    first = True
    for record in records:
        if isinstance(record, Event):
            if record is not setup and visible(record, seat):
                shown += list(game.transcript((setup, record), seat, config))[1:]
            continue
        if record.seat != seat:
            continue
        if first:
            head = list(game.transcript((setup,), seat, config))
            yield Message("system", "\n".join(head))
            first = False
        yield Message("user", "\n".join([*shown, f"You are asked for: {record.kind}."]))
        shown = []
        said = record.trace.output_text if record.trace is not None else record.action.text
        thought = None if record.trace is None else record.trace.reasoning
        yield Message("assistant", said or "", record.seq, thought)
