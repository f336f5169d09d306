"""Games of pairs of partners on the hidden side, with a partner of the same model or of another, in the same deals.

The other side is one model throughout. Presets in which partners talk unheard are refused, as a public code would be
pointless.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from agents.exam import HELD_OUT as SEEDS
from games import DEFAULT, chance, load_game
from games.base import Game, GameConfig
from harness.gate import own_folder
from harness.training.selfplay.learner import load
from harness.training.selfplay.lockstep import Planned, Played, play_kept
from harness.training.selfplay.pool import LEARNER, casts
from harness.training.selfplay.settings import SelfPlayError, first_side

OTHERS, STRANGER = "start", "stranger"


def cell_plan(game: Game, rules: GameConfig, games: int, side: str, strangers: bool = False) -> list[Planned]:
    """The deals of one pair, or of a side. With two models, they alternate in the lower seat."""
    planned = []
    for i in range(games):
        seed = chance.key(SEEDS, "cells", i) >> 1
        facts = game.seats(rules, game.start(rules, seed)[1])
        mine = [seat for seat, fact in enumerate(facts) if fact.faction == side]
        odd_one = mine[i % len(mine)] if strangers else -1
        agents = tuple(
            STRANGER if seat == odd_one else LEARNER if seat in mine else OTHERS for seat in range(len(facts))
        )
        planned.append(Planned(f"cells-{i}", rules, seed, seed, agents, deal=i, game=game.name))
    return planned


def play_pair(
    first: Path,
    second: Path,
    out: Path,
    *,
    games: int,
    others: Path = Path("small"),
    preset: str = "classic-7",
    name: str = DEFAULT,
) -> list[Played]:
    """Games of the game called `name`, in which the hidden side's two seats are one played by each model (the same
    model twice: a pair of its own).

    Logs are kept in a folder of `out` that is named after the models' hashes; existing games are not played again.
    Raises SelfPlayError for a preset in which partners talk unheard, or are not two.
    """
    game, side = load_game(name), first_side(name)
    rules = game.configure(preset=preset)
    partners = [fact for fact in game.seats(rules, game.start(rules, 0)[1]) if fact.faction == side]
    if len(partners) != 2:
        raise SelfPlayError(f"{preset} has {len(partners)} seats on the side {side}; pairs need two")
    if game.private_talk(rules):
        raise SelfPlayError(
            f"partners in {preset} talk among themselves, so they need no public code: take a preset without chat"
        )
    torch.set_num_threads(1)
    own_folder(out)
    models = {LEARNER: load(first), OTHERS: load(others)}
    strangers = first != second
    if strangers:
        models[STRANGER] = load(second)
    named = folder_of(preset, side, *models.values())
    return play_kept(cell_plan(game, rules, games, side, strangers), casts(models), out / named)


def folder_of(preset: str, side: str, *models: Any) -> str:
    """The folder's name for a cell's games: from preset, side and the models' hashes."""
    return "--".join([preset, side, *(model.name for model in models)]).replace("/", "_")


def pairs_of(models: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each model with itself, then each with the next as a stranger."""
    return [*((m, m) for m in models), *pairwise(models)]
