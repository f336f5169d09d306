"""A backend that adds the same interventions to all prompts and refuses an answer that was not steered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from agents.backends.base import Backend, Generation, Prompt
from agents.hooks.intervention import Intervention, SteeringError


class Steered:
    """Steers the prompts of some seats and passes those of the others on unchanged."""

    def __init__(
        self, backend: Backend, interventions: Sequence[Intervention], seats: Collection[int] | None = None
    ) -> None:
        """seats: None for all. Raises ValueError where the backend cannot steer, or nothing is given."""
        if not backend.capabilities.steers:
            raise ValueError(
                'steering needs a backend with kind = "transformers": in an engine or on a server activations cannot '
                "be reached"
            )
        if not interventions:
            raise ValueError("steering is on, and no intervention is given")
        self.model, self.capabilities = backend.model, backend.capabilities
        self._backend, self._interventions = backend, tuple(interventions)
        self._seats = None if seats is None else frozenset(seats)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._backend, name)

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """As the backend's own. Raises BackendError, and SteeringError for an answer that was not touched."""
        steered = [self._meant(prompt) for prompt in prompts]
        asked = [
            msgspec.structs.replace(p, interventions=self._interventions) if s else p
            for p, s in zip(prompts, steered, strict=True)
        ]
        done = await self._backend.generate(asked)
        for prompt, generation, s in zip(prompts, done, steered, strict=True):
            if s and generation.touched < len(self._interventions):
                raise SteeringError(
                    f"the answer of {prompt.session} was touched at {generation.touched} positions by "
                    f"{len(self._interventions)} interventions: it is not a steered one"
                )
        return done

    async def close(self) -> None:
        """As the backend's own."""
        await self._backend.close()

    def _meant(self, prompt: Prompt) -> bool:
        if self._seats is None:
            return True
        seat = (prompt.session or "").rpartition("/")[2]
        if not seat.isdigit():
            raise SteeringError(
                f"session {prompt.session!r} names no seat, so nothing tells whether to steer it"
            )
        return int(seat) in self._seats
