"""What the Bayesian observer makes of a logged game, as points of a belief matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from agents.werewolf.observer import Impossible, Mix, Observer, TooLarge, trajectories
from agents.werewolf.styles import CHARACTERS, Style
from games.base import GameError
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.replay.replay import Replay
from harness.run.folder import Run
from harness.schedule.branched import schedule_of

STEP = 0.004
"""A smaller change of a probability is not shown."""


class NoPosterior(GameError):
    """This game has no such posterior; the message says why."""


def posteriors_of(run: Run) -> Mapping[str, Posterior]:
    """`rules` for any game of Werewolf; `exact` too where all players are scripted characters of a known mix."""
    found: dict[str, Posterior] = {"rules": rules}
    try:
        mixes = [mix_of(config) for config in schedule_of(run.manifest).configs]
    except ConfigurationError:
        return found
    cells = run.manifest.cells
    if all(mixes):
        found["exact"] = lambda replay: exact(replay, mixes[cells.index(run.cell(replay.game_id))] or {})
    return found


def mix_of(config: Config) -> Mix | None:
    """The characters that a seat may have and their shares, None where a player is no shipped character."""
    roster = config.roster
    shares = roster.mix or dict.fromkeys(roster.agents(), 1)
    mix: dict[str | Style, float] = {}
    for name, share in shares.items():
        section = config.agents[name]
        known = section.kind == "scripted" and section.policy in CHARACTERS and not section.settings
        if not known or section.policy is None:
            return None
        mix[section.policy] = mix.get(section.policy, 0.0) + share
    return mix


def rules(replay: Replay) -> Points:
    """What the rules alone leave possible."""
    return _points(replay, Observer("rules", _config(replay)))


def exact(replay: Replay, mix: Mix) -> Points:
    """The posterior under the players' true policies, whose characters are drawn from `mix`."""
    return _points(replay, Observer("exact", _config(replay), mix))


def _config(replay: Replay) -> Any:
    if replay.game.name != "werewolf":
        raise NoPosterior(f"the observer knows Werewolf, not {replay.game.name}")
    return replay.config


def _points(replay: Replay, observer: Observer) -> Points:
    try:
        found = trajectories(observer, replay.records)
    except (Impossible, TooLarge) as error:
        raise NoPosterior(str(error)) from error
    wolf = observer.roles.index("werewolf")
    points: Points = []
    last: dict[tuple[int, int], float] = {}
    for seq, table in zip(found.seq.tolist(), found.p[..., wolf].tolist(), strict=True):
        for viewer, row in enumerate(table):
            for subject, p in enumerate(row):
                before = last.get((viewer, subject))
                if viewer == subject or math.isnan(p) or (before is not None and abs(p - before) < STEP):
                    continue
                last[viewer, subject] = p
                points.append((seq, viewer, subject, round(p, 3)))
    return points


Points = list[tuple[int, int, int, float]]
"""(seq, viewer, subject, probability that the subject is a werewolf), in the order of seq."""


Posterior = Callable[[Replay], Points]
"""Computes beliefs from a log."""
