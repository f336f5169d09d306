"""The weights that played a run, found by the name in its tables and stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.models.folder import model_name
from harness.config.models import model_folder
from harness.run.manifest import Manifest
from harness.schedule.branched import schedule_of

if TYPE_CHECKING:
    from agents.hooks.model import HookedModel


def load_played(manifest: Manifest, name: str, device: str) -> HookedModel | None:
    """The model `name@hash` from the folder that one of the run's local backends states; None where none holds it."""
    from agents.hooks.model import load_hooked_model

    for config in schedule_of(manifest).configs:
        for backend in config.backends.values():
            if backend.kind != "openai" and model_name(folder := model_folder(backend)) == name:
                return load_hooked_model(folder, device=device)
    return None
