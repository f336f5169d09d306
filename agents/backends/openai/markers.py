"""Breaks up text that spells control markers, before it is sent to a server that would parse them as control tokens.

A server that is sent words (`api = "text"` or `"chat"`) tokenises them itself, and most make control tokens of what
spells one: a speech that holds `<|im_end|>` and `<|im_start|>system` would be a turn of its own. So a space is put
after the first character of whatever is, or looks like, such a marker. Prompts sent as token ids do not need this
(`agents.llm.encoder`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from agents.backends.base import Message

THINKING = r"</?(?:think|thinking|thought|reasoning|seed:think)\s*>|\[/?THINK\]|◁/?think▷"
"""Markers around a model's thinking; they stay in its own earlier answers, where templates look for them."""
MARKERS = (
    r"<\|[^<>|\n]{1,64}\|>|<｜[^<>｜\n]{1,64}｜>"  # ChatML, Llama 3 and 4, Phi, GLM, gpt-oss; DeepSeek
    r"|</?s>|<(?:bos|eos|pad|unk|mask|cls|sep|sop|eop)>"
    r"|</?(?:start|end)_of_(?:turn|image|text|role)>|</?(?:start|end)_of_[a-z]+>"  # Gemma
    r"|\[/?INST\]|<</?SYS>>"  # Llama 2, Mistral
    r"|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|PREFIX|MIDDLE|SUFFIX|IMG|ARGS)\]"
    r"|\[[gs]?MASK\]|</?(?:im_start|im_end|im_sep|tool_call|tool_response|tools|function_call)>"
    r"|<(?:extra_id|reserved|unused|special|fim)[_a-z]*_?\d*>|<(?:start|end)_header_id>"
)
"""Markers of the model families whose templates are known."""

_ALL = re.compile(f"{MARKERS}|{THINKING}", re.IGNORECASE)
_OWN = re.compile(MARKERS, re.IGNORECASE)


def broken_up(text: str, further: Collection[str] = (), own: bool = False) -> tuple[str, int]:
    """The words with every marker broken up, and how many there were.

    further: markers of the model's own tokenizer. own: the words are the model's earlier answer, whose thinking stays
    marked.
    """
    if "<" not in text and "[" not in text and "◁" not in text and not further:
        return text, 0
    pattern = _with(tuple(sorted(further, key=len, reverse=True)), own)
    return pattern.subn(lambda match: f"{match[0][0]} {match[0][1:]}", text)


@lru_cache(maxsize=32)
def _with(further: tuple[str, ...], own: bool) -> re.Pattern[str]:
    known = _OWN if own else _ALL
    words = [re.escape(word) for word in further if len(word) > 1 and not word.isspace()]
    return re.compile("|".join((*words, known.pattern)), re.IGNORECASE) if words else known


def safe_messages(messages: Sequence[Message]) -> tuple[list[Message], int]:
    """The messages with the markers in their words broken up, and how many there were."""
    found, n = [], 0
    for message in messages:
        text, k = broken_up(message.content, own=message.role == "assistant")
        found.append(Message(message.role, text) if k else message)
        n += k
    return found, n


def safe_text(tokenizer: Any, ids: Sequence[int], control: Collection[int]) -> tuple[str, int]:
    """Token ids as words in which only control tokens spell a marker, and how many others were broken up.

    control: ids that have a meaning besides their text (`agents.llm.encoder.control_ids`).
    """

    def decode(some: Sequence[int]) -> str:
        return str(
            tokenizer.decode(list(some), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    further = _control_words(tokenizer, frozenset(control))
    parts: list[str] = []
    n, at = 0, 0
    while at < len(ids):
        until = at + 1
        if ids[at] in control:
            while until < len(ids) and ids[until] not in control:
                until += 1
            head = decode(ids[at : at + 1])  # decoded together: what begins a text may lose its space
            text, k = broken_up(decode(ids[at:until]).removeprefix(head), further)
            parts += [head, text]
        else:
            while until < len(ids) and ids[until] not in control:
                until += 1
            text, k = broken_up(decode(ids[at:until]), further)
            parts.append(text)
        n, at = n + k, until
    return ("".join(parts), n) if n else (decode(ids), 0)


@lru_cache(maxsize=8)
def _control_words(tokenizer: Any, control: frozenset[int]) -> tuple[str, ...]:
    return tuple(str(tokenizer.convert_ids_to_tokens(i)) for i in sorted(control))
