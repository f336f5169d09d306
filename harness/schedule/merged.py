"""The schedule of merged and imported runs, in the role of `harness.schedule.tournament.Schedule` for played runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from harness.config.files import parse_config
from harness.config.sections import BackendSection, Config, GameSection
from harness.run.manifest import Cell, Manifest, Session, part_of
from harness.schedule.tournament import Planned, Schedule, clocked


class Part(msgspec.Struct, frozen=True):
    """One part of a merged run: an element of `merged` in its manifest."""

    name: str
    created: str
    config: dict[str, Any]
    config_hash: str
    n_games: int
    """How many games it had."""
    first: int
    """Index of its first own game in the merged run."""
    n_kept: int
    """How many of its games are not in an earlier part."""
    sessions: list[Session]
    models: dict[str, str] = {}
    prompts: dict[str, str] = {}


def parts_of(manifest: Manifest) -> list[Part]:
    """The runs that a merged run was made of. Raises ConfigurationError where they cannot be read."""
    found: list[Part] = part_of(manifest, "merged", list[Part])
    return found


def _first_backends(part: Part) -> dict[str, BackendSection] | None:
    """The backends of a part's first session; None where only its last configuration is known."""
    first = next((s.config for s in part.sessions if s.config is not None), None)
    return None if first is None else parse_config(first, f"manifest.json: merged: {part.name}").backends


class MergedSchedule(Schedule):
    """The games of several schedules, one after the other, each game once."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises ConfigurationError where a part's configuration cannot be read any more."""
        self.config: Config = parse_config(manifest.config, "manifest.json")
        self.parts = [
            Schedule(
                clocked(parse_config(p.config, f"manifest.json: merged: {p.name}"), p.created),
                _first_backends(p),
            )
            for p in parts_of(manifest)
        ]
        self.cells: list[Cell] = [cell for part in self.parts for cell in part.cells]
        self.configs: list[Config] = [config for part in self.parts for config in part.configs]
        self._n_games = manifest.n_games

    def __len__(self) -> int:
        return self._n_games

    def __iter__(self) -> Iterator[Planned]:
        """The games in the order of the parts."""
        seen: set[str] = set()
        first_cell = 0
        for part in self.parts:
            for planned in part:
                if planned.game_id not in seen:
                    yield msgspec.structs.replace(planned, index=len(seen), cell=first_cell + planned.cell)
                    seen.add(planned.game_id)
            first_cell += len(part.cells)


class ImportedSchedule(Schedule):
    """Games of another program, with their settings and players; nothing is scheduled."""

    def __init__(self, manifest: Manifest) -> None:
        self.config = parse_config(manifest.config, "manifest.json")
        self.cells = manifest.cells
        self.configs = [self.config.model_copy(update={"game": _game(cell)}) for cell in self.cells]

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Planned]:
        """Nothing."""
        return iter(())


def _game(cell: Cell) -> GameSection:
    return GameSection.model_validate({"name": cell.game, **cell.settings})
