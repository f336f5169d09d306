"""What of a small model's answer is said aloud: its first words, without the log's own markup around them.

Small models answer and then go on with the log, the moderator's next line, or the same again. Nothing is rewritten: the
stretch that counts is made shorter, and the whole answer stays in the log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.llm.chat_reply import Part

QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'"}


def narrowed(part: Part, names: Sequence[str]) -> Part:
    """The first line of what is said, without `NAME says` before it and quotation marks around it."""
    text, start = part.text, part.start
    line = next((m for m in re.finditer(r"[^\n]+", text) if m[0].strip()), None)
    if line is None:
        return part
    start, text = start + line.start(), line[0]
    speaker = "|".join(re.escape(name) for name in names)
    dressed = re.match(rf"\s*(?:SAY:\s*)?(?:(?:{speaker})\s*(?:says|said)?\s*:?\s*(?=[\"“«'])|)", text)
    if dressed is not None:
        start, text = start + dressed.end(), text[dressed.end() :]
    start, text = start + len(text) - len(text.lstrip()), text.strip()
    close = QUOTES.get(text[:1])
    if close is not None and close in text[1:]:
        text = text[1 : text.index(close, 1)]
        start += 1 + len(text) - len(text.lstrip())
        text = text.strip()
    return Part(part.kind, start, start + len(text), text) if text else part
