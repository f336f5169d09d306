"""Checks of a configuration's backends before anything is started or written, without heavy imports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from agents.backends.registry import SettingsError, Spec, provider
from agents.models.folder import ModelFilesError
from harness.config.models import model_folder
from harness.config.sections import BackendSection
from harness.errors import ConfigurationError
from harness.play.preflight.keys import check_no_secrets, read_key


def check_backends(used: Mapping[str, BackendSection], keys: bool = True) -> None:
    """Find wrong settings, addresses and keys before anything is started or written; contacts no server.

    keys: whether the keys must be set. Raises ConfigurationError, ModelFilesError.
    """
    for name, section in used.items():
        check_no_secrets(name, section.settings)
        spec = spec_of(name, section, keys)
        with in_words_of(name):
            provider(section.kind).check(spec)


def spec_of(
    name: str,
    section: BackendSection,
    keys: bool = True,
    layers: Sequence[str] | None = None,
    usage: bool = False,
) -> Spec:
    """The specification from which a table's backend is started. Raises ConfigurationError, ModelFilesError."""
    served = section.kind == "openai" and not section.serve
    return Spec(
        name,
        section.model,
        folder=None if served else model_folder(section),
        url=section.url,
        serve=section.serve,
        tokenizer=section.tokenizer,
        api_key=read_key(name, section.api_key_env) if section.api_key_env is not None and keys else None,
        device=section.device,
        replicas=section.replicas or 1,
        tensor_parallel=section.tensor_parallel,
        max_concurrent=section.max_concurrent,
        settings=section.settings,
        layers=None if layers is None else tuple(layers),
        usage=usage,
    )


@contextmanager
def in_words_of(name: str) -> Iterator[None]:
    """Reraises a provider's error about a table as an error of the configuration."""
    try:
        yield
    except SettingsError as error:
        raise ConfigurationError(f"backends.{name}.settings: {error}") from error
    except ValueError as error:
        if isinstance(error, (ConfigurationError, ModelFilesError)):
            raise
        raise ConfigurationError(f"backends.{name}: {error}") from error
