"""The wire between a client and an engine actor: prompts and answers travel in bundles.

A call of a Ray actor costs both sides about a millisecond of processor time, which the engine's process loses. So
prompts that many games send at about the same time go out in one call, and that call returns with all answers that are
ready by then, whichever call their prompts came with.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")
Question = TypeVar("Question")

TOGETHER_S = 0.001
"""Questions that arrive within this many seconds go out together: games that got their answers ask again within it."""
MANY = 32
MANY_TOGETHER_S = 0.006
"""The same delay, and the number of open questions from which it is used: the engine is not idle then, and fewer calls
leave it more processor time."""


class Box(Generic[Question, Answer]):
    """The engine's side of one wire: questions being answered, and answers waiting to be fetched."""

    def __init__(self, answer: Callable[[Question], Coroutine[Any, Any, Answer]]) -> None:
        """answer: must not raise; an error is an answer as well."""
        self._answer = answer
        self._tasks: dict[int, asyncio.Task[Answer]] = {}
        self._ready: list[tuple[int, Answer]] = []
        self._call: asyncio.Future[None] | None = None

    async def exchange(self, questions: Sequence[tuple[int, Question]]) -> list[tuple[int, Answer]]:
        """Take numbered questions; the answers that are ready, as soon as there are any.

        A call that is still waiting goes home when the next one comes: one waiting call a wire is enough.
        """
        if self._call is not None and not self._call.done():
            self._call.set_result(None)
        for number, question in questions:
            task = asyncio.create_task(self._answer(question))
            self._tasks[number] = task
            task.add_done_callback(partial(self._done, number))
        if not self._ready and self._tasks:
            self._call = asyncio.get_running_loop().create_future()
            await self._call
        ready, self._ready = self._ready, []
        return ready

    def drop(self, numbers: Sequence[int]) -> None:
        """Nobody waits for these answers any more."""
        for number in numbers:
            if (task := self._tasks.get(number)) is not None:
                task.cancel()

    def _done(self, number: int, task: asyncio.Task[Answer]) -> None:
        del self._tasks[number]
        if not task.cancelled():
            self._ready.append((number, task.result()))
        if self._call is not None and not self._call.done():
            self._call.set_result(None)


class Link(Generic[Question, Answer]):
    """The client's side of one wire; belongs to one event loop, and rests while nothing is asked."""

    def __init__(self, actor: Any) -> None:
        """actor: its methods `exchange(wire, questions)` and `drop(wire, numbers)` are those of a `Box` a wire."""
        self._actor = actor
        self._name = uuid.uuid4().hex
        self._number = 0
        self._out: list[tuple[int, Question]] = []
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._calls: set[asyncio.Future[Any]] = set()
        self._asked = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def here(self) -> bool:
        """Whether it belongs to the running event loop."""
        return self._loop is asyncio.get_running_loop()

    async def ask(self, questions: Sequence[Question], timeout_s: float) -> list[Answer]:
        """The answers, in order. Raises TimeoutError, and what a call of the actor raises."""
        numbers = range(self._number, self._number + len(questions))
        self._number += len(questions)
        futures = [self._loop.create_future() for _ in questions]
        self._waiting.update(zip(numbers, futures, strict=True))
        self._out += zip(numbers, questions, strict=True)
        self._asked.set()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        try:
            return list(await asyncio.wait_for(asyncio.gather(*futures), timeout_s))
        finally:
            left = [number for number in numbers if self._waiting.pop(number, None) is not None]
            if left:
                self._out = [(number, question) for number, question in self._out if number not in left]
                self._actor.drop.remote(self._name, left)

    async def _run(self) -> None:
        """Send what is asked and hand out what comes back, as long as somebody waits."""
        try:
            while self._waiting:
                busy = len(self._waiting) - len(self._out) >= MANY
                await asyncio.sleep(MANY_TOGETHER_S if busy else TOGETHER_S)
                self._asked.clear()
                if self._out or not self._calls:
                    out, self._out = self._out, []
                    self._calls.add(
                        asyncio.ensure_future(_result(self._actor.exchange.remote(self._name, out)))
                    )
                asked = asyncio.ensure_future(self._asked.wait())
                done, _ = await asyncio.wait({*self._calls, asked}, return_when=asyncio.FIRST_COMPLETED)
                asked.cancel()
                for call in done & self._calls:
                    self._calls.discard(call)
                    self._hand_out(call.result())
        except Exception as error:  # noqa: BLE001 - it is raised where the answers are waited for
            waiting, self._waiting, self._out = self._waiting, {}, []
            for call in self._calls:
                call.cancel()
            self._calls.clear()
            for future in waiting.values():
                if not future.done():
                    future.set_exception(error)

    def _hand_out(self, answers: Sequence[tuple[int, Answer]]) -> None:
        for number, answer in answers:
            future = self._waiting.pop(number, None)
            if future is not None and not future.done():
                future.set_result(answer)


async def _result(ref: Any) -> Any:
    return await ref
