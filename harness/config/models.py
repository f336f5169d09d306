"""The models of a configuration: their folders, their names, and the streams that its layer words name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.sections import BackendSection, Config
from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from agents.hooks.hooks import Points
    from agents.hooks.model import HookedModel


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
    from agents.models.folder import check_model_dir, check_tensor_names
    from agents.models.small import find_model

    if section.kind == "openai" and not section.serve:
        return Path(section.tokenizer or section.model).expanduser().resolve()
    folder = check_model_dir(find_model(section.model))
    check_tensor_names(folder)
    return folder


def model_names(backends: Mapping[str, BackendSection]) -> dict[str, str]:
    """Backend name -> `name@hash` of its weights; reads the files, starts nothing. Raises ModelFilesError."""
    from agents.models.folder import model_name

    return {
        name: section.model
        if section.kind == "openai" and not section.serve
        else model_name(model_folder(section))
        for name, section in backends.items()
    }


def name_models(manifest: Any, backends: Mapping[str, BackendSection]) -> None:
    """Record in a manifest the weights behind its backends, and the training data of fine-tuned ones.
    Raises ModelFilesError."""
    from agents.models.adapter import facts_of

    manifest.models = model_names(backends)
    for name, section in backends.items():
        if section.kind != "openai" or section.serve:
            facts = facts_of(model_folder(section))
            if facts:
                manifest.taught[name] = {key: str(facts[key]) for key in ("base", "data") if key in facts}


def points_of(hooked: HookedModel, layers: Sequence[str]) -> Points:
    """The streams that a configuration's words name; `all` alone includes the embeddings. Raises ConfigurationError."""
    from agents.hooks.hooks import configured_points

    try:
        return configured_points(hooked.layout, layers)
    except ValueError as error:
        raise ConfigurationError(f"activations.layers (--layer): {error}") from error
