"""What OpenAI-compatible servers answer, read with suspicion: nothing in it is taken for granted."""

from __future__ import annotations

import httpx

from agents.backends.base import BackendError, Generation

RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""
LONGEST_ANSWER = 16 * 2**20
"""Bytes of an answer beyond which it is no completion."""


def is_completion(answer: httpx.Response) -> bool:
    """Whether it has the outline of a completion."""
    if len(answer.content) > LONGEST_ANSWER:
        return False
    try:
        found = answer.json()
        return isinstance(found, dict) and isinstance(found["choices"][0], dict)
    except (ValueError, KeyError, TypeError, IndexError):
        return False


def read_completion(url: str, answer: httpx.Response, tokens: bool) -> Generation:
    """An answer of `/completions`; with `tokens`, its token ids. Raises BackendError."""
    content = answer.json()
    choice = content["choices"][0]
    if tokens and choice.get("token_ids") is None:
        raise BackendError(
            "the server returned text without token ids, and Wolfscope logs what the model emitted token for token: "
            'use a server that knows `return_token_ids` (vLLM does), or set api = "text" to go without',
            retryable=False,
        )
    try:
        ids = tuple(int(i) for i in choice["token_ids"]) if tokens else ()
        given = (choice.get("logprobs") or {}).get("token_logprobs") or () if tokens else ()
        logprobs = tuple(float(p) for p in given)
        cached = ((content.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return Generation(
            output_ids=ids,
            text=str(choice["text"]),
            logprobs=logprobs if len(logprobs) == len(ids) else (),
            n_cached=int(cached),
            finish_reason=str(choice.get("finish_reason") or "stop"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise garbage(url, answer, error) from error


def read_message(url: str, answer: httpx.Response) -> Generation:
    """An answer of `/chat/completions`. Raises BackendError."""
    try:
        content = answer.json()
        message = content["choices"][0]["message"]
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        cached = ((content.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return Generation(
            output_ids=(),
            text=str(message.get("content") or ""),
            n_cached=int(cached),
            finish_reason=str(content["choices"][0].get("finish_reason") or "stop"),
            reasoning=None if reasoning is None else str(reasoning),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise garbage(url, answer, error) from error


def garbage(url: str, answer: httpx.Response, error: Exception) -> BackendError:
    """The error of an answer that cannot be read."""
    return BackendError(
        f"the server at {url} answered with something else than a completion "
        f"({type(error).__name__}: {error}): {answer.text[:200]!r}"
    )


def refused(url: str, answer: httpx.Response) -> BackendError:
    """The error of a status that is not 200, and how long the server asks to be left alone."""
    status = answer.status_code
    remedy = {
        401: "; set the key: api_key_env names the environment variable that holds it",
        403: "; the key is not allowed to use this model",
        404: "; check url and model",
    }.get(status, "")
    try:
        wait_s: float | None = max(0.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):  # none, or a date
        wait_s = None
    return BackendError(
        f"the server at {url} refused with status {status}: {answer.text[:300]!r}{remedy}",
        retryable=status in RETRYABLE,
        wait_s=wait_s,
    )
