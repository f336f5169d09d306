"""An LLM player in `transcript` style: reads the bare log, completes its own next line."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from agents.backend import Backend, BackendError, Prompt, Sampling
from agents.context import Builder, Context, Encoder
from games import chance, load_game
from games.base import GameError, Observation
from games.records import Reply, Trace

MAX_SESSIONS = 4096
"""Contexts kept between decisions; an older one is rebuilt from its records."""


class TranscriptPlayer:
    """Seats a model that completes the game's log: base models and the small model.

    A reply that cannot be read is asked for again, `retries` times, each with its own seed; then the game's legal
    fallback stands in, and the decision says so.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        tokenizer: Any,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 64,
        retries: int = 2,
        backend_retries: int = 4,
    ) -> None:
        self.name = name
        self.backend = backend
        self.encoder = Encoder(tokenizer)
        self.settings = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        self.retries, self.backend_retries = retries, backend_retries
        self.stop_ids = newline_ids(tokenizer)
        self._sessions: OrderedDict[tuple[str, int], Builder] = OrderedDict()

    def context(self, observation: Observation) -> Context:
        """The prompt of an observation; the seat's earlier lines are not encoded again."""
        seat = observation.request.seat
        key = (observation.game_id, seat)
        builder = self._sessions.pop(key, None)
        if builder is None or builder.n_records > len(observation.records):
            text = load_game(observation.game).text
            builder = Builder(self.encoder, text, observation.config, seat)
        self._sessions[key] = builder
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return builder.prompt(observation.records, observation.request)

    async def act(self, observation: Observation) -> Reply:
        """Generate a line and read it. Raises BackendError when the backend fails for good."""
        game = load_game(observation.game)
        request = observation.request
        context = self.context(observation)
        words = game.text.words_of(observation.config, observation.records)
        rejected: list[str] = []
        while True:
            attempt = len(rejected)
            seed = chance.key(observation.seed, "sampling", attempt) >> 33
            generation = await self._generate(
                Prompt(
                    ids=tuple(context.ids),
                    sampling=Sampling(**self.settings, seed=seed, stop_ids=self.stop_ids),
                    session=f"{observation.game_id}/{request.seat}",
                )
            )
            output = self.encoder.decode(generation.output_ids)
            trace = Trace(
                model=self.backend.model,
                prompt_ids=context.delta(),
                output_ids=generation.output_ids,
                output_text=output,
                continues=context.continues,
                spans=tuple(s for s in context.spans if s.end > context.own),
                logprobs=generation.logprobs,
                n_cached=generation.n_cached,
                attempts=attempt + 1,
                rejected=tuple(rejected),
                sampling={**self.settings, "seed": seed},
            )
            try:
                action = game.text.parse(request, output, words)
            except GameError:
                rejected.append(output)
                if attempt >= self.retries:
                    action = game.legal_fallback(request, observation.seed)
                    return Reply(action, fallback="malformed", trace=trace)
                continue
            return Reply(action, trace=trace)

    async def _generate(self, prompt: Prompt) -> Any:
        """One generation, with exponential back-off where the backend says that trying again may help."""
        for attempt in range(self.backend_retries + 1):
            try:
                return (await self.backend.generate([prompt]))[0]
            except BackendError as error:
                if attempt == self.backend_retries or not error.retryable:
                    raise
                await asyncio.sleep(0.5 * 2**attempt)
        raise BackendError("unreachable")


def newline_ids(tokenizer: Any) -> tuple[int, ...]:
    """Ids of all tokens whose text contains a line break: any of them ends a line."""
    special = set(tokenizer.all_special_ids)
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return tuple(i for i, text in enumerate(texts) if "\n" in text and i not in special)
