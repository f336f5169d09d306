"""Imports without packages that a library would import for features that are never used here, and without garbage
collection.

transformers imports scikit-learn (a ROC curve for assisted decoding) and with it pandas and scipy wherever they are
installed, which is a fifth of the processor time in which a process loads a small model. What vLLM and transformers
import are a million objects that stay; looking through them for garbage, as Python does whenever a quarter more have
come, and as vLLM does five times while it starts, is a third of the time in which an engine starts.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UNUSED = ("sklearn", "scipy")
"""What transformers' model classes import beside torch, and no decoder needs."""


@contextmanager
def lean_imports(unused: tuple[str, ...] = UNUSED) -> Iterator[None]:
    """While it is entered, importing one of the packages raises ImportError, unless it was imported before.

    Meant around imports from transformers, which asks what is installed before it imports that, and remembers the
    answer: what it has found to be there stays there. Garbage is collected again afterwards, but not among the objects
    that were there at the end of an import.
    """
    collecting, n_before = gc.isenabled(), len(sys.modules)
    gc.disable()
    hidden = [name for name in unused if name not in sys.modules and not _found(name)]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
        if len(sys.modules) > n_before:
            gc.freeze()
        if collecting:
            gc.enable()


def _found(name: str) -> bool:
    """Whether transformers may have asked already, and remembers that the package is there."""
    asked: Any = getattr(sys.modules.get("transformers.utils.import_utils"), f"is_{name}_available", None)
    if asked is None:
        return False
    return not hasattr(asked, "cache_info") or (asked.cache_info().currsize > 0 and bool(asked()))
