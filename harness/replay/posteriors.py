"""The posteriors of a game's observers on a logged game, as points of a belief matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from agents.base import NoPosterior, Points
from agents.base import Posterior as Compute
from agents.policies import players_of
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.replay.replay import Replay
from harness.run.folder import Run
from harness.schedule.branched import schedule_of

__all__ = ["NoPosterior", "Points", "Posterior", "posteriors_of"]

Posterior = Callable[[Replay], Points]
"""Computes beliefs from a log. Raises NoPosterior."""


def posteriors_of(run: Run) -> Mapping[str, Posterior]:
    """Every posterior that the run's games offer in all of its cells, such as `rules`."""
    try:
        mixes = [mix_of(config) for config in schedule_of(run.manifest).configs]
    except ConfigurationError:
        mixes = [None] * len(run.manifest.cells)
    cells = run.manifest.cells
    by_cell: list[Mapping[str, Compute]] = []
    for cell, mix in zip(cells, mixes, strict=False):
        game, _ = cell.rules()
        by_cell.append(players_of(game).posteriors(mix) if game.players else {})
    shared = [source for source in by_cell[0] if all(source in found for found in by_cell)] if by_cell else []

    def compute(source: str, replay: Replay) -> Points:
        return by_cell[cells.index(run.cell(replay.game_id))][source](replay.config, replay.records)

    return {source: partial(compute, source) for source in shared}


def mix_of(config: Config) -> dict[str, float] | None:
    """The scripted policies that a seat may have and their shares, None where a player is something else."""
    roster = config.roster
    shares = roster.mix or dict.fromkeys(roster.agents(), 1)
    mix: dict[str, float] = {}
    for name, share in shares.items():
        section = config.agents[name]
        if section.kind != "scripted" or section.policy is None or section.settings:
            return None
        mix[section.policy] = mix.get(section.policy, 0.0) + share
    return mix
