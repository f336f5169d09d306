"""Every kind of backend, by the word that a configuration uses. A new one is a module that follows `Provider`, and one
line here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from agents.backends.base import Backend, BackendError


class SettingsError(ValueError):
    """A setting that the kind of backend does not have, or that has an invalid value."""


class Spec(msgspec.Struct, frozen=True):
    """The specification of a backend: one `[backends.NAME]` table of a configuration, with its files resolved."""

    name: str
    """Its name in messages."""
    model: str
    """The model's name in the configuration."""
    folder: Path | None = None
    """The model's folder; None where the model lies on a server."""
    url: str | None = None
    serve: bool = False
    tokenizer: str | None = None
    api_key: str | None = None
    device: str = "auto"
    replicas: int = 1
    tensor_parallel: int = 1
    max_concurrent: int = 64
    settings: dict[str, Any] = {}
    """Further settings, specific to the kind."""
    layers: tuple[str, ...] | None = None
    """The streams of activations that it is to give while playing (`agents.hooks.hooks.named_points`); None: none."""
    usage: bool = False
    """Whether it must report token counts, which a budget needs."""

    def need_folder(self) -> Path:
        """The model's folder. Raises BackendError where there is none."""
        if self.folder is None:
            raise BackendError(f"backend {self.name} needs the folder of a model", retryable=False)
        return self.folder


class Provider(Protocol):
    """The functions of a module in `KINDS`."""

    def check(self, spec: Spec) -> None:
        """Find wrong settings before anything is started. Raises SettingsError, ValueError."""
        ...

    def start(self, spec: Spec) -> Backend:
        """A backend that answers. Raises BackendError, and what `check` raises."""
        ...

    def holds(self, spec: Spec) -> int | None:
        """Tokens of contexts whose keys and values it keeps at a time, so that a context that goes on is not computed
        again; None where that is not known before it is started. Raises what `check` raises."""
        ...


class Kind(msgspec.Struct, frozen=True):
    """One kind of backend, with its capabilities before any is started."""

    provider: str
    """The module that follows `Provider`; importing it loads no engine."""
    steers: bool = False
    """Whether interventions can be put into its forward passes."""
    watches: bool = False
    """Whether it can give activations while playing."""


KINDS = {
    "vllm": Kind("agents.backends.vllm.provider"),
    "transformers": Kind("agents.backends.hooked.provider", steers=True, watches=True),
    "openai": Kind("agents.backends.openai.provider"),
    "mock": Kind("agents.backends.mock"),
}


def provider(kind: str) -> Provider:
    """The module of a kind. Raises KeyError for an unknown one."""
    return cast(Provider, import_module(KINDS[kind].provider))


def named_kinds(steers: bool = False, watches: bool = False) -> str:
    """The kinds with all of these capabilities, as text for a message."""
    able = [n for n, k in KINDS.items() if (k.steers or not steers) and (k.watches or not watches)]
    return " or ".join(f'kind = "{name}"' for name in able)
