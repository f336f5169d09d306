"""Parses a chat model's answer: thinking, private notes, speech, choice. Nothing is rewritten."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from agents.llm.thinking import Thinking, apart

MARK = re.compile(r"(?m)^[ \t>*#_`]*(PRIVATE|BELIEFS|SAY|CHOICE)[*_`]*[ \t]*:[*_`]*[ \t]*")


UNCLOSED = "unclosed"


class Part(msgspec.Struct, frozen=True):
    """A stretch of an answer, in characters of the whole answer."""

    kind: str
    """`thinking`, `private`, `beliefs`, `say`, `choice`, `plain` for words under no heading, or `unclosed` for thinking
    that never ends."""
    start: int
    end: int
    text: str


class Unreadable(ValueError):
    """An answer that cannot be used; the message is shown to the model."""


def take_apart(answer: str, thinking: Thinking | None = None, opened: bool = False) -> list[Part]:
    """The parts of an answer in order; each part's text without white space around it.

    opened: the prompt ends inside a block of thinking.
    """
    found = apart(answer, thinking, opened)
    at, until = found.start, found.end
    parts = [_part("thinking", answer, 0, at)] if at else []
    marks = [  # of the reply alone, so that a heading right after thinking begins a line
        (mark[1].lower(), at + mark.start(), at + mark.end()) for mark in MARK.finditer(answer[at:until])
    ]
    first = marks[0][1] if marks else until
    if answer[at:first].strip():
        parts.append(_part("plain", answer, at, first))
    ends = [start for _, start, _ in marks[1:]] + [until]
    parts += [_part(kind, answer, after, end) for (kind, _, after), end in zip(marks, ends, strict=False)]
    if until < len(answer):
        parts.append(_part(UNCLOSED, answer, until, len(answer)))
    return parts


def without_notes(answer: str, thinking: Thinking | None = None) -> str:
    """An answer without thinking and private notes, as a seat is shown its own later where those are hidden."""
    kept = [p for p in take_apart(answer, thinking) if p.kind in ("say", "choice", "plain")]
    return "\n".join(p.text if p.kind == "plain" else f"{p.kind.upper()}: {p.text}" for p in kept)


def _part(kind: str, answer: str, start: int, end: int) -> Part:
    text = answer[start:end]
    start += len(text) - len(text.lstrip())
    return Part(kind, start, start + len(text.strip()), text.strip())


def last(parts: Sequence[Part], kind: str) -> Part | None:
    """The last part of a kind."""
    return next((part for part in reversed(parts) if part.kind == kind), None)


def spoken(parts: Sequence[Part], headed: bool) -> Part:
    """What is said aloud. `headed`: only words under SAY, since others may be private. Raises Unreadable."""
    if last(parts, UNCLOSED) is not None:
        raise Unreadable("its thinking was not closed, so there is no answer after it.")
    part = last(parts, "say") or (None if headed else last(parts, "plain"))
    if part is None or not part.text:
        raise Unreadable("there are no words under SAY:.")
    return part


def chosen(parts: Sequence[Part], options: Mapping[str, int], headed: bool = True) -> tuple[Part, int]:
    """The choice and its option. Raises Unreadable, saying what was found."""
    if last(parts, UNCLOSED) is not None:
        raise Unreadable("its thinking was not closed, so there is no answer after it.")
    part = last(parts, "choice") or (None if headed else last(parts, "plain"))
    if part is None:
        raise Unreadable("there is no line with CHOICE:.")
    line = part.text.partition("\n")[0]
    words = [line.strip(" \t*_`\"'.!?:,"), *re.findall(r"\w+", line)[:1]]
    for word in words:
        if word in options:
            return part, options[word]
        near = [option for label, option in options.items() if label.casefold() == word.casefold()]
        if len(near) == 1:
            return part, near[0]
    raise Unreadable(f"{line[:60]!r} is not one of the options.")
