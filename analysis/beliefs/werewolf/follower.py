"""Rows of beliefs from the observers of Werewolf (`analysis.beliefs.followers.Follower`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from agents.werewolf import observer as OBSERVER
from agents.werewolf.observer import (
    EVEN,
    MEANS,
    RUNGS,
    Fitted,
    Impossible,
    Observer,
    fit,
    second_order_beliefs,
)
from analysis.beliefs.tables import LAPSE, Found
from analysis.beliefs.werewolf.utterances import is_speech, utterance
from analysis.data.frames import GameLog
from games.records import Decision, Event
from games.werewolf.roles import faction_of, species_of

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

GAME = "werewolf"


def follow(
    log: GameLog,
    models: bool,
    lies: Collection[tuple[str, int]] = (),
    second_at: Collection[tuple[str, int]] = (),
    beliefs: bool = True,
) -> tuple[Found, ValueError | None]:
    """One game's results, and why they end early."""
    rows = Found()
    try:
        observer = Observer("exact", log.config, log.mix or EVEN, lapse=LAPSE if models else 0.0)
        source = "scripted policies" if models else "exact"
        _follow(log, observer, models, source, rows, lies, second_at, beliefs)
    except ValueError as error:
        return rows, error
    return rows, None


def fitted_to(games: Sequence[GameLog], sweeps: int) -> Fitted:
    """The character that explains the games best. Raises ValueError where none can be fitted."""
    return fit([(log.config, log.records) for log in games], sweeps)


def fitted(log: GameLog, character: Fitted, models: bool, rows: Found) -> ValueError | None:
    """Adds the beliefs of the observer under a fitted character to `rows`; why it ends early."""
    try:
        observer = Observer("fitted", log.config, fitted=character)
        _follow(log, observer, models, "fitted", rows, speeches=False)
    except ValueError as error:
        return error
    return None


def on_rung(log: GameLog, name: str, lapse: float) -> Observer:
    """The observer on a rung, before the game."""
    return Observer.on_rung(name, log.config, log.mix or EVEN, lapse=lapse)


def believed(log: GameLog, observer: Observer, record: Decision, source: str) -> list[tuple[Any, ...]]:
    """What the observer believes in the place of the seat that decides: rows of `SCHEMA`."""
    p = observer.p_werewolf(record.seat)
    return [
        (log.game_id, record.seq, record.seat, subject, source, float(p[subject]), None)
        for subject, alive in enumerate(observer.seen.alive)
        if alive and subject != record.seat
    ]


def p_of(row: Mapping[str, Any], roles: Sequence[str], beliefs: np.ndarray) -> float | None:
    """Probability of a statement's proposition (a row of `analysis.data.labels`) under its speaker's beliefs
    `(n_seats, n_roles)`; None where they say nothing of it."""
    if row["kind"] in ("accuse", "defend"):
        p = float(beliefs[row["subject"], roles.index("werewolf")])
        return p if row["kind"] == "accuse" else 1 - p
    if row["kind"] == "report_inspection":
        shown = [row["role"] in (role, faction_of(role), species_of(role)) for role in roles]
        return float(beliefs[row["subject"], shown].sum())
    return None


def _follow(
    log: GameLog,
    observer: Observer,
    models: bool,
    source: str,
    rows: Found,
    lies: Collection[tuple[str, int]] = (),
    second_at: Collection[tuple[str, int]] = (),
    beliefs: bool = True,
    speeches: bool = True,
) -> None:
    facts = log.game.seats(log.config, log.records)
    wolves = {seat for seat, fact in enumerate(facts) if fact.role == "werewolf"}
    spoke: dict[int, int] = {}  # seat -> its last speech decision
    results: dict[int, list[tuple[int, bool]]] = {}
    wolf = observer.roles.index("werewolf")
    seer = observer.roles.index("seer") if "seer" in observer.roles else None
    for record in log.records:
        if isinstance(record, Event):
            if record.kind == "inspect" and record.actor is not None and record.target is not None:
                found = record.value == "werewolf" or species_of(record.value or "") == "werewolf"
                results.setdefault(record.actor, []).append((record.target, found))
            seq = None
            if speeches and is_speech(record) and record.actor is not None:
                seq = spoke.pop(record.actor, None)
            if seq is None:
                observer.update(record)
            else:
                roles = [fact.role for fact in facts]
                known = results.get(record.actor or 0, []) if record.actor is not None else []
                lie = (log.game_id, seq) in lies
                rows.utterances.append(
                    utterance(log.game_id, seq, observer, record, roles, known if lie else None, facts)
                )
            continue
        seat = record.seat
        wanted = record.trace is not None or not models
        if speeches and record.kind == "speech":
            spoke[seat] = record.seq
            rows.speakers[log.game_id, record.seq] = (tuple(observer.roles), observer.beliefs(seat))
        if seat in wolves or not wanted:
            continue
        p = observer.beliefs(seat) if beliefs else None
        for subject, alive in enumerate(observer.seen.alive):
            if p is not None and alive and subject != seat:
                of_seer = None if seer is None else float(p[subject, seer])
                rows.beliefs.append(
                    (log.game_id, record.seq, seat, subject, source, float(p[subject, wolf]), of_seer)
                )
        if (log.game_id, record.seq) in second_at:
            rows.second += _second(log.game_id, record.seq, seat, observer)


def _second(game_id: str, seq: int, viewer: int, observer: Observer) -> list[tuple[Any, ...]]:
    expected = second_order_beliefs(observer, viewer)
    living = [j for j, alive in enumerate(observer.seen.alive) if alive]
    found = []
    for j in living:
        if j == viewer:
            continue
        try:
            actual = observer.p_werewolf(j)
        except Impossible:
            continue
        found += [
            (game_id, seq, viewer, j, k, float(expected[j, k]), float(actual[k])) for k in living if k != j
        ]
    return found
