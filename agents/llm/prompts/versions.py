"""Versions of the prompts: each a folder of Jinja templates with a name and a hash.

`standard` is the templates of this folder; a version has a folder of its own, and where it lacks a template it has the
standard one.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import jinja2

FOLDER = Path(__file__).parent
STANDARD = "standard"
VERSIONS = {STANDARD: "chat-1", "short": "short-1"}
"""Version -> what its hash begins with; changes with the code around the templates, which are in the hash."""


def check_version(version: str) -> str:
    """The version of that name. Raises ValueError, naming the known ones."""
    if version not in VERSIONS:
        raise ValueError(f"no version of the prompts is called {version!r}; there are: {', '.join(VERSIONS)}")
    return version


def _folders(version: str) -> list[Path]:
    return [FOLDER] if version == STANDARD else [FOLDER / version, FOLDER]


@cache
def _environment(version: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_folders(version)), undefined=jinja2.StrictUndefined, autoescape=False
    )


def render(template: str, version: str = STANDARD, **values: Any) -> str:
    """A template of a version, filled in."""
    return _environment(version).get_template(f"{template}.jinja").render(**values)


@cache
def prompts_hash(version: str = STANDARD) -> str:
    """`chat-1@hash`: the version's mark, and a hash over all its templates, names included."""
    files: dict[str, Path] = {}
    for folder in reversed(_folders(check_version(version))):
        files |= {path.name: path for path in folder.glob("*.jinja")}
    digest = blake2b(digest_size=6)
    for name in sorted(files):
        digest.update(f"{name}\0".encode() + files[name].read_bytes() + b"\0")
    return f"{VERSIONS[version]}@{digest.hexdigest()}"
