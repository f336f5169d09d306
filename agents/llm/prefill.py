"""One decision with a prefilled beginning; every other decision is the player's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agents.backends.base import Backend, Generation, Prompt
from agents.base import Agent
from games.base import Observation
from games.records import Decision, Reply


class OneDecision:
    """Plays like `other` at one decision of its seat and like `usual` at all others."""

    def __init__(self, name: str, usual: Any, other: Agent, decision: int) -> None:
        """usual: a `ModelPlayer` and `Believer` that plays all but the one decision. decision: number of decisions that
        the seat makes before it."""
        self.name = name
        self._usual, self._other, self._decision = usual, other, decision
        self.backend: Backend = usual.backend
        self.backend_retries, self.first_wait_s = usual.backend_retries, usual.first_wait_s
        self.encoder, self.settings, self.multi_step = usual.encoder, usual.settings, usual.multi_step
        self.constrained, self.repairs, self.notes = usual.constrained, usual.repairs, usual.notes

    def context(self, observation: Observation) -> Any:
        """As the usual player's."""
        return self._usual.context(observation)

    def legal_answers(self, observation: Observation) -> tuple[tuple[int, ...], ...]:
        """As the usual player's."""
        legal: tuple[tuple[int, ...], ...] = self._usual.legal_answers(observation)
        return legal

    def belief_questions(self, *given: Any) -> Any:
        """As the usual player's."""
        return self._usual.belief_questions(*given)

    async def act(self, observation: Observation) -> Reply:
        """Act as `other` at the one decision, else as `usual`."""
        made = sum(isinstance(record, Decision) for record in observation.records)
        return await (self._other if made == self._decision else self._usual).act(observation)


class Prefilled:
    """A backend that prefills all outputs with the same tokens; the model continues from them.

    The tokens count as output, so that the prompt remains what the seat has seen; no log-probabilities are given, since
    those of the prefill are not known.
    """

    def __init__(self, backend: Backend, ids: Sequence[int]) -> None:
        self.model, self.capabilities = backend.model, backend.capabilities
        self._backend, self._ids = backend, tuple(ids)

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """The backend's answers to the prompts and the given tokens. Raises BackendError."""
        longer = [msgspec.structs.replace(p, ids=(*p.ids, *self._ids)) for p in prompts]
        return [
            msgspec.structs.replace(g, output_ids=(*self._ids, *g.output_ids), logprobs=())
            for g in await self._backend.generate(longer)
        ]

    async def close(self) -> None:
        """As the backend's own."""
        await self._backend.close()
