"""Starts the model engines of a run and hands out what runners need to reach them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import ray

from agents.backends.base import Backend, BackendError
from agents.backends.hooked.actor import ActorBackend
from agents.backends.vllm.settings import EngineSettings
from harness.config.models import model_folder
from harness.config.sections import ActivationsSection, BackendSection
from harness.errors import ConfigurationError


def start_backend(name: str, section: BackendSection, layers: Sequence[str] | None = None) -> Backend:
    """layers: which streams a transformers backend tells where it is asked to (`agents.hooks.hooks.named_points`).

    Start one backend and wait until it answers. Ray must be running. Raises BackendError, ModelFilesError."""
    if section.kind == "vllm":
        from agents.backends.vllm.engine import start_engines

        return start_engines(model_folder(section), _vllm_settings(name, section))
    if section.kind == "transformers":
        return ActorBackend.start(
            name,
            model_folder(section),
            device=section.device,
            max_concurrent=section.max_concurrent,
            settings=section.settings,
            layers=layers,
        )
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
