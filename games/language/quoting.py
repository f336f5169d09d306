"""Players' speeches as others see them: in double quotes, on one line, cut to length.

No speech can close its quotes or start a line, so none can pass for the moderator's words.
"""

from __future__ import annotations

import re
from typing import Final

QUOTES: Final = re.compile('["“”„‟″‶〃＂«»❝❞]')
INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls but white space; terminal escapes among them
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
    r"\ud800-\udfff]"  # halves of characters
)


def quote(text: str, max_chars: int) -> str:
    """Another's words as quoted text: on one line, without inner double quotes or invisible characters, cut to length.

    The log keeps the whole speech; only the text that others see is cut.
    """
    if not (text.isprintable() and text.isascii() and '"' not in text):
        text = " ".join(INVISIBLE.sub("", QUOTES.sub("'", text)).split())
    elif "  " in text or text[:1] == " " or text[-1:] == " ":
        text = " ".join(text.split())
    if len(text) > max_chars:
        text = text[:max_chars].rstrip() + " [...]"
    return f'"{text}"'


def writable(text: str) -> bool:
    """Whether a text can be written as UTF-8: Python's strings can hold halves of characters, files cannot."""
    return text.isascii() or not any(0xD800 <= ord(c) <= 0xDFFF for c in text)
