"""Models that run through transformers with hooks, as a table names them (`agents.backends.registry.Provider`)."""

from __future__ import annotations

import msgspec

from agents.backends.base import Backend
from agents.backends.hooked.settings import HookedSettings
from agents.backends.registry import SettingsError, Spec


def settings_of(spec: Spec) -> HookedSettings:
    """The settings of the table. Raises SettingsError, naming the known ones."""
    try:
        return msgspec.convert(spec.settings, HookedSettings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{error}; known: {', '.join(HookedSettings.__struct_fields__)}") from error


def check(spec: Spec) -> None:
    """Whether the settings make sense."""
    settings_of(spec)


def start(spec: Spec) -> Backend:
    """One actor with the model. Ray must be running."""
    from agents.backends.hooked.actor import ActorBackend

    return ActorBackend.start(
        spec.name,
        spec.need_folder(),
        device=spec.device,
        max_concurrent=spec.max_concurrent,
        settings=settings_of(spec),
        layers=spec.layers,
    )


def holds(spec: Spec) -> int | None:
    """As the settings say."""
    return settings_of(spec).cache_tokens
