"""Checks which packages are imported: other software also ships a top-level `agents`, and ours must be found
first."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from harness.errors import WolfscopeError

PACKAGES = ("games", "agents", "harness", "analysis")


class WrongCheckout(WolfscopeError, ImportError):
    """A package of another project, or of another checkout, would be imported."""


def check_packages() -> None:
    """Raises WrongCheckout where one of the four packages is not this checkout's. Imports nothing."""
    root = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        spec = find_spec(name)
        places = set() if spec is None else {Path(p).resolve() for p in spec.submodule_search_locations or ()}
        if places != {root / name}:
            found = ", ".join(sorted(map(str, places))) or "nowhere"
            raise WrongCheckout(
                f"the package {name!r} is found at {found}, expected {root / name}: another installed package has the "
                f"same name or two copies are mixed. Use the project's own environment ({root}/.venv, made by "
                f"`make setup`) in place of {sys.prefix}, and run from {root}"
            )
