"""Models behind a server, as a configuration names them (`agents.backends.registry.Provider`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.backends.base import Backend
from agents.backends.registry import Spec

if TYPE_CHECKING:
    from agents.backends.openai.client import ServerBackend

OWN = ("api", "timeout_s", "give_up_s", "fields", "system_role", "check")
"""Settings of the client; every other setting becomes a field of each request."""


def client_of(spec: Spec) -> ServerBackend:
    """The client of a server; sends no request. Raises ValueError."""
    from agents.backends.openai.client import ServerBackend

    try:
        return ServerBackend(
            spec.url or "",
            spec.model,
            tokenizer=spec.tokenizer,
            api_key=spec.api_key,
            max_concurrent=spec.max_concurrent,
            extra={k: v for k, v in spec.settings.items() if k not in OWN},
            **{k: v for k, v in spec.settings.items() if k in OWN},
        )
    except TypeError as error:
        raise ValueError(str(error)) from error


def check(spec: Spec) -> None:
    """Check the address, the key and the settings, without a request to the server."""
    if spec.serve:
        from agents.backends.vllm import provider
        from agents.models.adapter import is_adapter

        provider.check(spec)
        if is_adapter(spec.need_folder()):
            raise ValueError(
                f"'{spec.model}' is a LoRA adapter, which serve = true does not serve: use kind = \"vllm\", or merge "
                "it into its base (wolfscope merge-adapter)"
            )
    else:
        client_of(spec)


def start(spec: Spec) -> Backend:
    """A client of the server at `url`, or of vLLM's own server, which is started where `serve` is set."""
    if spec.serve:
        from agents.backends.openai.serve import start_server
        from agents.backends.vllm.provider import settings_of

        return start_server(spec.need_folder(), settings_of(spec)).backend(max_concurrent=spec.max_concurrent)
    server = client_of(spec)
    server.check(spec.usage)
    return server


def holds(spec: Spec) -> int | None:
    """What vLLM's own server keeps where it is started here; of another server nothing is known."""
    if not spec.serve:
        return None
    from agents.backends.vllm import provider

    return provider.holds(spec)
