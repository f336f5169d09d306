"""The origin of imported games, as the manifest records it."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.run.manifest import Manifest, part_of


class SourceFile(msgspec.Struct, frozen=True):
    """One file that a game was read from."""

    name: str
    sha256: str
    game_id: str


class Source(msgspec.Struct, frozen=True):
    """The origin of imported games: `imported` of the manifest."""

    format: str
    options: dict[str, Any]
    files: list[SourceFile]


def source_of(manifest: Manifest) -> Source | None:
    """Where a run's games were imported from, None for a run that was played. Raises ConfigurationError."""
    found: Source | None = part_of(manifest, "imported", Source | None)
    return found
