"""Starts the model engines of a run and hands out what runners need to reach them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import ray

from agents.backends.base import Backend, BackendError, EngineLost, Generation, Prompt
from agents.backends.restart import RESTARTS, Mortal, answered
from agents.backends.vllm.settings import EngineSettings, engine_env
from harness.config.sections import ActivationsSection, BackendSection, Config
from harness.errors import ConfigurationError
from harness.run.manifest import checkout


def used_backends(configs: Iterable[Config]) -> dict[str, BackendSection]:
    """The backends that some seated player asks, by name."""
    used: dict[str, BackendSection] = {}
    for config in configs:
        for agent in config.roster.agents():
            backend = config.agents[agent].backend
            if backend is not None:
                used[backend] = config.backends[backend]
    return used


def model_folder(section: BackendSection) -> Path:
    """The folder with the tokenizer (and, but for a server, the weights) of a backend. Raises ModelFilesError."""
    from agents.models.folder import check_model_dir
    from agents.models.small import find_model

    if section.kind == "openai" and not section.serve:
        return Path(section.tokenizer or section.model).expanduser().resolve()
    return check_model_dir(find_model(section.model))


def model_names(backends: Mapping[str, BackendSection]) -> dict[str, str]:
    """Backend name -> `name@hash` of its weights; reads the files, starts nothing. Raises ModelFilesError."""
    from agents.models.folder import model_name

    return {
        name: section.model
        if section.kind == "openai" and not section.serve
        else model_name(model_folder(section))
        for name, section in backends.items()
    }


def start_backend(name: str, section: BackendSection, layers: Sequence[str] | None = None) -> Backend:
    """layers: which streams a transformers backend tells where it is asked to (`agents.hooks.hooks.named_points`).

    Start one backend and wait until it answers. Ray must be running. Raises BackendError, ModelFilesError."""
    if section.kind == "vllm":
        from agents.backends.vllm.engine import start_engines

        return start_engines(model_folder(section), _vllm_settings(name, section))
    if section.kind == "transformers":
        return ActorBackend.start(name, model_folder(section), section, layers)
    return _server(name, section)


def start_backends(
    used: Mapping[str, BackendSection],
    say: Callable[[str], None],
    activations: ActivationsSection | None = None,
) -> dict[str, Backend]:
    """Start all backends; those already started are stopped again when one fails."""
    started: dict[str, Backend] = {}
    layers = None
    if activations is not None and activations.while_playing:
        layers = ("all",) if activations.layers == "all" else tuple(map(str, activations.layers))
    try:
        for name, section in used.items():
            say(f"starting the engine of {name} ({section.kind}, {section.model})")
            started[name] = start_backend(name, section, layers)
    except BaseException:
        stop_backends(started)
        raise
    return started


def engine_actors(backends: Mapping[str, Backend]) -> dict[str, Any]:
    """The actors behind backends that have some, by the backend's name, `name/0` and so on where it has replicas."""
    actors = {name: getattr(backend, "actors", ()) for name, backend in backends.items()}
    return {
        f"{name}/{i}" if len(several) > 1 else name: actor
        for name, several in actors.items()
        for i, actor in enumerate(several)
    }


def stop_backends(backends: Mapping[str, Backend]) -> None:
    """Free the models; engines that are already gone are passed over."""
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


def _server(name: str, section: BackendSection) -> Backend:
    from agents.backends.openai.client import ServerBackend

    key = None
    if section.api_key_env is not None:
        key = os.environ.get(section.api_key_env)
        if not key:
            raise ConfigurationError(
                f"backends.{name}.api_key_env: the environment variable {section.api_key_env} is not set; export the "
                "key in it, or remove api_key_env for a server that asks for none"
            )
    if section.serve:
        from agents.backends.openai.serve import start_server

        return start_server(model_folder(section), _vllm_settings(name, section)).backend(
            max_concurrent=section.max_concurrent
        )
    known = ("api", "timeout_s", "give_up_s")
    try:
        server = ServerBackend(
            section.url or "",
            section.model,
            tokenizer=section.tokenizer,
            api_key=key,
            max_concurrent=section.max_concurrent,
            extra={k: v for k, v in section.settings.items() if k not in known},
            **{k: v for k, v in section.settings.items() if k in known},
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"backends.{name}.settings: {error}") from error
    server.check()
    return server


def _vllm_settings(name: str, section: BackendSection) -> EngineSettings:
    plain = {
        "device": section.device,
        "replicas": section.replicas,
        "tensor_parallel": section.tensor_parallel,
        "max_concurrent": section.max_concurrent,
    }
    try:
        return msgspec.convert(plain | section.settings, _Strict)
    except msgspec.ValidationError as error:
        known = ", ".join(EngineSettings.__struct_fields__)
        raise ConfigurationError(f"backends.{name}.settings: {error}; known: {known}") from error


class _Strict(EngineSettings, frozen=True, forbid_unknown_fields=True):
    """Engine settings as a user writes them: unknown ones are refused."""


class HookedActor(Mortal):
    """The Ray actor around a hooked transformers model."""

    def __init__(
        self,
        folder: str,
        device: str,
        max_batch: int,
        settings: dict[str, Any],
        layers: Sequence[str] | None = None,
    ) -> None:
        from agents.backends.hooked.backend import HookedBackend
        from agents.hooks.model import load_hooked_model
        from harness.capture.reader import points_of

        hooked = load_hooked_model(folder, device=device)
        points = None if layers is None else points_of(hooked, layers)
        self._backend = HookedBackend(hooked, points, max_batch=max_batch, **settings)

    async def ready(self) -> tuple[str, tuple[str, ...], int]:
        """The model's name once it is loaded, the names of the streams that it tells, their width."""
        return self._backend.model, self._backend.points.names(), self._backend.d_model

    async def generate(self, prompts: list[Prompt]) -> list[Generation]:
        """As the backend's own."""
        return await self._backend.generate(prompts)


class ActorBackend:
    """Backend over one actor that any runner can reach."""

    reads = True
    steers = True

    def __init__(self, model: str, actor: Any, layers: tuple[str, ...] = (), d_model: int = 0) -> None:
        self.model = model
        self.layers, self.d_model = layers, d_model
        self._actor = actor

    @classmethod
    def start(
        cls, name: str, folder: Path, section: BackendSection, layers: Sequence[str] | None = None
    ) -> ActorBackend:
        """Start the actor and wait until the model is loaded. Raises BackendError."""
        device = {"gpu": "cuda"}.get(section.device, section.device)
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
            .remote(str(folder), device, section.max_concurrent, section.settings, layers)
        )
        try:
            told = ray.get(actor.ready.remote(), timeout=300)
        except ray.exceptions.RayError as error:
            ray.kill(actor)
            raise BackendError(
                f"the model of backend {name} could not be loaded: {error}", retryable=False
            ) from error
        return cls(told[0], actor, told[1], told[2])

    @property
    def actors(self) -> tuple[Any, ...]:
        """The one."""
        return (self._actor,)

    async def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Answer all prompts. Raises BackendError, and EngineLost where the actor is gone."""
        try:
            return await answered(self._actor, lambda: self._generate(prompts))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause  # BackendError, or SteeringError: an answer that was not steered is none
            raise (cause if isinstance(cause, RuntimeError) else BackendError(str(error))) from error
        except ray.exceptions.RayError as error:
            raise EngineLost(f"the engine of {self.model} is gone ({type(error).__name__})") from error

    async def _generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        done: list[Generation] = await self._actor.generate.remote(list(prompts))
        return done

    async def close(self) -> None:
        """End the actor."""
        ray.kill(self._actor)
