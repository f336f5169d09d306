"""A vLLM engine stepped by one thread of its own: many requests in flight, continuous batching, asyncio outside.

The in-process `LLMEngine` is used rather than `AsyncLLM` because the latter always starts a second process, which
on two CPU cores costs 40 s of start-up and a hop per token. The thread that builds the engine is the only one that
touches it; requests arrive through a queue and leave through asyncio futures. New requests join the running batch
at the next step.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from agents.models.lean import lean_imports

_LOG = logging.getLogger(__name__)


class RawOutput(msgspec.Struct, frozen=True):
    """One finished request, as token ids."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    n_cached: int
    finish_reason: str
    """`stop` or `length`."""
    first: dict[int, float] = {}
    """Log-probabilities returned for the first token, by token id."""

    def read(self, ids: Sequence[int]) -> tuple[float, ...]:
        """Log-probabilities of some ids as the first token."""
        return tuple(self.first[i] for i in ids)


class EngineDead(RuntimeError):
    """The engine's thread has ended; nothing more can be asked of it."""


class _Ask(msgspec.Struct):
    request_id: str
    ids: Sequence[int]
    params: Any
    lora: Any
    future: asyncio.Future[RawOutput]
    loop: asyncio.AbstractEventLoop


class EngineLoop:
    """Owns the engine. Build it, `await ask(...)` from any asyncio loop, `stop()` it."""

    def __init__(self, arguments: dict[str, Any], lora: Any = None) -> None:
        """Start the engine with these EngineArgs; returns when it is ready, raises what vLLM raised.

        lora: the LoRARequest that requests carry.
        """
        self._lora = lora
        self.steps = 0
        self.busy_s = 0.0
        """Seconds spent in engine steps; the engine was idle in the rest of the time."""
        self._arguments = arguments
        self._inbox: queue.SimpleQueue[_Ask | str | None] = queue.SimpleQueue()
        self._pending: dict[str, _Ask] = {}
        self._failure: BaseException | None = None
        self._started = threading.Event()
        self._counter = 0
        self._thread = threading.Thread(target=self._run, name="vllm-engine", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    async def ask(self, ids: Sequence[int], params: Any, *, base: bool = False) -> RawOutput:
        """Run one request to its end. `params` is a vLLM SamplingParams; base: without the adapter. Raises EngineDead
        or ValueError."""
        if self._failure is not None or not self._thread.is_alive():
            raise EngineDead(f"the engine stopped earlier: {self._failure!r}")
        loop = asyncio.get_running_loop()
        self._counter += 1
        ask = _Ask(f"r{self._counter}", ids, params, None if base else self._lora, loop.create_future(), loop)
        self._inbox.put(ask)
        try:
            return await ask.future
        except asyncio.CancelledError:
            self._inbox.put(ask.request_id)  # tell the thread to abort it
            raise

    def stop(self) -> None:
        """End the thread and free the engine; pending requests fail with EngineDead."""
        self._inbox.put(None)
        self._thread.join(timeout=30)

    def _run(self) -> None:
        engine: Any = None
        try:
            with lean_imports():
                from vllm.engine.arg_utils import EngineArgs
                from vllm.v1.engine.llm_engine import LLMEngine

            engine = LLMEngine.from_engine_args(EngineArgs(**self._arguments))
        except BaseException as error:  # noqa: BLE001 - handed to the constructor, which raises it in the caller's thread
            self._failure = error
            self._started.set()
            return
        self._started.set()
        try:
            while self._take(engine):
                began = time.perf_counter()
                self._settle([done for output in engine.step() if (done := self._finished(output))])
                self.steps += 1
                self.busy_s += time.perf_counter() - began
        except BaseException as error:  # noqa: BLE001 - one broken step ends the engine; every waiting request is told
            self._failure = error
            _LOG.exception("the engine failed in step %d with %d requests", self.steps, len(self._pending))
        self._fail_all(EngineDead(f"the engine stopped: {self._failure!r}"))
        engine.engine_core.shutdown()

    def _take(self, engine: Any) -> bool:
        """Move what is in the inbox into the engine; blocks while there is nothing to do. False: stop."""
        while True:
            idle = not self._pending
            try:
                item = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, str):
                if item in self._pending:
                    del self._pending[item]
                    engine.abort_request([item])
                continue
            began = time.perf_counter()
            try:
                prompt = {"type": "token", "prompt_token_ids": list(item.ids)}
                engine.add_request(item.request_id, prompt, item.params, lora_request=item.lora)
                self._pending[item.request_id] = item
            except ValueError as error:  # this request is unusable, but the engine is fine
                self._settle([(item, error)])
            self.busy_s += time.perf_counter() - began

    def _finished(self, output: Any) -> tuple[_Ask, RawOutput] | None:
        if not output.finished:
            return None
        ask = self._pending.pop(output.request_id, None)
        if ask is None:
            return None
        done = output.outputs[0]
        ids = tuple(int(i) for i in done.token_ids)
        rows: list[Any] = list(done.logprobs or ())
        logprobs = tuple(float(row[i].logprob) for i, row in zip(ids, rows, strict=False) if i in row)
        first = {int(i): float(entry.logprob) for i, entry in rows[0].items()} if rows else {}
        n_cached = int(output.num_cached_tokens or 0)
        return ask, RawOutput(ids, logprobs, n_cached, str(done.finish_reason), first)

    def _fail_all(self, error: BaseException) -> None:
        asks = list(self._pending.values())
        self._pending.clear()
        while True:
            try:
                item = self._inbox.get(block=False)
            except queue.Empty:
                break
            if isinstance(item, _Ask):
                asks.append(item)
        self._settle([(ask, error) for ask in asks])

    @staticmethod
    def _settle(settled: Sequence[tuple[_Ask, RawOutput | BaseException]]) -> None:
        """Hand out results; those of one event loop in one call, since each call wakes it."""

        def settle(mine: Sequence[tuple[_Ask, RawOutput | BaseException]]) -> None:
            for ask, value in mine:
                if ask.future.done():
                    continue
                if isinstance(value, BaseException):
                    ask.future.set_exception(value)
                else:
                    ask.future.set_result(value)

        for loop in {ask.loop for ask, _ in settled}:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, [one for one in settled if one[0].loop is loop])
