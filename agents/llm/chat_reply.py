"""A chat model's answer, taken apart: thinking, private notes, what is said, what is chosen. Nothing is rewritten."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

MARK = re.compile(r"(?m)^[ \t>*#_`]*(PRIVATE|BELIEFS|SAY|CHOICE)[*_`]*[ \t]*:[*_`]*[ \t]*")


class Part(msgspec.Struct, frozen=True):
    """A stretch of an answer, in characters of the whole answer."""

    kind: str
    """`thinking`, `private`, `beliefs`, `say`, `choice`, or `plain` for words under no heading."""
    start: int
    end: int
    text: str


class Unreadable(ValueError):
    """An answer that cannot be used; the message is shown to the model."""


def take_apart(answer: str, think_close: str = "</think>") -> list[Part]:
    """The parts of an answer in order; each part's text without white space around it."""
    parts: list[Part] = []
    at = 0
    closed = answer.rfind(think_close) if think_close else -1
    if closed >= 0:
        at = closed + len(think_close)
        parts.append(_part("thinking", answer, 0, at))
    marks = list(MARK.finditer(answer, at))
    first = marks[0].start() if marks else len(answer)
    if answer[at:first].strip():
        parts.append(_part("plain", answer, at, first))
    ends = [mark.start() for mark in marks[1:]] + [len(answer)]
    parts += [_part(mark[1].lower(), answer, mark.end(), end) for mark, end in zip(marks, ends, strict=False)]
    return parts


def _part(kind: str, answer: str, start: int, end: int) -> Part:
    text = answer[start:end]
    start += len(text) - len(text.lstrip())
    return Part(kind, start, start + len(text.strip()), text.strip())


def last(parts: Sequence[Part], kind: str) -> Part | None:
    """The last part of a kind."""
    return next((part for part in reversed(parts) if part.kind == kind), None)


def spoken(parts: Sequence[Part], headed: bool) -> Part:
    """What is said aloud. `headed`: only words under SAY, since others may be private. Raises Unreadable."""
    part = last(parts, "say") or (None if headed else last(parts, "plain"))
    if part is None or not part.text:
        raise Unreadable("there are no words under SAY:.")
    return part


def chosen(parts: Sequence[Part], options: Mapping[str, int], headed: bool = True) -> tuple[Part, int]:
    """The choice and its option. Raises Unreadable, saying what was found."""
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
