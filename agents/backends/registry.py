"""Every kind of backend, by the word that a configuration uses. A new one is a module that follows `Provider`, and one
line here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from agents.backends.base import Backend, BackendError


class SettingsError(ValueError):
    """A setting that the kind of backend does not have, or cannot be."""


class Spec(msgspec.Struct, frozen=True):
    """What a backend is started from: one `[backends.NAME]` table of a configuration, its files found."""

    name: str
    """What messages call it."""
    model: str
    """As the configuration names it."""
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
    """Further settings, the kind's own."""
    layers: tuple[str, ...] | None = None
    """The streams of activations that it is to give while playing (`agents.hooks.hooks.named_points`); None: none."""
    usage: bool = False
    """Whether it has to say how many tokens an answer took: what a budget is kept by."""

    def need_folder(self) -> Path:
        """The model's folder. Raises BackendError where there is none."""
        if self.folder is None:
            raise BackendError(f"backend {self.name} needs the folder of a model", retryable=False)
        return self.folder


class Provider(Protocol):
    """What a module of `KINDS` has."""

    def check(self, spec: Spec) -> None:
        """Find wrong settings before anything is started. Raises SettingsError, ValueError."""
        ...

    def start(self, spec: Spec) -> Backend:
        """A backend that answers. Raises BackendError, and what `check` raises."""
        ...


class Kind(msgspec.Struct, frozen=True):
    """One kind of backend: what can be said of it before any is started."""

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
    """The kinds that can do all of these, as a message names them."""
    able = [n for n, k in KINDS.items() if (k.steers or not steers) and (k.watches or not watches)]
    return " or ".join(f'kind = "{name}"' for name in able)
