"""Games against opponents held out from all trainings, in the same deals for every contender.

Each of `HELD_OUT` plays all seats of the other side in turn. Game k of an opponent has the same deal and the same
draws for every contender, so contenders are compared pairwise (`analysis.behaviour.held_out`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from agents.exam import HELD_OUT as SEEDS
from agents.models.small import find_model
from agents.policies import make_policy
from games import DEFAULT, chance, load_game
from games.records import Decision, Event
from harness.gate import own_folder
from harness.run.derived import OF_NO_RUN, read_table, write_table
from harness.training.selfplay.learner import load
from harness.training.selfplay.lockstep import Planned, Played, play_side_by_side
from harness.training.selfplay.pool import casts
from harness.training.selfplay.settings import check_side

HELD_OUT = ("cautious", "bluffer", "busser", "bayesian", "small")
"""Opponents that the shipped configurations never train against: scripted characters, the player that follows the
exact observer, and the imitation model that training starts from."""
CHUNK = 20
"""Deals against each opponent that are played and written in one batch."""
GAMES = {
    "deal": pl.Int64,
    "opponents": pl.String,
    "won": pl.Boolean,
    "days": pl.Int64,
    "decisions": pl.Int64,
    "fallbacks": pl.Int64,
    "opponent_decisions": pl.Int64,
    "opponent_fallbacks": pl.Int64,
}
"""Columns of a contender's table, one row a game: the contender's own decisions and fallbacks, and its opponents'."""


def play_held_out(
    model: Path,
    side: str,
    out: Path,
    *,
    deals: int,
    opponents: Sequence[str] = HELD_OUT,
    preset: str = "classic-7",
    say: Callable[[str], None] = print,
) -> Path:
    """The table of a contender's games (`GAMES`), `deals` against each opponent; resumes where an earlier call
    stopped.

    The file is `out/<side>-<name@hash>.parquet`. An opponent model plays with a tournament's default settings.
    """
    check_side(DEFAULT, side)
    torch.set_num_threads(1)
    hooked = load(model)
    own_folder(out)
    path = out / f"{side}-{preset}-{hooked.name}.parquet"
    table = read_table(path) if path.is_file() else pl.DataFrame(schema=GAMES)
    game, rules = load_game(DEFAULT), load_game(DEFAULT).configure(preset=preset)
    models = {"contender": hooked, **{name: load(name) for name in opponents if is_model(name)}}
    players = casts(
        models, lambda: {name: make_policy(game, name, name, {}) for name in opponents if name not in models}
    )
    for first in range(0, deals, CHUNK):
        done = set(table.select("opponents", "deal").iter_rows())
        planned = [
            one
            for deal in range(first, min(deals, first + CHUNK))
            for name in opponents
            if (name, deal) not in done
            for one in [_plan(rules, side, name, deal)]
        ]
        if not planned:
            continue
        rows = [_row(played, side) for played in play_side_by_side(planned, players)]
        table = pl.concat([table, pl.DataFrame(rows, schema=GAMES, orient="row")])
        write_table(path, table, OF_NO_RUN)
        won = table["won"].cast(pl.Float64).to_numpy().mean()
        say(f"{model.name} as {side}: {len(table):,} of {deals * len(opponents):,} games, {won:.1%} won")
    return path


def is_model(name: str) -> bool:
    """Whether an opponent is a model: a folder, or one that ships."""
    return (find_model(name) / "config.json").is_file()


def _plan(rules: Any, side: str, opponent: str, deal: int) -> Planned:
    game = load_game(DEFAULT)
    seed = chance.key(SEEDS, f"held out {opponent}", deal) >> 1
    _, events = game.start(rules, seed)
    agents = tuple("contender" if fact.faction == side else opponent for fact in game.seats(rules, events))
    return Planned(f"held-out-{opponent}-{deal}", rules, seed, seed, agents, deal, opponent)


def _row(played: Played, side: str) -> tuple[object, ...]:
    made = [r for r in played.log if isinstance(r, Decision)]
    own = [r for r in made if r.agent == "contender"]
    others = [r for r in made if r.agent != "contender"]
    winner = next(r.value for r in played.log if isinstance(r, Event) and r.kind == "outcome")
    return (
        played.planned.deal,
        played.planned.opponents,
        winner == side,
        int(np.max([r.day for r in played.log])),
        len(own),
        sum(r.fallback is not None for r in own),
        len(others),
        sum(r.fallback is not None for r in others),
    )
