"""The Ray actor around a hooked transformers model, and the backend that asks it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from agents.backends.base import BackendError, Capabilities, EngineLost, Generation, Prompt
from agents.backends.environment import checkout
from agents.backends.hooked.settings import HookedSettings
from agents.backends.restart import RESTARTS, Restartable, answered, last_line
from agents.backends.vllm.settings import engine_env


class HookedActor(Restartable):
    """The Ray actor around a hooked transformers model."""

    def __init__(
        self,
        folder: str,
        device: str,
        max_batch: int,
        settings: HookedSettings,
        layers: Sequence[str] | None = None,
    ) -> None:
        from agents.backends.hooked.backend import HookedBackend
        from agents.hooks.hooks import configured_points
        from agents.hooks.model import load_hooked_model

        hooked = load_hooked_model(folder, device=device, dtype=settings.dtype)
        points = None if layers is None else configured_points(hooked.layout, layers)
        self._backend = HookedBackend(
            hooked,
            points,
            max_batch=max_batch,
            max_batch_tokens=settings.max_batch_tokens,
            max_wait_s=settings.max_wait_s,
            cache_tokens=settings.cache_tokens,
        )

    async def ready(self) -> tuple[str, tuple[str, ...], int]:
        """The model's name once it is loaded, the names of the streams that it can return, their width."""
        return self._backend.model, self._backend.points.names(), self._backend.d_model

    async def generate(self, prompts: list[Prompt]) -> list[Generation]:
        """The backend's `generate`."""
        return await self._backend.generate(prompts)


class ActorBackend:
    """Backend over one actor that any runner can reach."""

    def __init__(self, model: str, actor: Any, layers: tuple[str, ...] = (), d_model: int = 0) -> None:
        self.model = model
        self.capabilities = Capabilities(reads=True, steers=True, layers=tuple(layers), d_model=d_model)
        self._actor = actor

    @classmethod
    def start(
        cls,
        name: str,
        folder: Path,
        *,
        device: str = "auto",
        max_concurrent: int = 64,
        settings: HookedSettings | None = None,
        layers: Sequence[str] | None = None,
    ) -> ActorBackend:
        """Start the actor and wait until the model is loaded. Raises BackendError.

        Args:
            name: the backend's name in messages.
            folder: the model, in Hugging Face format.
            device: auto, cpu, gpu or cuda.
            max_concurrent: prompts decoded side by side at most.
            settings: dtype, batches, cache; the defaults where they are None.
            layers: the streams that it returns on request (`agents.hooks.hooks.named_points`).
        """
        device = {"gpu": "cuda"}.get(device, device)
        env = engine_env("cpu" if device != "cuda" else "gpu") | {"PYTHONPATH": str(checkout())}
        wants_gpu = device == "cuda" or (device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)
        actor = (
            ray.remote(HookedActor)
            .options(
                num_cpus=0,
                num_gpus=1 if wants_gpu else 0,
                max_concurrency=1000,
                max_restarts=RESTARTS,
                runtime_env={"env_vars": env},
            )
            .remote(str(folder), device, max_concurrent, settings or HookedSettings(), layers)
        )
        try:
            told = ray.get(actor.ready.remote(), timeout=300)
        except ray.exceptions.RayError as error:
            ray.kill(actor)
            raise BackendError(
                f"the model of backend {name} could not be loaded: {last_line(error)}", retryable=False
            ) from error
        return cls(told[0], actor, told[1], told[2])

    @property
    def actors(self) -> tuple[Any, ...]:
        """The one actor."""
        return (self._actor,)

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answer all prompts. Raises BackendError, and EngineLost where the actor is gone."""
        try:
            return await answered(self._actor, lambda: self._generate(prompts))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause  # BackendError, or SteeringError for an answer that was not steered
            raise (cause if isinstance(cause, RuntimeError) else BackendError(str(error))) from error
        except ray.exceptions.RayError as error:
            raise EngineLost(f"the engine of {self.model} is gone ({type(error).__name__})") from error

    async def _generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        done: list[Generation] = await self._actor.generate.remote(list(prompts))
        return done

    async def close(self) -> None:
        """End the actor."""
        ray.kill(self._actor)
