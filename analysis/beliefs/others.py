"""What an ideal reader believes in games other than Werewolf: the first-order posteriors alone."""

from __future__ import annotations

from typing import Any

from agents.avalon import observer as avalon
from analysis.data.frames import GameLog
from games.avalon.config import AvalonConfig
from games.records import Event


def follow_other(log: GameLog, models: bool, lapse: float) -> tuple[list[tuple[Any, ...]], ValueError | None]:
    """Rows of `analysis.beliefs.observers.SCHEMA` at the decisions of a game, and why they end early.

    models: whether the decisions of models alone are meant; then a share `lapse` of acts follows no policy.
    """
    rows: list[tuple[Any, ...]] = []
    if not isinstance(log.config, AvalonConfig):
        return rows, ValueError(f"no observer of the game {log.game.name} is known")
    first, *more = log.game.belief_targets
    source = "scripted policies" if models else "exact"
    try:
        observer = avalon.Observer("exact", log.config, lapse=lapse if models else 0.0)
        for record in log.records:
            if isinstance(record, Event):
                observer.update(record)
            elif record.trace is not None or not models:
                for subject, p in enumerate(observer.beliefs(record.seat)):
                    told = dict(zip(observer.roles, map(float, p), strict=True))
                    if subject != record.seat:
                        at = (log.game_id, record.seq, record.seat, subject, source)
                        rows.append((*at, first.p(told), more[0].p(told) if more else None))
    except ValueError as error:
        return rows, error
    return rows, None
