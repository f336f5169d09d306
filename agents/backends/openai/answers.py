"""The one parser of answers of OpenAI-compatible servers; it trusts nothing in them.

An answer that cannot be parsed raises `Unreadable`, which counts as a failure of the server. An answer that can be
parsed but not used as a reply raises a `BackendError` with its `kind`: text that the server withheld, or half a
character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agents.backends.base import CONTENT_FILTER, REFUSED, UNUSABLE, BackendError, Generation
from agents.backends.openai.http import Answer
from agents.backends.openai.outcomes import message_of, shown
from agents.backends.secrets import holds, mask

_STOPS = {"max_tokens": "length", "max_output_tokens": "length", "model_length": "length", "end_turn": "stop",
          "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "completed": "stop"}  # fmt: skip
"""Other servers' words for why an answer ended."""
_WITHHELD = {"content_filter": CONTENT_FILTER, "safety": CONTENT_FILTER, "recitation": CONTENT_FILTER,
             "prohibited_content": CONTENT_FILTER, "blocklist": CONTENT_FILTER, "refusal": REFUSED}  # fmt: skip
_BROKEN = frozenset({"error", "abort", "aborted", "failed", "cancelled", "insufficient_system_resource"})
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""Strings, to their end or that of the body, and what is between them."""
DEEPEST = 64
"""Brackets within brackets; those of a completion are six deep."""
MOST_TOKENS = 2**31
"""A larger token count is treated as missing."""


class Unreadable(ValueError):
    """The answer is not a completion; the message says why."""

    def __init__(self, message: str, status: int | None = None) -> None:
        """status: of an error inside the answer, by its own code."""
        super().__init__(message)
        self.status = status


def json_of(answer: Answer) -> Any:
    """The body. Raises Unreadable."""
    begins = shown(answer.body[:400].decode("utf-8", "replace"))[:200]
    if _deep(answer.body):
        raise Unreadable(f"brackets nested deeper than {DEEPEST}, beginning {begins!r}")
    try:
        return json.loads(answer.body)
    except ValueError:
        raise Unreadable(f"no JSON, beginning {begins!r}") from None


def _deep(body: bytes) -> bool:
    """Whether its brackets are nested deeper than any completion's; a parser would use up the stack on them."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for mark in _BRACKETS.finditer(body):
        found = mark[0]
        depth += 1 if found in b"[{" else -1 if found in b"]}" else 0
        if depth > DEEPEST:
            return True
    return False


def read_answer(answer: Answer, api: str) -> Generation:
    """A completion. api: how it was asked for, `tokens`, `text` or `chat`.

    Raises Unreadable, and BackendError where trying again cannot help.
    """
    found, tokens = json_of(answer), api == "tokens"
    if not isinstance(found, dict):
        raise Unreadable(f"a JSON {type(found).__name__}")
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise _error_inside(found)
    ended = _ended(choice)
    if ended in _BROKEN or isinstance(choice.get("error"), Mapping):
        said = shown(message_of(choice)) if "error" in choice else ""
        raise Unreadable(
            f"a completion that broke off (finish_reason {ended!r}){': ' + said if said else ''}"
        )
    text, reasoning = _message(choice) if api == "chat" else (choice.get("text"), choice.get("reasoning"))
    if not isinstance(text, str):
        raise Unreadable(f"its text is a {type(text).__name__}")
    if ended in _WITHHELD:
        said = f", which it has begun with {shown(text)[:80]!r}" if text else ""
        raise BackendError(f"the server has withheld the answer (finish_reason {ended!r}){said}",
                           retryable=False, kind=_WITHHELD[ended])  # fmt: skip
    ids, logprobs = _tokens(choice) if tokens else ((), ())
    reasoning = reasoning if isinstance(reasoning, str) and reasoning else None
    for part in (text, reasoning or ""):
        if any("\ud800" <= c <= "\udfff" for c in part):
            raise BackendError(
                "the answer has half a character in it (a lone surrogate)", retryable=False, kind=UNUSABLE
            )
    if tokens and holds(text):
        raise BackendError("the answer repeats a secret", retryable=False, kind=UNUSABLE)
    prompt, cached, generated = usage_of(found)
    return Generation(
        output_ids=ids,
        text=mask(text),
        logprobs=logprobs,
        n_cached=cached,
        finish_reason=ended,
        reasoning=None if reasoning is None else mask(reasoning),
        n_prompt=prompt,
        n_generated=generated,
    )


def _ended(choice: Mapping[str, Any]) -> str:
    given = choice.get("finish_reason")
    if not isinstance(given, str) or not given:
        return "stop"
    told = shown(given)[:40].casefold()
    return _STOPS.get(told, told)


def _error_inside(found: Mapping[str, Any]) -> Unreadable:
    """What an answer of status 200 without a completion is: an error by its own code where it has one."""
    error = found.get("error")
    code = error.get("code") if isinstance(error, Mapping) else None
    status = (
        int(code)
        if type(code) is int or (isinstance(code, str) and re.fullmatch("[1-5][0-9]{2}", code))
        else 0
    )
    said = (
        shown(message_of(found)) if error else f"it has no choices, only {', '.join(map(str, found))[:100]!r}"
    )
    return Unreadable(said, status if 300 <= status < 600 else None)


def _message(choice: Mapping[str, Any]) -> tuple[Any, Any]:
    """The words of a message and the thinking beside them. Raises BackendError for a refusal."""
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise Unreadable(f"its message is a {type(message).__name__}")
    reasoning = [message.get("reasoning_content") or message.get("reasoning")]
    text, refusal = message.get("content"), message.get("refusal")
    if text is None:
        text = ""
    if isinstance(text, Sequence) and not isinstance(text, str):
        text, apart, denied = _parts(text)
        reasoning.append(apart)
        refusal = refusal or denied
    if isinstance(refusal, str) and refusal.strip():
        raise BackendError(f"the model refuses: {shown(refusal)}", retryable=False, kind=REFUSED)
    return text, "\n".join(part for part in reasoning if isinstance(part, str) and part) or None


def _parts(parts: Sequence[Any]) -> tuple[str, str, str]:
    """Content that comes as a list of parts, by type: (text, thinking, refusal). Raises Unreadable."""
    text, thinking, refusal = [], [], []
    for part in parts:
        if isinstance(part, str):
            text.append(part)
            continue
        if not isinstance(part, Mapping):
            raise Unreadable(f"a part of its content is a {type(part).__name__}")
        kind = part.get("type", "text")
        if kind in ("text", "output_text"):
            text.append(_words(part.get("text")))
        elif kind in ("thinking", "reasoning", "reasoning_content", "summary_text", "redacted_thinking"):
            inner = part.get("thinking", part.get("reasoning", part.get("text", part.get("summary", ""))))
            thinking.append(_parts(inner)[0] if isinstance(inner, list) else _words(inner or ""))
        elif kind == "refusal":
            refusal.append(_words(part.get("refusal")))
        else:
            raise Unreadable(f"a part of its content is of type {shown(str(kind))!r}")
    return "".join(text), "\n".join(thinking), "\n".join(refusal)


def _words(found: Any) -> str:
    if isinstance(found, Mapping):  # {"text": {"value": ...}}
        found = found.get("value")
    if not isinstance(found, str):
        raise Unreadable(f"the text of a part of its content is a {type(found).__name__}")
    return found


def _tokens(choice: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Token ids and their log-probabilities. Raises Unreadable, BackendError where there are no ids."""
    given = choice.get("token_ids")
    if given is None:
        raise BackendError(
            "the server returned text without token ids, and Wolfscope logs what the model emitted token for token: "
            'use a server that knows `return_token_ids` (vLLM does), or set api = "text" to go without',
            retryable=False,
            everybody=True,
        )
    if not isinstance(given, list) or not all(type(i) is int and 0 <= i < MOST_TOKENS for i in given):
        raise Unreadable("its token_ids are no list of token ids")
    told = choice.get("logprobs")
    found = told.get("token_logprobs") if isinstance(told, Mapping) else None
    logprobs: tuple[float, ...] = ()
    if isinstance(found, list) and len(found) == len(given) and all(type(p) in (int, float) for p in found):
        logprobs = tuple(min(0.0, float(p)) if p == p else float("-inf") for p in found)
    return tuple(given), logprobs


def usage_of(found: Mapping[str, Any]) -> tuple[int | None, int, int | None]:
    """(prompt tokens, those of them from a cache, generated tokens); None where the server does not say. Odd values
    count as missing: an answer is not lost because of its token counts."""
    usage = found.get("usage")
    if not isinstance(usage, Mapping):
        return None, 0, None
    details = usage.get("prompt_tokens_details")
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    generated = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    return prompt, min(cached or 0, MOST_TOKENS if prompt is None else prompt), generated


def _count(found: Any) -> int | None:
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return found if type(found) is int and 0 <= found < MOST_TOKENS else None
