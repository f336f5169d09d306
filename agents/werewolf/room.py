"""The scripted players and observers of Werewolf, as the harness asks for them (`agents.base.Players`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agents.base import Agent, NoPosterior, Points, Posterior
from agents.werewolf.scripted import Scripted
from agents.werewolf.styles import CHARACTERS, STYLES, Style
from games.records import Record

BAYESIAN = "bayesian"
COVERT = "covert"
STEP = 0.004
"""Smaller changes of a probability are not shown."""


def policies() -> tuple[str, ...]:
    """The shipped characters, `random`, the player that follows the exact observer, and that which hides bits."""
    return (*CHARACTERS, BAYESIAN, COVERT)


def make_policy(name: str, policy: str, settings: Mapping[str, Any]) -> Agent:
    """The scripted player called `name`; settings of a character are fields of its `Style`."""
    if policy == BAYESIAN:
        from agents.werewolf.bayesian import Bayesian

        return Bayesian(name, **settings)
    if policy == COVERT:
        from agents.werewolf.covert import Covert

        return Covert(name, **settings)
    player = Scripted(name, policy)  # refuses an unknown policy, naming the known ones
    if not settings:
        return player
    if policy not in STYLES:
        raise ValueError(f"the policy {policy!r} has no settings; found {', '.join(settings)}")
    known = STYLES[policy].__struct_fields__
    wrong = [key for key in settings if key not in known]
    if wrong:
        raise ValueError(f"the policy {policy!r} has no setting {wrong[0]!r}; it has: {', '.join(known)}")
    return Scripted(name, msgspec.structs.replace(STYLES[policy], **settings))


def lessons() -> str:
    """What a small model of Werewolf is trained on."""
    return "agents.werewolf.lessons"


def posteriors(mix: Mapping[str, float] | None) -> Mapping[str, Posterior]:
    """`rules` for any game; `exact` too where all players are shipped characters, drawn from `mix`."""
    found: dict[str, Posterior] = {"rules": lambda config, records: _points("rules", config, records)}
    if mix and set(mix) <= set(CHARACTERS):
        found["exact"] = lambda config, records: _points("exact", config, records, mix)
    return found


def _points(
    kind: Any, config: Any, records: Sequence[Record], mix: Mapping[str, float] | None = None
) -> Points:
    from agents.werewolf.observer import Impossible, Observer, TooLarge, Unmodelled, trajectories

    prior: dict[str | Style, float] | None = None if mix is None else dict(mix.items())
    try:
        observer = Observer(kind, config, prior)
        found = trajectories(observer, records)
    except (Impossible, TooLarge, Unmodelled) as error:
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
