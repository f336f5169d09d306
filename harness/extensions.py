"""User modules that register their additions (sites, probes, targets, sections, games) on import."""

from __future__ import annotations

import os
from importlib import import_module

from harness.errors import ConfigurationError

EXTENSIONS = "WOLFSCOPE_EXTENSIONS"
"""The environment variable that names them, comma separated."""


def named_extensions() -> list[str]:
    """The modules that the user's environment names."""
    return [name for name in (part.strip() for part in os.environ.get(EXTENSIONS, "").split(",")) if name]


def load_extensions() -> None:
    """Import the modules that WOLFSCOPE_EXTENSIONS names. Raises ConfigurationError for one that cannot be found."""
    for name in named_extensions():
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"{EXTENSIONS} names {name!r}: {error}; is its folder on PYTHONPATH?"
            ) from error
