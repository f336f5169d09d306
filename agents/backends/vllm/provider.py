"""Models that run in vLLM's engine, as a configuration names them (`agents.backends.registry.Provider`)."""

from __future__ import annotations

import msgspec

from agents.backends.base import Backend
from agents.backends.environment import on_gpu
from agents.backends.registry import SettingsError, Spec
from agents.backends.vllm.settings import NAMES, EngineSettings, check_settings
from agents.models.adapter import base_of, is_adapter
from agents.models.cache import cached_bytes


class _Strict(EngineSettings, frozen=True, forbid_unknown_fields=True):
    """Engine settings as a user writes them: unknown ones are refused."""


def settings_of(spec: Spec) -> EngineSettings:
    """The settings of the table. Raises SettingsError, naming the known ones."""
    plain = {
        "device": spec.device,
        "replicas": spec.replicas,
        "tensor_parallel": spec.tensor_parallel,
        "max_concurrent": spec.max_concurrent,
    }
    try:
        return msgspec.convert(plain | spec.settings, _Strict)
    except msgspec.ValidationError as error:
        known = ", ".join(EngineSettings.__struct_fields__)
        theirs = next((name for name in NAMES if name in spec.settings), None)
        ours = "" if theirs is None else f"; our name for {theirs} is {NAMES[theirs]}"
        raise SettingsError(f"{error}{ours}; known: {known}") from error


def check(spec: Spec) -> None:
    """Whether the settings make sense."""
    try:
        check_settings(settings_of(spec))
    except ValueError as error:
        raise SettingsError(str(error)) from error


def start(spec: Spec) -> Backend:
    """The engines of the table. Ray must be running."""
    from agents.backends.vllm.engine import start_engines

    return start_engines(spec.need_folder(), settings_of(spec))


def holds(spec: Spec) -> int | None:
    """What `kv_cache_gb` has room for, in all replicas; None on a GPU, whose memory the engine divides at its start."""
    settings, folder = settings_of(spec), spec.need_folder()
    if on_gpu(settings.device):
        return None
    size = cached_bytes(base_of(folder) if is_adapter(folder) else folder, settings.dtype)
    return None if size is None else settings.kv_cache_gb * 2**30 // size * settings.replicas
