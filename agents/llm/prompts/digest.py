"""The table in a few lines before each question, from the seat's own view: who it is, who lives, who is out, who has
said what. A bare log asks a small model to keep count; this counts for it, and adds nothing that it has not read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from games.base import Game
from games.log import exits
from games.records import Event, Record

MOST = 4
"""Number of last sentences of each speaker that are kept."""


def digest(game: Game, config: Any, words: Any, seat: int, records: Sequence[Record]) -> str:
    """The lines; records: what the seat has seen so far."""
    text, gone = game.text, exits(game, records)
    lines = []
    own = [text.line(r, seat, config, words) for r in records if isinstance(r, Event) and r.kind == "role"]
    lines += [line for line in own if line]
    living = [f"{name} (you)" if i == seat else name for i, name in enumerate(words.names) if i not in gone]
    lines.append(f"Still in the game: {', '.join(living)}.")
    out = [text.line(r, seat, config, words) for r in records
           if isinstance(r, Event) and r.kind in game.exit_kinds and r.target in gone]  # fmt: skip
    if any(out):
        lines.append(f"Out of the game: {' '.join(line for line in out if line)}")
    said: dict[int, dict[str, None]] = {}
    for record in records:
        if isinstance(record, Event) and record.actor is not None and record.kind in game.speech_kinds:
            for act in record.acts:
                sentence = text.say((act,), words)
                kept = said.setdefault(record.actor, {})
                kept.pop(sentence, None)  # said again: it is the latest now
                kept[sentence] = None
    for speaker, sentences in sorted(said.items()):
        if speaker != seat and speaker not in gone:
            lines.append(f"{words.names[speaker]} has said: {' '.join(list(sentences)[-MOST:])}")
    return "\n".join(lines)
