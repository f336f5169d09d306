"""Text that others wrote: where its lines end, and how it reaches a terminal.

Models, servers, replays and run folders of strangers put any character into a speech or a name. Every file that they
wrote is cut into lines here, and everything that is printed passes `printable`.
"""

from __future__ import annotations

import re
from typing import Final

UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
    r"\ud800-\udfff]"  # halves of characters, which no file and no terminal takes
)
"""Characters that a terminal obeys, or that reorder, hide or break text; not the tab and the line feed."""


def printable(text: str) -> str:
    """Text that a terminal shows and does not obey: unseen characters become `<U+XXXX>`."""
    if text.isascii() and text.isprintable():
        return text
    return UNSEEN.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def one_line(text: str, longest: int = 300) -> str:
    """`printable` text on one line, its middle left out where it is longer than `longest` characters."""
    text = printable(" ".join(text.split("\n")).replace("\t", " "))
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} [...] {text[-(longest // 2) :]}"


def lines_of(text: str) -> list[str]:
    """The lines of a text: each ends in LF or CRLF, and in nothing else.

    `str.splitlines` also cuts at U+2028, U+0085, form feeds and others, which a speech may hold.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
