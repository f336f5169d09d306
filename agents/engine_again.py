"""An engine that dies is started again by Ray in its place, and who asked it something asks once more.

Ray itself tells the two cases apart: a call of an actor that will be back raises ActorUnavailableError, a call of one
that will not raises ActorDiedError. Other engines, and the games that wait for them, notice nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import ray

Answer = TypeVar("Answer")

RESTARTS = 20
"""So many times Ray starts an engine's actor again."""
DEATHS = 3
"""So many deaths under one question, and it is not asked again: it may be what kills the engine."""
BACK_S = 300.0
"""An engine is waited for so long; a node that is lost may have had the only place for it."""


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


async def _result(ref: Any) -> Any:
    return await ref
