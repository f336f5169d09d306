"""A conversation with a chat model that only ever grows: as token ids, or as messages for servers without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from agents.backends.base import Message, Prompt, Sampling
from agents.llm.encoder import Encoder
from agents.llm.template import Turns
from agents.llm.transcript_context import Context, mention_spans
from games.records import Span


class Words(msgspec.Struct, frozen=True):
    """A stretch of the moderator's turn."""

    text: str
    kind: str
    """The kind of its span."""
    seat: int | None = None


class Dialogue(Protocol):
    """What a seat has read and answered so far."""

    def copy(self) -> Any:
        """A fork."""
        ...

    def user(self, words: Sequence[Words]) -> None:
        """Append the moderator's turn, up to where the model answers."""
        ...

    def answer(self, ids: Sequence[int], text: str, kind: str, seat: int) -> None:
        """Append an answer as emitted."""
        ...

    def prompt(self, sampling: Sampling, session: str | None) -> Prompt:
        """The request for the next answer."""
        ...


class TokenDialogue:
    """Token ids, with the template's own markers between the turns."""

    def __init__(self, encoder: Encoder, turns: Turns, system: str, names: Sequence[str]) -> None:
        self.encoder, self.turns, self.system, self.names = encoder, turns, system, names
        self.context = Context([])
        self.last: tuple[int, ...] | None = None
        """The ids of the last answer; None before the first turn."""

    def copy(self) -> TokenDialogue:
        """A fork."""
        other = TokenDialogue(self.encoder, self.turns, self.system, self.names)
        other.context, other.last = self.context.copy(), self.last
        return other

    def user(self, words: Sequence[Words]) -> None:
        """Append the moderator's turn. Nothing in it becomes a control token."""
        c, turns = self.context, self.turns
        if self.last is None:
            c.write(turns.head, "template")
            if turns.after_system is None:
                words = [Words(self.system + "\n\n", "system"), *words]
            else:
                self._contents([Words(self.system, "system")])
                c.write(turns.after_system, "template")
        else:
            c.write(turns.close(self.last), "template")
        self._contents(words)
        c.write(turns.ask, "template")
        self.last = ()

    def _contents(self, words: Sequence[Words]) -> None:
        text = "".join(part.text for part in words)
        ids, offsets = self.encoder.encode(text)
        c, at, start = self.context, len(self.context.ids), 0
        token = 0
        for part in words:
            end = start + len(part.text)
            while token < len(ids) and offsets[token][1] <= start:
                token += 1
            until = token
            while until < len(ids) and offsets[until][0] < end:
                until += 1
            if part.text and until > token:
                c.spans.append(Span(part.kind, at + token, at + until, part.seat))
            start = end
        c.ids += ids
        c.spans += mention_spans(text, offsets, at, self.names)

    def answer(self, ids: Sequence[int], text: str, kind: str, seat: int) -> None:
        """Append an answer; where a server told only its text, that text's ids."""
        if not ids:
            ids = self.encoder.encode(text)[0]
        self.context.write(ids, kind, seat)
        self.last = tuple(ids)

    def force(self, ids: Sequence[int], kind: str, seat: int) -> None:
        """Prefill: the next answer continues from these tokens."""
        self.context.write(ids, kind, seat)

    def close_thinking(self, seat: int | None = None) -> bool:
        """End the thinking that the template has opened, by the template's own form; whether there was any to end."""
        self.context.write(self.turns.closer, "reasoning", seat)
        return bool(self.turns.closer)

    def prompt(self, sampling: Sampling, session: str | None) -> Prompt:
        """The request for the next answer."""
        return Prompt(ids=tuple(self.context.ids), sampling=sampling, session=session)


class MessageDialogue:
    """Messages: the server applies the template, and the log holds no token ids."""

    def __init__(self, system: str) -> None:
        self.messages: list[Message] = [Message("system", system)]

    def copy(self) -> MessageDialogue:
        """A fork."""
        other = MessageDialogue("")
        other.messages = list(self.messages)
        return other

    def user(self, words: Sequence[Words]) -> None:
        """Append the moderator's turn."""
        self.messages.append(Message("user", "".join(part.text for part in words)))

    def answer(self, ids: Sequence[int], text: str, kind: str, seat: int) -> None:
        """Append an answer."""
        self.messages.append(Message("assistant", text))

    def prompt(self, sampling: Sampling, session: str | None) -> Prompt:
        """The request for the next answer."""
        return Prompt(ids=(), sampling=sampling, session=session, messages=tuple(self.messages))


def without_thinking(dialogue: TokenDialogue, start: int) -> Context:
    """The context with the thinking of all answers from token `start` on left out, other spans moved up.

    Left out are the spans of `reasoning`, the mark with which the template has opened it before them, and white space
    between it and the words.
    """
    context, n = dialogue.context, dialogue.turns.n_opener
    thought = [(s.start, s.end) for s in context.spans if s.kind == "reasoning" and s.start >= start]
    hidden = {i for a, b in thought for i in range(a, b)}
    if n:
        asks = {s.end for s in context.spans if s.kind == "template" and s.end >= start}
        mark = list(dialogue.turns.ask[-n:])
        hidden |= {i for end in asks if context.ids[end - n : end] == mark for i in range(end - n, end)}
    if not hidden:
        return context
    words = {s.start for s in context.spans if s.kind != "reasoning"}
    for _, end in thought:
        while (
            end < len(context.ids)
            and end not in words
            and not dialogue.encoder.decode(context.ids[end : end + 1]).strip()
        ):
            hidden.add(end)
            end += 1
    kept = [i for i in range(len(context.ids)) if i not in hidden]
    moved = {old: new for new, old in enumerate(kept)}
    spans = []
    for span in context.spans:
        inside = [moved[i] for i in range(span.start, span.end) if i in moved]
        if inside:
            spans.append(Span(span.kind, inside[0], inside[-1] + 1, span.seat))
    return Context([context.ids[i] for i in kept], 0, None, spans)
