"""Moments with reasoning: the question is asked after the reasoning as played, or after a changed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from agents.llm.beliefs import role_words
from games.base import Observation
from games.records import Span
from harness.experiment.arms import Arm
from harness.reasoning.changes import changed_body
from harness.reasoning.played import NoReasoning, Played, played_reasoning

RESAMPLES = ("resample", "as_before")
"""Changes that the model itself writes: measured by its continuations (`harness.experiment.reasoning.run`)."""
Contents = tuple[tuple[int, ...], tuple[Span, ...]]
"""(token ids, spans) of a prompt."""


def played_of(scene: Any) -> Played:
    """The reasoning of a scene's decision. Raises NoReasoning."""
    roles = role_words(scene.observation)
    own = roles.get(scene.moment.role)
    ids = scene.run.prompt_ids(scene.moment.game_id, scene.moment.seq)
    return played_reasoning(
        scene.player, scene.observation, scene.decision, ids, scene.words.names, own, tuple(roles.values())
    )


def asked_behind(scene: Any, arm: Arm, player: Any, observation: Observation) -> Contents | None:
    """The prompt of the decision after its reasoning, under an arm: with another reasoning, or with other words or
    settings before the reasoning as played. None where the moment has no such change."""
    played: Played = scene.played
    if arm.kind == "reasoning":
        body = _body(scene, played, arm)
        if body is None:
            return None
        return played.with_body(body), _moved(
            played.spans, played.end, len(body) - len(played.body), played.start
        )
    if player is scene.player and observation is scene.observation:
        return played.ids, played.spans
    ids, spans, shift = before_reasoning(played, player, observation, scene.player, scene.observation)
    behind = tuple(
        msgspec.structs.replace(s, start=s.start + shift, end=s.end + shift)
        for s in played.spans
        if s.start >= played.own
    )
    return (*ids, *played.ids[played.own :]), (*spans, *behind)


def before_reasoning(
    played: Played, player: Any, observation: Observation, usual: Any, seen: Observation
) -> tuple[tuple[int, ...], tuple[Span, ...], int]:
    """The tokens before a reasoning (ids, spans) with another observation or another player, up to the token where
    the played output began, and by how many tokens they are longer."""
    before, after = usual.context(seen), player.context(observation)
    end = len(after.ids) - (len(before.ids) - played.own)
    return tuple(after.ids[:end]), tuple(s for s in after.spans if s.end <= end), end - played.own


def _moved(spans: Sequence[Span], end: int, by: int, start: int) -> tuple[Span, ...]:
    """The spans around a reasoning of another length; spans inside it are dropped."""
    kept = [s for s in spans if s.end <= start]
    kept += [msgspec.structs.replace(s, start=s.start + by, end=s.end + by) for s in spans if s.start >= end]
    return tuple(kept)


def _body(scene: Any, played: Played, arm: Arm) -> tuple[int, ...] | None:
    if arm.do in RESAMPLES:
        return None
    m = scene.moment
    rng = np.random.default_rng([m.id, m.seq, *arm.id.encode()])
    do: Any = arm.do
    step: Any = arm.step
    return changed_body(
        played, do, step, m.subject, m.other, scene.encoder, scene.words.names, rng,
        lambda: _of_another_seat(scene), (scene.game.text, scene.words),
    )  # fmt: skip


def _of_another_seat(scene: Any) -> tuple[int, ...] | None:
    """The reasoning of another seat at the nearest decision of the same kind."""
    m = scene.moment
    others = [
        d
        for _, d, _ in scene.asked.values()
        if d.kind == scene.decision.kind and d.seat != m.seat and d.trace is not None and d.trace.reasoning
    ]
    for decision in sorted(others, key=lambda d: (abs(d.seq - m.seq), d.seq)):
        try:
            body = scene.of(decision).played.body
        except NoReasoning:
            continue
        return tuple(body)
    return None
