"""One generation from a backend that may fail: bounded retries, exponential back-off, jitter from the seat's stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents.backends.base import Backend, BackendError, EngineLost, Generation, Prompt, ServerRefuses
from games import chance

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
GO_ON = "then run the same command again: it goes on where it stopped"
LONGEST_ASKED_S = 120.0
"""Longest pause in seconds, also where a server asks for more."""


def wait_s(attempt: int, key: int, first_s: float = FIRST_WAIT_S, longest_s: float = LONGEST_WAIT_S) -> float:
    """Seconds before retry `attempt` (0 is the first): doubling, with half of it drawn by `key`."""
    ceiling = min(longest_s, first_s * 2.0**attempt)
    return ceiling * (0.5 + 0.5 * chance.uniform(chance.key(key, "back-off", attempt)))


async def ask(
    backend: Backend, prompt: Prompt, *, retries: int, key: int, first_wait_s: float = FIRST_WAIT_S
) -> Generation:
    """The answer to one prompt.

    Raises BackendError when the retries are used up or trying again cannot help. Where no other request gets an answer
    either, no decision is to be recorded: it raises EngineLost, or ServerRefuses where trying again cannot help.
    """
    for attempt in range(retries + 1):
        try:
            return (await backend.generate([prompt]))[0]
        except BackendError as error:
            if not error.retryable:
                if error.everybody:
                    raise ServerRefuses(f"{error}. Nobody is answered: mend that, {GO_ON}") from error
                raise
            if attempt == retries:
                if error.everybody:
                    raise EngineLost(
                        f"{error}; nobody gets an answer, after {attempt + 1} tries: look after the server, {GO_ON}"
                    ) from error
                raise
            asked = min(error.wait_s or 0.0, LONGEST_ASKED_S)
            await asyncio.sleep(max(asked, wait_s(attempt, key, first_wait_s)))
    raise BackendError(f"retries is {retries}, at least 0 is needed", retryable=False)


class Patient:
    """A backend that retries each prompt by itself."""

    def __init__(
        self, backend: Backend, retries: int, purpose: str, first_wait_s: float = FIRST_WAIT_S
    ) -> None:
        """purpose: names the stream that the waits are drawn from."""
        self.backend, self.model, self.retries = backend, backend.model, retries
        self.purpose, self.first_wait_s = purpose, first_wait_s
        self.capabilities = backend.capabilities

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """As the backend's own, one call a prompt."""
        keys = [chance.key(n, self.purpose) for n in range(len(prompts))]
        asked = (
            ask(self.backend, one, retries=self.retries, key=key, first_wait_s=self.first_wait_s)
            for one, key in zip(prompts, keys, strict=True)
        )
        return list(await asyncio.gather(*asked))

    async def close(self) -> None:
        """The backend's own."""
        await self.backend.close()
