"""The token context of one seat in `transcript` style: append-only, rebuilt from records alone.

A context is the beginning-of-sequence token, then one line for each record that the seat may see, then the question.
The seat's own decisions stand in it token for token as they were emitted, so each prompt extends the seat's previous
prompt and output, and a prefix cache serves everything but the newest lines. What other players said is tokenised with
special tokens split, so it can never become a control token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from games.base import Observation
from games.records import Decision, Event, Record, Request, Span

NEWLINE = "\n"


class Context(msgspec.Struct):
    """A seat's context at one request."""

    ids: list[int]
    """Token ids of the whole prompt."""
    own: int = 0
    """Index of the first token after the previous decision's prompt and output."""
    continues: int | None = None
    """seq of that previous decision."""
    spans: list[Span] = msgspec.field(default_factory=list)
    """All spans of the prompt, token indices of the whole context."""

    def delta(self) -> tuple[int, ...]:
        """The prompt's tokens after the context that it continues."""
        return tuple(self.ids[self.own :])


class Encoder:
    """A fast Hugging Face tokenizer that treats every text as plain words, never as control tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.bos: list[int] = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self.newline = tuple(self.encode(NEWLINE)[0])
        self._cached = lru_cache(maxsize=4096)(self._encode)

    def _encode(self, text: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        out = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True
        )
        return tuple(out["input_ids"]), tuple((a, b) for a, b in out["offset_mapping"])

    def encode(self, text: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        """Token ids of a text and the character range of each (start, end)."""
        return self._cached(text) if hasattr(self, "_cached") else self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))


class Builder:
    """Builds the contexts of one seat of one game, record by record."""

    def __init__(self, encoder: Encoder, text: Any, config: Any, seat: int) -> None:
        self.encoder, self.text, self.config, self.seat = encoder, text, config, seat
        self.context = Context(list(encoder.bos))
        self.n_records = 0
        self.words: Any = None

    def prompt(self, records: Sequence[Record], request: Request) -> Context:
        """The context for a request, given all records that the seat may see; earlier ones are not read again."""
        for record in records[self.n_records :]:
            self._add(record, records)
        self.n_records = len(records)
        base = self.context
        whole = Context(list(base.ids), base.own, base.continues, list(base.spans))
        self._write(whole, self.text.question(request, self.words), "question", self.seat)
        return whole

    def _add(self, record: Record, records: Sequence[Record]) -> None:
        if self.words is None:
            self.words = self.text.words_of(self.config, records)
        c = self.context
        if isinstance(record, Decision):
            request = Request(record.seat, record.kind, record.options)
            self._write(c, self.text.question(request, self.words), "question", self.seat)
            if record.trace is not None:
                c.spans.append(
                    Span("output", len(c.ids), len(c.ids) + len(record.trace.output_ids), self.seat)
                )
                c.ids += record.trace.output_ids
            else:
                self._write(c, self.text.answer(request, record.action, self.words), "output", self.seat)
            c.own, c.continues = len(c.ids), record.seq
            if tuple(c.ids[-len(self.encoder.newline) :]) != self.encoder.newline:
                c.ids += self.encoder.newline
            if record.fallback is not None:
                self._write(c, self.text.own_line(record, self.words) + NEWLINE, "recorded", self.seat)
            return
        text = self.text.line(record, self.seat, self.config, self.words)
        if text is not None:
            kind = "role_line" if record.kind == "role" else record.kind
            self._write(c, text + NEWLINE, kind, record.actor, of=record)

    def _write(self, c: Context, text: str, kind: str, seat: int | None, of: Event | None = None) -> None:
        ids, offsets = self.encoder.encode(text)
        at = len(c.ids)
        c.ids += ids
        c.spans.append(Span(kind, at, len(c.ids), seat))
        for i, name in enumerate(self.words.names):
            for match in re.finditer(rf"\b{re.escape(name)}\b", text):
                inside = [k for k, (a, b) in enumerate(offsets) if a < match.end() and b > match.start()]
                if inside:
                    c.spans.append(Span("mention", at + inside[0], at + inside[-1] + 1, i))


def mentions(spans: Sequence[Span]) -> dict[int, int]:
    """Seat -> index of the last token of its last mention."""
    return {s.seat: s.end - 1 for s in spans if s.kind == "mention" and s.seat is not None}


def build(encoder: Encoder, text: Any, observation: Observation) -> Context:
    """The context of an observation, from nothing."""
    builder = Builder(encoder, text, observation.config, observation.request.seat)
    return builder.prompt(observation.records, observation.request)
