"""What the statuses and error words of a server mean for a run: one table.

status                           meaning
200                              an answer, read by `agents.backends.openai.answers`; an error inside it counts by
                                 its own code
408 409 425 5xx, no answer,      trouble: asked again; where nobody has had an answer for a while, the run stops
anything that cannot be read     and can be gone on with
429                              busy: as trouble, after the pause that the server asks for; words of a quota and a time
                                 after which to try again are of a limit by the minute
3xx 401 402 403 404 405 410 451  refused, everybody as it seems: a probe of the same fields with harmless words is
429 of a spent quota             sent. Refused as well: the run stops with the server's words. Else asked again
400 411 413 422, other 4xx       refused: where the probe is refused too, everybody is, and the run stops. Else it
                                 was this prompt, whose decision is a recorded fallback
400 403 with words of a filter   withheld: a failure of its own kind, `content_filter`
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

from agents.backends.openai.http import Answer
from agents.backends.secrets import mask


class Outcome(Enum):
    """What an answer means for the run."""

    ANSWER = "answer"
    TROUBLE = "trouble"
    BUSY = "busy"
    EVERYBODY = "everybody"
    """Refused with a status that concerns every request."""
    PROMPT = "prompt"
    """Refused with a status that may concern this prompt alone."""
    WITHHELD = "withheld"


_TROUBLE = frozenset({408, 409, 425})
_EVERYBODY = frozenset({401, 402, 403, 404, 405, 407, 410, 426, 451})
_QUOTA = re.compile(r"(?i)quota|billing|credit|insufficient|balance|payment|spend(?:ing)? limit|usage limit")
_LATER = re.compile(r"(?i)\b(?:try again|retry)\b[^.]{0,40}?\d|rate[ _-]?limit[ _-](?:exceeded|reached)")
_FILTER = re.compile(
    r"(?i)content[ _-]?(?:filter|policy|management)|moderation|flagged|safety|responsible ?ai"
)
WORDS = 300
"""Characters of a server's words that are kept."""


def outcome_of(status: int, words: str, wait_s: float | None = None) -> Outcome:
    """What a status means. words: of the server. wait_s: the pause that it asks for."""
    if status == 200:
        return Outcome.ANSWER
    if status == 429:
        later = wait_s is not None or _LATER.search(words)
        return Outcome.EVERYBODY if _QUOTA.search(words) and not later else Outcome.BUSY
    if status in (400, 403) and _FILTER.search(words):
        return Outcome.WITHHELD
    if status in _EVERYBODY or 300 <= status < 400:
        return Outcome.EVERYBODY
    if status in _TROUBLE or not 400 <= status < 500:
        return Outcome.TROUBLE
    return Outcome.PROMPT


def words_of(body: bytes) -> str:
    """A server's words in an error answer: the message of its error, else the beginning of the body; masked."""
    text = body[: 64 * WORDS].decode("utf-8", "replace")
    try:
        found = (
            json.loads(body)
            if len(body) <= 64 * WORDS and body.count(b"[") + body.count(b"{") < WORDS
            else None
        )
    except ValueError:
        found = None
    if isinstance(found, Mapping):
        text = message_of(found) or text
    return shown(text)


def message_of(found: Mapping[str, Any]) -> str:
    """The words of an error in JSON, with its code; empty where there are none."""
    error = found.get("error", found)
    if isinstance(error, str):
        return error
    if not isinstance(error, Mapping):
        return ""
    said = error.get("message") or error.get("detail") or found.get("detail") or found.get("message") or ""
    code = error.get("code") or error.get("type") or ""
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return f"{text} ({code})" if text and isinstance(code, str | int) and code else text


def shown(text: str) -> str:
    """A server's words on one line, bounded and masked."""
    clean = "".join(c if c.isprintable() else " " for c in mask(text))
    return mask(" ".join(clean.split()))[:WORDS]


def wait_of(answer: Answer, now: float | None = None) -> float | None:
    """How long the server asks to be left alone, in seconds: `Retry-After-Ms`, or `Retry-After` in seconds or as a
    date; None where it does not say or cannot be understood."""
    milliseconds = _number(answer.headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = answer.headers.get("retry-after")
    seconds = _number(given)
    if seconds is not None or given is None:
        return seconds
    if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*", given):
        return float(match[1]) / (1000 if match[2] == "ms" else 1)
    try:
        until = email.utils.parsedate_to_datetime(given).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, until - (time.time() if now is None else now))


def _number(given: str | None) -> float | None:
    try:
        value = float(given or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


_REMEDIES: tuple[tuple[str, str], ...] = (
    (r"max_completion_tokens", '; set settings.fields.max_tokens = "max_completion_tokens"'),
    (r"max_tokens", '; set settings.fields.max_tokens to the name that it wants ("max_completion_tokens", say)'),
    (r"top_p", "; set settings.fields.top_p = false"),
    (r"temperature", "; set settings.fields.temperature = false, and top_p = false if that is refused too"),
    (r"\bseed\b", "; set settings.fields.seed = false"),
    (r"(?i)system (?:role|message|prompt|instruction)|role.{0,20}system|developer instruction",
     '; set settings.system_role = "user" (or "developer")'),
    (r"return_token_ids|stop_token_ids|skip_special_tokens|allowed_token_ids",
     '; the server does not speak in token ids: set settings.api = "text" or "chat"'),
    (r"(?i)context length|context window|maximum context|too long|too many tokens",
     "; prompt and max_tokens exceed the model's context: lower sampling.max_tokens or shorten the game"),
)  # fmt: skip
"""What a refusal names -> what to do, for servers that take other fields than ours."""

_BY_STATUS = {
    401: "; set the key: api_key_env names the environment variable that holds it",
    402: "; look after the account's credit",
    403: "; the key is not allowed to use this model",
    404: "; check url and model",
    405: "; check the url: it ends in /v1 for most servers",
}


def remedy_of(status: int, words: str) -> str:
    """What a user can do about a refusal, to stand after the server's words; empty where nothing is known."""
    if status in (400, 413, 422):
        for pattern, remedy in _REMEDIES:
            if re.search(pattern, words):
                return remedy
    if 300 <= status < 400:
        return "; the server points elsewhere, and redirects are not followed: write the address it moved to as url"
    if status == 429:
        return "; look after the account's quota" if _QUOTA.search(words) else ""
    return _BY_STATUS.get(status, "")
