"""The token context of one seat in `transcript` style: append-only, rebuilt from records alone.

A context is the beginning-of-sequence token, then one line for each record that the seat may see, then the question.
The context holds the seat's own decisions token for token as emitted, so each prompt extends the seat's previous prompt
and output, and a prefix cache covers everything but the newest lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from agents.llm.encoder import Encoder, Offsets, TokenizerError, characters, control_ids
from games.base import Observation
from games.records import Decision, Record, Request, Span, visible
from games.text import Text

__all__ = [
    "Builder",
    "Context",
    "Encoder",
    "TokenizerError",
    "build",
    "characters",
    "control_ids",
    "mentions",
]

NEWLINE = "\n"


class Context(msgspec.Struct):
    """A seat's context at one request."""

    ids: list[int]
    """Token ids of the whole prompt."""
    own: int = 0
    """Index of the first token after the context that this one continues."""
    continues: int | None = None
    """seq, in the view's numbers, of the decision whose prompt and output that context is."""
    spans: list[Span] = msgspec.field(default_factory=list)
    """All spans of the prompt, token indices of the whole context."""

    def delta(self) -> tuple[int, ...]:
        """The prompt's tokens after the context that it continues."""
        return tuple(self.ids[self.own :])

    def own_spans(self) -> tuple[Span, ...]:
        """The spans of `delta`."""
        return tuple(s for s in self.spans if s.start >= self.own)

    def copy(self) -> Context:
        """A fork: what is written to it is not written to this one."""
        return Context(list(self.ids), self.own, self.continues, list(self.spans))

    def write(self, ids: Sequence[int], kind: str, seat: int | None = None) -> None:
        """Append tokens as one span; nothing where there are none."""
        if ids:
            self.spans.append(Span(kind, len(self.ids), len(self.ids) + len(ids), seat))
            self.ids += ids


def mention_spans(text: str, offsets: Offsets, at: int, names: Sequence[str]) -> list[Span]:
    """A span for each mention of a player's name in the text, whose first token has index `at`."""
    found = []
    for seat, name in enumerate(names):
        if name not in text:  # far quicker than a search that finds nothing
            continue
        for match in re.finditer(rf"\b{re.escape(name)}\b", text):
            inside = [k for k, (a, b) in enumerate(offsets) if a < match.end() and b > match.start()]
            if inside:
                found.append(Span("mention", at + inside[0], at + inside[-1] + 1, seat))
    return found


def ask(text: Text, request: Request | Decision, words: Any) -> str:
    """A question in transcript style: the beginning of the line that the answer completes, with what may be chosen."""
    return text.question(request, words) + text.offer(request, words)


def document(text: Text, records: Sequence[Record], seat: int | None, config: Any) -> list[str]:
    """The lines of a whole context in transcript style, as a model in that seat would have read and written them.

    `records` may be the whole log: others' decisions and events that the seat may not see add nothing. None is the
    moderator's view, with the events alone.
    """
    return [line for line in lines_by_record(text, records, seat, config) if line is not None]


def document_lengths(text: Text, records: Sequence[Record], seat: int | None, config: Any) -> list[int]:
    """How many lines `document` has of the first i records, for i from 0 to all of them."""
    return list(
        accumulate((line is not None for line in lines_by_record(text, records, seat, config)), initial=0)
    )


def lines_by_record(
    text: Text, records: Sequence[Record], seat: int | None, config: Any
) -> Iterator[str | None]:
    """What each record adds to `document`; None where that is nothing."""
    words = text.words_of(config, records)
    for record in records:
        if isinstance(record, Decision):
            own = record.seat == seat
            yield ask(text, record, words) + text.answer(record, record.action, words) if own else None
        else:
            yield text.line(record, seat, config, words) if seat is None or visible(record, seat) else None


class Builder:
    """Builds the contexts of one seat of one game, record by record."""

    def __init__(self, encoder: Encoder, text: Any, config: Any, seat: int) -> None:
        self.encoder, self.text, self.config, self.seat = encoder, text, config, seat
        self.context = Context(list(encoder.bos))
        self.n_records = 0
        self.words: Any = None

    def read(self, records: Sequence[Record]) -> Context:
        """The context after all records that the seat may see; earlier ones are not read again. Not a copy."""
        for record in records[self.n_records :]:
            self._add(record, records)
        self.n_records = len(records)
        return self.context

    def prompt(self, records: Sequence[Record], request: Request) -> Context:
        """The context for a request, given all records that the seat may see."""
        whole = self.read(records).copy()
        self.write(whole, ask(self.text, request, self.words), "question", self.seat)
        return whole

    def fork(self, records: Sequence[Record], line: str) -> Context:
        """The context for the beginning of another line, which never enters the game."""
        whole = self.read(records).copy()
        self.write(whole, line, "question", self.seat)
        return whole

    def _add(self, record: Record, records: Sequence[Record]) -> None:
        if self.words is None:
            self.words = self.text.words_of(self.config, records)
        if isinstance(record, Decision):
            self._add_own(record)
            return
        text = self.text.line(record, self.seat, self.config, self.words)
        if text is not None:
            kind = "role_line" if record.kind == "role" else record.kind
            self.write(self.context, text + NEWLINE, kind, record.actor)

    def _add_own(self, record: Decision) -> None:
        c, trace = self.context, record.trace
        request = Request(record.seat, record.kind, record.options)
        self.write(c, ask(self.text, request, self.words), "question", self.seat)
        if trace is None:
            answer = self.text.answer(request, record.action, self.words)
            self.write(c, answer + NEWLINE, "output", self.seat)
            return
        if self.encoder.fits(trace.output_ids, trace.output_text):
            c.write(trace.output_ids, "output", self.seat)
            c.own, c.continues = len(c.ids), record.seq
        else:  # a server that tells no token ids: the words again, which the next prompt then logs as its own
            c.own, c.continues = len(c.ids), record.seq
            c.write(self.encoder.encode(trace.output_text)[0], "output", self.seat)
        if not trace.output_text.endswith(NEWLINE):
            c.ids += self.encoder.newline
        if any(span.kind == "reasoning" for span in trace.spans):
            c.own, c.continues = 0, None  # its prompt held a private line, which this context does not
        if record.fallback is not None:
            self.write(c, self.text.own_line(record, self.words) + NEWLINE, "recorded", self.seat)

    def write(self, c: Context, text: str, kind: str, seat: int | None) -> None:
        """Append a text to a context as one span, and the names in it as mentions."""
        ids, offsets = self.encoder.encode(text)
        at = len(c.ids)
        c.write(ids, kind, seat)
        c.spans += mention_spans(text, offsets, at, self.words.names)


def mentions(spans: Sequence[Span]) -> dict[int, int]:
    """Seat -> index of the last token of its last mention."""
    return {s.seat: s.end - 1 for s in spans if s.kind == "mention" and s.seat is not None}


def build(encoder: Encoder, text: Text, observation: Observation) -> Context:
    """The context of an observation, from nothing."""
    builder = Builder(encoder, text, observation.config, observation.request.seat)
    return builder.prompt(observation.records, observation.request)
