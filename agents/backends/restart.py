"""Actor restart: Ray restarts an engine that died, and its callers ask again.

Ray distinguishes the two cases: a call of an actor that will be restarted raises ActorUnavailableError, a call of one
that will not raises ActorDiedError. Other engines and their games are not affected.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

import ray

from games.printable import lines_of

Answer = TypeVar("Answer")

RESTARTS = 20
"""Number of times that Ray restarts an engine's actor."""
DEATHS = 3
"""After this many deaths during one question it is not asked again: it may be what kills the engine."""
BACK_S = 300.0
"""Seconds to wait for an engine; a lost node may have had the only place for it."""
SETTLE_S = 20.0
"""Seconds that the final look gives an engine that was found dead: it is back before games that asked it can end, but
on a busy machine its answer takes a while."""
AGAIN_S = 0.1
"""Seconds before one that is starting is asked again whether it is there."""


class Restartable:
    """An actor whose death can be noticed without asking it anything. Its class also has a method `ready`."""

    async def life(self) -> None:
        """Never returns: a call of it fails when the actor dies."""
        await asyncio.Event().wait()


class Deaths:
    """Reports when engines die and when they are back, to a caller that does not use them."""

    def __init__(self, engines: Mapping[str, Any], every_s: float = 1.0) -> None:
        """engines: name -> actor, a `Restartable`. every_s: seconds between two looks, those between are free."""
        self._engines = dict(engines)
        self._every_s = every_s
        self._looked_at = -math.inf
        self._away: dict[str, float] = {}
        """Engine -> when it was found dead."""
        self._calls = {actor.life.remote(): name for name, actor in self._engines.items()}

    def news(self, final: bool = False) -> Iterator[tuple[str, float | None]]:
        """Since the last look: (engine, None) of one that has died, (engine, seconds it was away) of one that is back.

        Waits for nothing, unless it is the final look: that one is never skipped, and gives engines that are away
        `SETTLE_S` to come back, since games can end sooner after that than the next look. An engine that stays away is
        not told: whoever asks it something hears of that.
        """
        if not self._calls or (not final and time.monotonic() - self._looked_at < self._every_s):
            return
        self._looked_at = time.monotonic()
        yield from self._look(list(self._calls), 0.0)
        deadline = time.monotonic() + SETTLE_S
        while final and (away := [call for call, name in self._calls.items() if name in self._away]):
            if (left := deadline - time.monotonic()) <= 0:
                break
            yield from self._look(away, left)
            time.sleep(min(AGAIN_S, left))

    def _look(self, calls: list[Any], wait_s: float) -> Iterator[tuple[str, float | None]]:
        for call in ray.wait(calls, num_returns=len(calls), timeout=wait_s)[0]:
            name = self._calls.pop(call)
            actor = self._engines[name]
            try:
                ray.get(call)
            except ray.exceptions.ActorUnavailableError:
                if name not in self._away:
                    self._away[name] = time.monotonic()
                    yield name, None
                self._calls[actor.ready.remote()] = name
            except ray.exceptions.RayError:
                continue
            else:
                self._calls[actor.life.remote()] = name
                yield name, time.monotonic() - self._away.pop(name)


async def answered(actor: Any, ask: Callable[[], Awaitable[Answer]], back_s: float = BACK_S) -> Answer:
    """What `ask`, which calls the actor, returns; asked again where the actor died under it and came back.

    actor: has a method `ready`. Raises what the last `ask` raised: a RayActorError where the engine stays away.
    """
    for _ in range(DEATHS - 1):
        try:
            return await ask()
        except ray.exceptions.ActorUnavailableError:
            if not await _back(actor, time.monotonic() + back_s):
                raise
    return await ask()


async def _back(actor: Any, deadline: float) -> bool:
    """Wait until the actor answers; False where it never will, or not in time."""
    while (left := deadline - time.monotonic()) > 0:
        try:
            await asyncio.wait_for(_result(actor.ready.remote()), left)
        except ray.exceptions.ActorUnavailableError:
            await asyncio.sleep(min(1.0, left))
        except (TimeoutError, ray.exceptions.RayError):
            return False
        else:
            return True
    return False


def last_line(error: BaseException) -> str:
    """The last line of a remote error, without Ray's traceback."""
    lines = [line.strip() for line in lines_of(str(error)) if line.strip()]
    return lines[-1] if lines else type(error).__name__


async def _result(ref: Any) -> Any:
    return await ref
