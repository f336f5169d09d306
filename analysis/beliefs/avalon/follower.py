"""Rows of beliefs from the observers of Avalon (`analysis.beliefs.followers.Follower`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from agents.avalon import observer as OBSERVER
from agents.avalon.observer import MEANS, RUNGS, Observer, second_order_beliefs
from analysis.beliefs.tables import LAPSE, Found
from analysis.data.frames import GameLog
from games.records import Decision, Event

__all__ = [
    "GAME",
    "MEANS",
    "OBSERVER",
    "RUNGS",
    "believed",
    "fitted",
    "fitted_to",
    "follow",
    "on_rung",
    "p_of",
]

GAME = "avalon"
Rows = list[tuple[Any, ...]]
fitted_to = fitted = None
"""No character is fitted."""


def follow(
    log: GameLog,
    models: bool,
    lies: Collection[tuple[str, int]] = (),
    second_at: Collection[tuple[str, int]] = (),
    beliefs: bool = True,
) -> tuple[Found, ValueError | None]:
    """One game's results, and why they end early. The shift of belief at an utterance is not measured."""
    found = Found()
    first = log.game.belief_targets[0]
    guilty = [i for i, fact in enumerate(log.game.seats(log.config, log.records)) if fact.role in first.roles]
    source = "scripted policies" if models else "exact"
    try:
        observer = Observer("exact", log.config, lapse=LAPSE if models else 0.0)
        for record in log.records:
            if isinstance(record, Event):
                observer.update(record)
                continue
            if beliefs and (record.trace is not None or not models):
                found.beliefs += believed(log, observer, record, source)
            if (log.game_id, record.seq) in second_at and record.seat not in guilty:
                found.second += _expected(log.game_id, record.seq, record.seat, observer)
    except ValueError as error:
        return found, error
    return found, None


def on_rung(log: GameLog, name: str, lapse: float) -> Observer:
    """The observer on a rung, before the game."""
    return Observer.on_rung(name, log.config, lapse=lapse)


def p_of(row: Mapping[str, Any], roles: Sequence[str], beliefs: np.ndarray) -> float | None:
    """No statement is graded: None."""
    return None


def believed(log: GameLog, observer: Observer, record: Decision, source: str) -> Rows:
    """What the observer believes in the place of the seat that decides: rows of `SCHEMA`."""
    first, *more = log.game.belief_targets
    rows: Rows = []
    for subject, p in enumerate(observer.beliefs(record.seat)):
        told = dict(zip(observer.roles, map(float, p), strict=True))
        if subject != record.seat:
            at = (log.game_id, record.seq, record.seat, subject, source)
            rows.append((*at, first.p(told), more[0].p(told) if more else None))
    return rows


def _expected(game_id: str, seq: int, viewer: int, observer: Observer) -> Rows:
    [expected] = second_order_beliefs(observer, [viewer])
    rows: Rows = []
    for j in range(observer.n):
        if j == viewer:
            continue
        actual = observer.p_evil(j)
        rows += [
            (game_id, seq, viewer, j, k, float(expected[j, k]), float(actual[k]))
            for k in range(observer.n)
            if k != j
        ]
    return rows
