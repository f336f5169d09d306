"""What an ideal reader would believe: the posterior of `agents.observer` at every decision of a run.

With scripted players alone it is `exact`. Where a model plays too, it reads the model's acts as if a
scripted player had done them; acts that no scripted player would do are counted as seen and prove nothing.
It is then called `scripted policies`. It knows the players' policies, as no reader of the table talk does,
so the report shows it as a ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from agents.observer import Impossible, Observer, TooLarge
from analysis.frames import GameLog
from games.records import Decision, Event

SCHEMA = {
    "game_id": pl.String,
    "seq": pl.Int32,
    "viewer": pl.Int16,
    "subject": pl.Int16,
    "source": pl.String,
    "p_werewolf": pl.Float64,
}


def posteriors(logs: Sequence[GameLog]) -> tuple[pl.DataFrame, str]:
    """(game_id, seq, viewer, subject, source, p_werewolf) at every decision, and in words why rows are
    missing.

    Decisions of models alone, unless there are none. A game that the observer cannot hold or follow ends
    where it fails.
    """
    rows: dict[str, list[object]] = {name: [] for name in SCHEMA}
    models = any(isinstance(r, Decision) and r.trace is not None for log in logs for r in log.records)
    source, why, failed = "scripted policies" if models else "exact", "", 0
    for log in logs:
        try:
            _follow(log, models, source, rows)
        except TooLarge as error:
            return pl.DataFrame(schema=SCHEMA), str(error)
        except ValueError as error:
            failed, why = failed + 1, why or str(error)
    if failed:
        why = f"{failed} of {len(logs)} games could be followed in part only ({why})"
    return pl.DataFrame(rows, schema=SCHEMA), why


def _follow(log: GameLog, models: bool, source: str, rows: dict[str, list[object]]) -> None:
    observer = Observer("exact", log.config)
    facts = log.game.seats(log.config, log.records)
    wolves = {seat for seat, fact in enumerate(facts) if fact.role == "werewolf"}
    for record in log.records:
        if isinstance(record, Event):
            observer = _heard(observer, record, careful=models)
        elif record.seat not in wolves and (record.trace is not None or not models):
            p = observer.p_werewolf(record.seat)
            for subject, alive in enumerate(observer.seen.alive):
                if alive and subject != record.seat:
                    values = (log.game_id, record.seq, record.seat, subject, source, float(p[subject]))
                    for column, value in zip(rows.values(), values):
                        column.append(value)


def _heard(observer: Observer, event: Event, careful: bool) -> Observer:
    """The observer after the event. `careful`: an act of probability zero is seen but weighs nothing."""
    if not careful or event.audience is not None or event.actor is None:
        observer.update(event)
        return observer
    after = observer.fork()
    try:
        after.update(event)
        after.p_werewolf(None)  # weights are made on demand: an impossible act shows here at the latest
    except Impossible:
        observer.seen.add(event)
        return observer
    return after
