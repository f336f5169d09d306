"""An ideal reader's beliefs in games other than Werewolf: first- and second-order, and with evidence up to every
rung."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from agents.avalon import observer as avalon
from agents.werewolf import observer as werewolf
from analysis.data.frames import GameLog
from games.avalon.config import AvalonConfig
from games.records import Decision, Event

RUNGS: Mapping[str, tuple[str, ...]] = {"werewolf": werewolf.RUNGS, "avalon": avalon.RUNGS}
"""Game -> its rungs of evidence, the lowest first."""
MEANS: Mapping[str, str] = {"werewolf": werewolf.MEANS, "avalon": avalon.MEANS}
"""Game -> its rungs in words."""
Rows = list[tuple[Any, ...]]


def follow_other(
    log: GameLog,
    models: bool,
    lapse: float,
    second_at: Collection[tuple[str, int]] = (),
    beliefs: bool = True,
) -> tuple[Rows, Rows, ValueError | None]:
    """Rows of `analysis.beliefs.observers.SCHEMA` and `SECOND` of a game, and why they end early.

    models: whether only decisions of models are asked for; then a share `lapse` of acts follows no policy. second_at:
    (game_id, seq) of decisions whose second-order expectations are wanted. beliefs: whether first-order ones are.
    """
    rows: Rows = []
    second: Rows = []
    if not isinstance(log.config, AvalonConfig):
        return rows, second, ValueError(f"no observer of the game {log.game.name} is known")
    first = log.game.belief_targets[0]
    guilty = [i for i, fact in enumerate(log.game.seats(log.config, log.records)) if fact.role in first.roles]
    source = "scripted policies" if models else "exact"
    try:
        observer = avalon.Observer("exact", log.config, lapse=lapse if models else 0.0)
        for record in log.records:
            if isinstance(record, Event):
                observer.update(record)
                continue
            if beliefs and (record.trace is not None or not models):
                rows += _believed(log, observer, record, source)
            if (log.game_id, record.seq) in second_at and record.seat not in guilty:
                second += _expected(log.game_id, record.seq, record.seat, observer)
    except ValueError as error:
        return rows, second, error
    return rows, second, None


def other_rung_rows(log: GameLog, asked: Collection[int], models: bool, lapse: float) -> Rows:
    """Rows of `SCHEMA` of every rung but the highest at the decisions `asked` (seq)."""
    rows: Rows = []
    if not isinstance(log.config, AvalonConfig):
        return rows
    for rung, name in enumerate(avalon.RUNGS[:-1]):
        try:
            observer = (
                avalon.Observer("exact", log.config, lapse=lapse if models else 0.0, rung=rung)
                if rung
                else avalon.Observer("rules", log.config)
            )
            for record in log.records:
                if isinstance(record, Event):
                    observer.update(record)
                elif record.seq in asked:
                    rows += _believed(log, observer, record, name)
        except ValueError:
            continue  # the observer does not model or cannot follow the game: no rows from there on
    return rows


def _believed(log: GameLog, observer: avalon.Observer, record: Decision, source: str) -> Rows:
    first, *more = log.game.belief_targets
    rows: Rows = []
    for subject, p in enumerate(observer.beliefs(record.seat)):
        told = dict(zip(observer.roles, map(float, p), strict=True))
        if subject != record.seat:
            at = (log.game_id, record.seq, record.seat, subject, source)
            rows.append((*at, first.p(told), more[0].p(told) if more else None))
    return rows


def _expected(game_id: str, seq: int, viewer: int, observer: avalon.Observer) -> Rows:
    [expected] = avalon.second_order_beliefs(observer, [viewer])
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
