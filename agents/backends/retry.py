"""One generation from a backend that may fail: bounded retries, exponential back-off, jitter from the seat's stream."""

from __future__ import annotations

import asyncio

from agents.backends.base import Backend, BackendError, Generation, Prompt
from games import chance

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
LONGEST_ASKED_S = 120.0
"""A server that asks for a longer pause than this gets this one."""


def wait_s(attempt: int, key: int, first_s: float = FIRST_WAIT_S, longest_s: float = LONGEST_WAIT_S) -> float:
    """Seconds before retry `attempt` (0 is the first): doubling, with half of it drawn by `key`."""
    ceiling = min(longest_s, first_s * 2.0**attempt)
    return ceiling * (0.5 + 0.5 * chance.uniform(chance.key(key, "back-off", attempt)))


async def ask(
    backend: Backend, prompt: Prompt, *, retries: int, key: int, first_wait_s: float = FIRST_WAIT_S
) -> Generation:
    """The answer to one prompt. Raises BackendError when the retries are used up or trying again cannot help."""
    for attempt in range(retries + 1):
        try:
            return (await backend.generate([prompt]))[0]
        except BackendError as error:
            if attempt == retries or not error.retryable:
                raise
            asked = min(error.wait_s or 0.0, LONGEST_ASKED_S)
            await asyncio.sleep(max(asked, wait_s(attempt, key, first_wait_s)))
    raise BackendError(f"retries is {retries}, at least 0 is needed", retryable=False)
