"""The scripted players and observers of Avalon, as the harness asks for them (`agents.base.Players`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agents.avalon.observer import Impossible, Observer, Unmodelled, trajectories
from agents.avalon.scripted import Scripted
from agents.avalon.styles import CHARACTERS, STYLES
from agents.base import Agent, NoPosterior, Points, Posterior
from games.avalon.roles import EVIL
from games.records import Record

BAYESIAN = "bayesian"
STEP = 0.004
"""Smaller changes of a probability are not shown."""


def policies() -> tuple[str, ...]:
    """The shipped characters, `random`, and the player that follows the exact observer."""
    return (*CHARACTERS, BAYESIAN)


def make_policy(name: str, policy: str, settings: Mapping[str, Any]) -> Agent:
    """The scripted player called `name`; settings of a character are fields of its `Style`."""
    if policy == BAYESIAN:
        from agents.avalon.bayesian import Bayesian

        return Bayesian(name, **settings)
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
    """What a small model of Avalon is trained on."""
    return "agents.avalon.lessons"


def posteriors(mix: Mapping[str, float] | None) -> Mapping[str, Posterior]:
    """`rules` for any game; `exact` too where all players are shipped characters, drawn from `mix`.

    Probabilities that seats are evil; of each source a second one, `rules: merlin` and `exact: merlin`.
    """
    kinds = {"rules": None} | ({"exact": mix} if mix and set(mix) <= set(CHARACTERS) else {})
    found: dict[str, Posterior] = {}
    for kind, prior in kinds.items():
        found[kind] = _source(kind, prior, EVIL)
        found[f"{kind}: merlin"] = _source(kind, prior, ("merlin",))
    return found


def _source(kind: Any, mix: Mapping[str, float] | None, roles: Sequence[str]) -> Posterior:
    def points(config: Any, records: Sequence[Record]) -> Points:
        try:
            observer = Observer(kind, config, None if mix is None else dict(mix.items()))
            found = trajectories(observer, records)
        except (Impossible, Unmodelled) as error:
            raise NoPosterior(str(error)) from error
        columns = [i for i, role in enumerate(observer.roles) if role in roles]
        return _changes(found.seq.tolist(), found.p[..., columns].sum(-1).tolist())

    return points


def _changes(seqs: Sequence[int], tables: Sequence[Sequence[Sequence[float]]]) -> Points:
    """Each probability `[viewer][subject]` where it is first known and where it changes."""
    points: Points = []
    last: dict[tuple[int, int], float] = {}
    for seq, table in zip(seqs, tables, strict=True):
        for viewer, row in enumerate(table):
            for subject, p in enumerate(row):
                before = last.get((viewer, subject))
                if viewer == subject or math.isnan(p) or (before is not None and abs(p - before) < STEP):
                    continue
                last[viewer, subject] = p
                points.append((seq, viewer, subject, round(p, 3)))
    return points
