"""The schedule of a branch: the continuations of one recorded game, the changed ones beside the unchanged ones.

Continuation k of every arm has the same seed, a function of (seed of the recorded game, decision, k): so the arms
share their random draws, and their difference is due to the change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from games import chance
from harness.config.files import parse_config
from harness.config.hashing import hash_of
from harness.config.sections import Config
from harness.run.manifest import Cell, Manifest, part_of
from harness.schedule.merged import ImportedSchedule, MergedSchedule
from harness.schedule.tournament import SEED_MASK, Planned, Schedule, clocked


class Arm(msgspec.Struct, frozen=True):
    """One arm of a branch."""

    name: Literal["changed", "unchanged"]
    agents: tuple[str, ...]
    """The agent of each seat."""


class Origin(msgspec.Struct, frozen=True):
    """The origin of a branch: `parent` of its manifest."""

    run: str
    """Path of the parent's run folder when the branch was made."""
    name: str
    config_hash: str
    """Hash of the parent's configuration, to identify the parent."""
    game_id: str
    seq: int
    """The recorded decision."""
    first: int
    """The first record of the unchanged continuations that is played again."""
    seed: int
    """Seed of the recorded game."""
    n: int
    """Continuations of each arm."""
    change: dict[str, Any]
    """The change (`harness.branch.changes`), as plain data."""
    what: str
    """The change in words."""
    arms: tuple[Arm, ...]


def origin_of(manifest: Manifest) -> Origin | None:
    """The origin of a branch; None for other runs. Raises ConfigurationError where it cannot be read."""
    found: Origin | None = part_of(manifest, "parent", Origin | None)
    return found


class BranchSchedule(Schedule):
    """All continuations of a branch (`harness.schedule.tournament.Schedule`)."""

    def __init__(self, config: Config, cells: list[Cell], origin: Origin) -> None:
        """config: all players of both arms. cells: one an arm."""
        self.config, self.cells, self.origin = config, cells, origin
        self.configs: list[Config] = []
        for arm in origin.arms:
            plain = config.plain()
            plain["roster"] = {"seats": list(arm.agents)}
            self.configs.append(parse_config(plain, "branch"))

    def __len__(self) -> int:
        return self.origin.n * len(self.cells)

    def __iter__(self) -> Iterator[Planned]:
        """The continuations in order; arms take turns."""
        origin = self.origin
        for index in range(len(self)):
            k, arm = divmod(index, len(self.cells))
            seed = continuation_seed(origin.seed, origin.seq, k)
            what = [origin.game_id, origin.seq, origin.arms[arm].name, list(origin.arms[arm].agents), k]
            if origin.arms[arm].name == "changed":
                what.append(origin.change)
            yield Planned(index, hash_of(what), arm, seed, origin.arms[arm].agents)


def continuation_seed(seed: int, seq: int, k: int) -> int:
    """The seed of continuation `k` of a game of seed `seed` from its decision `seq` on."""
    return chance.key(seed, "branch", seq, k) & SEED_MASK


def schedule_of(manifest: Manifest) -> Schedule:
    """The schedule of a run. Raises ConfigurationError."""
    if manifest.merged:
        return MergedSchedule(manifest)
    if manifest.imported is not None:
        return ImportedSchedule(manifest)
    config = clocked(parse_config(manifest.config, "manifest.json"), manifest.created)
    origin = origin_of(manifest)
    if origin is not None:
        return BranchSchedule(config, manifest.cells, origin)
    return schedule_in(manifest, config)


def schedule_in(manifest: Manifest, config: Config) -> Schedule:
    """The schedule of a configuration in an existing run: games keep their ids where an engine's settings changed
    since. Raises ConfigurationError."""
    first = parse_config(manifest.first_config, "manifest.json: sessions")
    return Schedule(clocked(config, manifest.created), {**config.backends, **first.backends})
