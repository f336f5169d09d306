"""How an utterance moved beliefs: an ideal reader's public belief before and after it; for a lie, compared with
truths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.werewolf.observer import Observer, belief_shift, truthful
from games.records import Event


def is_speech(event: Event) -> bool:
    """Whether the event is words said aloud."""
    return event.audience is None and event.kind in ("speech", "last_words")


def utterance(
    game_id: str,
    seq: int,
    observer: Observer,
    event: Event,
    roles: Sequence[str],
    results: Sequence[tuple[int, bool]] | None,
    facts: Sequence[Any],
) -> tuple[Any, ...]:
    """One row of `analysis.beliefs.tables.UTTERANCES`; updates the observer with the speech. `results`: given where
    the speech is compared with truths."""
    speaker = int(event.actor or 0)
    before = observer.p_werewolf(None)
    advantage = nats = None
    living = [j for j, alive in enumerate(observer.seen.alive) if alive]
    if results is not None:
        others = truthful(roles, speaker, living, results)
        shift = belief_shift(observer, event, None, others)
        side = [j for j in living if facts[j].faction == facts[speaker].faction]
        advantage, nats = _finite(shift.advantage(side)), _finite(shift.nats)
    observer.update(event)
    after = observer.p_werewolf(None)
    act = event.acts[0] if event.acts else None
    subject = None if act is None else act.subject
    return (
        game_id, seq, speaker, roles[speaker], "silence" if act is None else act.kind, subject,
        float(before[speaker]), float(after[speaker]),
        None if subject is None else float(before[subject]), None if subject is None else float(after[subject]),
        advantage, nats,
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
