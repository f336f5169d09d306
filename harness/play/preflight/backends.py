"""Backends as a configuration has them, checked before anything is started or written: nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from agents.backends.hooked.settings import HookedSettings
from agents.backends.vllm.settings import NAMES, EngineSettings, check_settings
from harness.config.models import model_folder
from harness.config.sections import BackendSection
from harness.errors import ConfigurationError
from harness.play.preflight.keys import check_no_secrets, read_key

if TYPE_CHECKING:
    from agents.backends.openai.client import ServerBackend


def check_backends(used: Mapping[str, BackendSection], keys: bool = True) -> None:
    """Find wrong settings, addresses and keys before anything is started or written; asks no server.

    keys: whether the keys have to be there. Raises ConfigurationError, ModelFilesError.
    """
    for name, section in used.items():
        check_no_secrets(name, section.settings)
        if section.kind == "openai" and not section.serve:
            client_of(name, section, keys)
            continue
        model_folder(section)
        if section.kind == "transformers":
            hooked_settings(name, section)
            continue
        try:
            check_settings(vllm_settings(name, section))
        except ValueError as error:
            raise ConfigurationError(f"backends.{name}.settings: {error}") from error


def client_of(name: str, section: BackendSection, keys: bool = True) -> ServerBackend:
    """The client of a server, which has asked it nothing yet. Raises ConfigurationError."""
    from agents.backends.openai.client import ServerBackend

    key = read_key(name, section.api_key_env) if section.api_key_env is not None and keys else None
    known = ("api", "timeout_s", "give_up_s", "fields", "system_role", "check")
    try:
        return ServerBackend(
            section.url or "",
            section.model,
            tokenizer=section.tokenizer,
            api_key=key,
            max_concurrent=section.max_concurrent,
            extra={k: v for k, v in section.settings.items() if k not in known},
            **{k: v for k, v in section.settings.items() if k in known},
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"backends.{name}: {error}") from error


def hooked_settings(name: str, section: BackendSection) -> HookedSettings:
    """The settings of a transformers model. Raises ConfigurationError."""
    try:
        return msgspec.convert(section.settings, HookedSettings)
    except msgspec.ValidationError as error:
        known = ", ".join(HookedSettings.__struct_fields__)
        raise ConfigurationError(f"backends.{name}.settings: {error}; known: {known}") from error


def vllm_settings(name: str, section: BackendSection) -> EngineSettings:
    """The settings of a vLLM engine. Raises ConfigurationError."""
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
        ours = next(
            (
                f"; our name for {theirs} is {name}"
                for theirs, name in NAMES.items()
                if theirs in section.settings
            ),
            "",
        )
        raise ConfigurationError(f"backends.{name}.settings: {error}{ours}; known: {known}") from error


class _Strict(EngineSettings, frozen=True, forbid_unknown_fields=True):
    """Engine settings as a user writes them: unknown ones are refused."""
