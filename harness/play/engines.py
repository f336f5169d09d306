"""Starts the model engines of a run and hands out what runners need to reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from agents.backends.base import Backend, BackendError, OnActors
from agents.backends.registry import provider
from harness.config.sections import ActivationsSection, BackendSection, BudgetSection
from harness.play.preflight.backends import in_words_of, spec_of


def start_backend(
    name: str, section: BackendSection, layers: Sequence[str] | None = None, usage: bool = False
) -> Backend:
    """Start one backend and wait until it answers. Ray must be running. Raises BackendError, ModelFilesError.

    layers: the streams that a transformers backend returns on request (`agents.hooks.hooks.named_points`).
    usage: whether a server must report token counts.
    """
    spec = spec_of(name, section, layers=layers, usage=usage)
    with in_words_of(name):
        return provider(section.kind).start(spec)


def start_backends(
    used: Mapping[str, BackendSection],
    say: Callable[[str], None],
    activations: ActivationsSection | None = None,
    budget: BudgetSection | None = None,
) -> dict[str, Backend]:
    """Start all backends; those already started are stopped again when one fails.

    budget: a limit on tokens or cost needs servers that report token counts.
    """
    started: dict[str, Backend] = {}
    limits = () if budget is None else (budget.seat, budget.game, budget.run)
    usage = any(limit is not None and (limit.tokens, limit.cost) != (None, None) for limit in limits)
    layers = None
    if activations is not None and activations.while_playing:
        layers = ("all",) if activations.layers == "all" else tuple(map(str, activations.layers))
    try:
        for name, section in used.items():
            n = section.replicas or 1
            several = "the engine" if n == 1 else f"{n} engines side by side"
            say(f"starting {several} of {name} ({section.kind}, {section.model})")
            started[name] = start_backend(name, section, layers, usage)
    except BaseException:
        stop_backends(started)
        raise
    return started


def engine_actors(backends: Mapping[str, Backend]) -> dict[str, Any]:
    """The actors behind backends that have some, by the backend's name, `name/0` and so on where it has replicas."""
    actors = {name: b.actors for name, b in backends.items() if isinstance(b, OnActors)}
    return {
        f"{name}/{i}" if len(several) > 1 else name: actor
        for name, several in actors.items()
        for i, actor in enumerate(several)
    }


def stop_backends(backends: Mapping[str, Backend]) -> None:
    """Free the models; skips engines that are already gone."""
    if backends:
        asyncio.run(close_backends(backends))


async def close_backends(backends: Mapping[str, Backend]) -> None:
    """`stop_backends`, in the event loop in which they were asked."""

    async def close(backend: Backend) -> None:
        try:
            await asyncio.wait_for(backend.close(), 40)
        except (BackendError, TimeoutError, ray.exceptions.RayError):
            return

    await asyncio.gather(*(close(backend) for backend in backends.values()))
