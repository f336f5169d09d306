"""The hooked transformers backend: generates with a model and reads its residual stream in the same pass.

Concurrent `generate()` calls, of whatever games, are collected for a few milliseconds and run as one batch by one
worker thread; a session's keys and values are kept for its next turn. It is for research at small scale and for
steering during play; vLLM generates faster.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch

from agents.backends.base import BackendError, Capabilities, Generation, ModelBroken, Prompt, check_prompt
from agents.backends.hooked.decode import decode
from agents.backends.hooked.session_cache import SessionCache
from agents.hooks.hooks import Hooks, Points, choose_points
from agents.hooks.model import HookedModel, load_hooked_model
from agents.hooks.steering import Intervention, SteeringError

Steer = Callable[[Prompt], Sequence[Intervention]]
"""Which interventions a prompt gets: decides by its session (game and seat) or its ids."""


class _Ask(msgspec.Struct):
    prompt: Prompt
    interventions: list[Intervention]
    future: asyncio.Future[Generation]
    loop: asyncio.AbstractEventLoop


class HookedBackend:
    """Backend over a model in this process."""

    def __init__(
        self,
        hooked: HookedModel,
        points: Points | None = None,
        *,
        max_batch: int = 32,
        max_batch_tokens: int = 32_768,
        max_wait_s: float = 0.004,
        cache_tokens: int = 200_000,
        steer: Steer | None = None,
    ) -> None:
        """points: the streams of captured activations, by default resid_post of all layers.

        max_batch: prompts per batch; max_batch_tokens: prompt tokens per batch, padding included.
        max_wait_s: how long a first prompt waits for others to batch with. cache_tokens: bound of the session cache.
        """
        self.model = hooked.name
        self.points = points or choose_points(hooked.layout)
        self.layers, self.d_model = self.points.names(), hooked.layout.d_model
        self.capabilities = Capabilities(reads=True, steers=True, layers=self.layers, d_model=self.d_model)
        self.max_context = hooked.max_context
        self.n_batches = 0
        """Batches run so far."""
        self._hooked = hooked
        self._steer = steer
        self._max_batch, self._max_batch_tokens, self._max_wait = max_batch, max_batch_tokens, max_wait_s
        self._sessions = SessionCache(cache_tokens)
        self._inbox: queue.SimpleQueue[_Ask | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="hooked-backend", daemon=True)
        self._thread.start()

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answer all prompts; activations are float32 (n_points, d_model) in the order of `points.names()`.

        Raises BackendError, SteeringError when an intervention touched nothing, ModelBroken at the first NaN.
        """
        if self._closed:
            raise BackendError(f"the backend of {self.model} was closed; make a new one", retryable=False)
        loop = asyncio.get_running_loop()
        asks: list[_Ask] = []
        for prompt in prompts:
            check_prompt(prompt, self._hooked.max_context, self._hooked.vocab_size)
            interventions = [*prompt.interventions, *(self._steer(prompt) if self._steer is not None else ())]
            asks.append(_Ask(prompt, interventions, loop.create_future(), loop))
        for ask in asks:
            self._inbox.put(ask)
        return list(await asyncio.gather(*(ask.future for ask in asks)))

    async def close(self) -> None:
        """Stop the worker thread and forget all sessions."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
            self._sessions.clear()

    def _run(self) -> None:
        hooks = Hooks(self._hooked.layout, self.points, editing=True)
        with hooks.attached():
            while True:
                asks, more = self._collect()
                for batch in self._batches(asks):
                    self._answer(hooks, batch)
                if not more:
                    return

    def _collect(self) -> tuple[list[_Ask], bool]:
        """At least one prompt, and what arrives within the wait; False once the backend is closed."""
        first = self._inbox.get()
        if first is None:
            return [], False
        asks, until = [first], time.monotonic() + self._max_wait
        while len(asks) < self._max_batch:
            try:
                item = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if item is None:
                return asks, False
            asks.append(item)
        return asks, True

    def _batches(self, asks: list[_Ask]) -> list[list[_Ask]]:
        """Split so that no batch exceeds the token bound; rows of like length go together."""
        batches: list[list[_Ask]] = []
        # two prompts of one session may both read its cache entry in one batch, though neither extends the other
        for ask in sorted(asks, key=lambda a: len(a.prompt.ids)):
            width = len(ask.prompt.ids)
            if batches and (len(batches[-1]) + 1) * width <= self._max_batch_tokens:
                batches[-1].append(ask)
            else:
                batches.append([ask])
        return batches

    def _answer(self, hooks: Hooks, batch: list[_Ask]) -> None:
        outcome: list[Generation] | Exception
        try:
            outcome = decode(
                self._hooked,
                hooks,
                [a.prompt for a in batch],
                self._sessions,
                [a.interventions for a in batch],
            )
            self.n_batches += 1
        except (SteeringError, ModelBroken) as error:
            outcome = error
        except (RuntimeError, ValueError, IndexError, torch.OutOfMemoryError) as error:
            longest = max(len(a.prompt.ids) for a in batch)
            outcome = BackendError(
                f"{self.model} failed on a batch of {len(batch)} prompts, longest {longest} tokens "
                f"({type(error).__name__}: {error}); if memory ran out, lower max_batch or max_batch_tokens"
            )
        for i, ask in enumerate(batch):
            if not ask.loop.is_closed():
                ask.loop.call_soon_threadsafe(
                    _settle, ask, outcome if isinstance(outcome, Exception) else outcome[i]
                )


def _settle(ask: _Ask, value: Generation | Exception) -> None:
    if ask.future.done():
        return
    if isinstance(value, Exception):
        ask.future.set_exception(value)
    else:
        ask.future.set_result(value)


def load_hooked_backend(
    model_dir: str | Path, *, dtype: str = "auto", device: str = "auto", steer: Steer | None = None
) -> HookedBackend:
    """The backend of a model folder with default settings. Raises ModelFilesError, UnknownArchitecture."""
    return HookedBackend(load_hooked_model(model_dir, dtype=dtype, device=device), steer=steer)
