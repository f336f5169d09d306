"""The rules as machine code, where `make fast` has compiled them; without it everything runs as plain Python.

The sources are the reference. mypyc's output is in a folder named after their hash, outside the source tree, and `use`
imports it only where the hash matches the present sources: after an edit the plain modules run until the next `make
fast`. The environment variable `WOLFSCOPE_COMPILED=0` selects the plain modules.

The compiled modules give the same records byte for byte. They differ in two ways: they check the types of arguments (a
numpy integer is not accepted as a seed), and they cannot be patched.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

SOURCES = Path(__file__).resolve().parent
MODULES = (
    *("chance", "language/quoting", "play", "seat_view/views"),
    *(
        f"werewolf/{name}"
        for name in "day discussion leaving night rules state words/lines words/text".split()
    ),
)
"""What is compiled, as paths under `games/`: all that runs once a decision or more often."""


def folder() -> Path:
    """Where the compiled form of the present sources is, or would be."""
    found = hashlib.blake2b(sys.version.encode(), digest_size=8)
    for source in sorted(
        SOURCES.rglob("*.py")
    ):  # all sources: types of the others are built into the compiled modules
        found.update(source.relative_to(SOURCES).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return SOURCES.parent / ".cache" / "compiled" / found.hexdigest()


class Finder(MetaPathFinder):
    """Finds the modules of one folder of extension modules, by their full names."""

    def __init__(self, root: Path) -> None:
        suffix = EXTENSION_SUFFIXES[0]
        self.files = {
            ".".join(file.relative_to(root).parts).removesuffix(suffix): file
            for file in root.rglob("*" + suffix)
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The extension module called `fullname`, None where the folder has none."""
        file = self.files.get(fullname)
        return None if file is None else spec_from_file_location(fullname, file)


def in_use() -> bool:
    """Whether this process has the compiled modules."""
    return any(isinstance(finder, Finder) for finder in sys.meta_path)


def use() -> None:
    """Import from here on the compiled modules where the present sources have been compiled."""
    if os.environ.get("WOLFSCOPE_COMPILED") == "0" or not (SOURCES.parent / ".cache" / "compiled").is_dir():
        return
    root = folder()
    if root.is_dir():
        sys.meta_path.insert(0, Finder(root))
