"""Where the thinking in a model's answer begins and ends, whatever its marks; what is not closed is thinking.

Templates differ in who opens the block: the model itself, or the template at the end of the prompt, unseen in the
answer. So an answer alone never tells that a stretch without marks is no thinking; whoever knows the prompt says
whether it ends in an open block.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import msgspec

_TAGS = "think|thinking|thought|thoughts|reasoning|reflection|seed:think"
_OPEN = (
    rf"<\s*(?:{_TAGS})\s*>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
    r"|<\|channel\|>\s*(?:analysis|commentary)[^<]{0,40}<\|message\|>"  # gpt-oss
)
_CLOSE = (
    rf"<\s*/\s*(?:{_TAGS})\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>"
    r"|<\|channel\|>\s*final[^<]{0,40}<\|message\|>"
)
_TURN_END = re.compile(r"<\|(?:end|return)\|>")


class Thinking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a reasoning model's thinking, which is always kept apart from the reply."""

    open: str = "<think>"
    """The marker before the thinking."""
    close: str = "</think>"
    """The marker after it."""
    budget: int | None = None
    """Thinking is cut off and closed after this many tokens; the model then answers."""
    given: str | None = None
    """Words that prefill the thinking."""
    given_whole: bool = True
    """Whether the prefilled words are all of the thinking; else the model continues from them."""
    history: Literal["keep", "hide"] = "keep"
    """Whether the seat's later prompts hold its earlier thinking and notes. Hidden, a prompt no longer extends the last
    one whole, and each decision logs its full prompt."""
    log: bool = True
    """Whether the text is logged as `reasoning` (the tokens are in the log either way)."""
    opened: bool = False
    """Of a server that takes messages: whether its template opens the thinking, so that an answer without a closing
    mark is all thinking. Where the template is known, this is read from it."""


class Apart(msgspec.Struct, frozen=True):
    """An answer, in characters: `[0, start)` is thinking that was closed, `[start, end)` the reply, the rest thinking
    that was not closed."""

    start: int
    end: int

    def closed(self, answer: str) -> bool:
        """Whether all thinking was closed."""
        return self.end == len(answer)


def apart(answer: str, thinking: Thinking | None = None, opened: bool = False) -> Apart:
    """The reply in an answer. opened: the prompt ends inside a block of thinking."""
    opening, closing = _marks(thinking or Thinking())
    ends = [mark.end() for mark in closing.finditer(answer)]
    if opened and not ends:
        return Apart(0, 0)
    start = ends[-1] if ends else 0
    again = opening.search(answer, start)
    return Apart(start, again.start() if again else len(answer))


def reply(answer: str, thinking: Thinking | None = None, opened: bool = False) -> str:
    """The words of an answer that are no thinking; empty where its thinking was not closed."""
    found = apart(answer, thinking, opened)
    return answer[found.start : found.end].strip() if found.closed(answer) else ""


def inner(text: str, thinking: Thinking | None = None) -> tuple[int, int]:
    """The character range of the words in a stretch of thinking, without its marks and white space around them."""
    opening, closing = _marks(thinking or Thinking())
    first = opening.search(text)
    start = first.end() if first and not text[: first.start()].strip() else 0
    last = closing.search(text, start)
    end = last.start() if last else len(text)
    ended = _TURN_END.search(text, start, end)  # gpt-oss ends one channel before it opens another
    end = ended.start() if ended else end
    words = text[start:end]
    start += len(words) - len(words.lstrip())
    return start, start + len(words.strip())


def closing(text: str, thinking: Thinking | None = None) -> int | None:
    """The index of the first mark that ends thinking, in characters; None without one."""
    found = [m.start() for m in (_marks(thinking or Thinking())[1].search(text), _TURN_END.search(text)) if m]
    return min(found, default=None)


def opener(prompt: str, thinking: Thinking | None = None) -> str:
    """The end of a template's text from the mark that opens thinking on; empty where it leaves none open."""
    opening, closing = _marks(thinking or Thinking())
    marks = list(opening.finditer(prompt))
    return prompt[marks[-1].start() :] if marks and not closing.search(prompt, marks[-1].end()) else ""


def closes(text: str) -> bool:
    """Whether a template's text has a mark that ends thinking."""
    return _marks(Thinking())[1].search(text) is not None


def closer_of(opening: str) -> str:
    """The mark that ends what such a mark begins."""
    mark = opening.strip()
    return f"{mark[0]}/{mark[1:]}" if mark[:1] in "<[◁" and not mark.startswith("<|") else "</think>"


@lru_cache(maxsize=64)
def _marks(thinking: Thinking) -> tuple[re.Pattern[str], re.Pattern[str]]:
    def pattern(own: str, known: str) -> re.Pattern[str]:
        return re.compile(f"{re.escape(own)}|{known}" if own else known, re.IGNORECASE)

    return pattern(thinking.open, _OPEN), pattern(thinking.close, _CLOSE)
