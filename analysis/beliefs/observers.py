"""What an ideal reader would believe: the posterior of `agents.werewolf.observer` at every decision of a run.

With scripted players alone it is `exact`. Where a model plays too, it reads the model's acts as if a
scripted player had done them, a small share of acts following no policy, so that none is impossible. It is
then called `scripted policies`. It knows the players' policies, as no reader of the table talk does, so the
report shows it as a ceiling. One pass over the games yields all that rests on it: first-order beliefs, what
each speaker believed when it spoke, what each utterance moved, second-order expectations.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.werewolf.observer import EVEN, Impossible, Observer, TooLarge, fit, second_order_beliefs
from analysis.beliefs.utterances import UTTERANCES, is_speech, utterance
from analysis.data.frames import GameLog
from analysis.data.roster import in_words
from games.records import Decision, Event
from games.werewolf.roles import species_of

SCHEMA = {
    "game_id": pl.String,
    "seq": pl.Int32,
    "viewer": pl.Int16,
    "subject": pl.Int16,
    "source": pl.String,
    "p_werewolf": pl.Float64,
    "p_seer": pl.Float64,
}
SECOND = {
    "game_id": pl.String,
    "seq": pl.Int32,
    "viewer": pl.Int16,
    "subject": pl.Int16,
    "about": pl.Int16,
    "expected": pl.Float64,  # what the viewer expects the subject to believe of `about`
    "actual": pl.Float64,  # what the subject believes
}
LAPSE = 0.02
"""Share of a model's acts that are taken to follow no scripted policy."""


@dataclass
class Watched:
    """What following the games with an observer gave."""

    beliefs: pl.DataFrame
    """`SCHEMA`."""
    utterances: pl.DataFrame
    second: pl.DataFrame
    speakers: dict[tuple[str, int], tuple[tuple[str, ...], NDArray[np.float64]]]
    """(game_id, seq of a speech) -> roles, and the speaker's `(n_seats, n_roles)` when it spoke."""
    why: str
    """In words, why rows are missing; empty where none is."""
    prior: str = ""
    """The prior over characters that was held, in words."""


@dataclass
class Found:
    beliefs: list[tuple[Any, ...]] = field(default_factory=list)
    utterances: list[tuple[Any, ...]] = field(default_factory=list)
    second: list[tuple[Any, ...]] = field(default_factory=list)
    speakers: dict[tuple[str, int], tuple[tuple[str, ...], NDArray[np.float64]]] = field(default_factory=dict)


def watch(
    logs: Sequence[GameLog],
    lies: Collection[tuple[str, int]] = (),
    second_at: Collection[tuple[str, int]] = (),
) -> Watched:
    """Follows all games once.

    lies: (game_id, seq) of speeches with a statement that the speaker knows to be false: their shift of belief is held
    against the truthful alternatives. second_at: (game_id, seq) of decisions whose second-order expectations are
    wanted. Beliefs are those of models' decisions alone, unless there are none; of viewers who are no werewolves, who
    know. A game that the observer cannot hold or follow ends where it fails.
    """
    games = list(logs)
    models = any(map(has_model, games))
    parts, failed, why = [watched_of(Found(), "")], 0, ""
    for log in games:
        rows, wrong = follow(log, models, lies, second_at)
        if isinstance(wrong, TooLarge):
            return watched_of(Found(), str(wrong))
        parts.append(watched_of(rows, ""))
        failed, why = failed + (wrong is not None), why or str(wrong or "")
    prior = in_words({log.game_id: log.mix for log in games})
    return replace(together(parts), why=partly(failed, len(games), why), prior=prior)


def has_model(log: GameLog) -> bool:
    """Whether a model has made a decision of the game."""
    return any(isinstance(r, Decision) and r.trace is not None for r in log.records)


def follow(
    log: GameLog,
    models: bool,
    lies: Collection[tuple[str, int]] = (),
    second_at: Collection[tuple[str, int]] = (),
    beliefs: bool = True,
) -> tuple[Found, ValueError | None]:
    """What one game gives, and why it ends early. models: whether any game of the set has some. beliefs: whether the
    first-order beliefs at every decision are wanted."""
    rows = Found()
    try:
        observer = Observer("exact", log.config, log.mix or EVEN, lapse=LAPSE if models else 0.0)
        _follow(
            log, observer, models, "scripted policies" if models else "exact", rows, lies, second_at, beliefs
        )
    except ValueError as error:
        return rows, error
    return rows, None


def together(parts: Sequence[Watched]) -> Watched:
    """Several sets of games as one."""
    return Watched(
        pl.concat([part.beliefs for part in parts]),
        pl.concat([part.utterances for part in parts]),
        pl.concat([part.second for part in parts]),
        {key: value for part in parts for key, value in part.speakers.items()},
        "",
    )


def posteriors(logs: Sequence[GameLog]) -> tuple[pl.DataFrame, str]:
    """The first-order beliefs alone (`SCHEMA`), and in words why rows are missing."""
    seen = watch(logs)
    return seen.beliefs, seen.why


def fitted_posteriors(
    logs: Sequence[GameLog], most: int = 30, seed: int = 0, sweeps: int = 1
) -> tuple[pl.DataFrame, str]:
    """As `posteriors`, under one character fitted on other games: half the games serve the other half.

    At most `most` games are fitted on. Source `fitted`. Empty, with the reason, where nothing could be fitted.
    """
    if len(logs) < 2:
        return watched_of(Found(), "").beliefs, "a character is fitted on other games; there is one game only"
    order = np.random.default_rng(seed).permutation(len(logs))
    halves = [order[: len(order) // 2], order[len(order) // 2 :]]
    models = any(isinstance(r, Decision) and r.trace is not None for log in logs for r in log.records)
    rows, failed, why = Found(), 0, ""
    for held, other in (halves, halves[::-1]):
        try:
            character = fit([(logs[i].config, logs[i].records) for i in other[:most]], sweeps)
        except ValueError as error:
            return watched_of(Found(), "").beliefs, str(error)
        for i in sorted(held):
            try:
                observer = Observer("fitted", logs[i].config, fitted=character)
                _follow(logs[i], observer, models, "fitted", rows)
            except TooLarge as error:
                return watched_of(Found(), "").beliefs, str(error)
            except ValueError as error:
                failed, why = failed + 1, why or str(error)
    return watched_of(rows, "").beliefs, partly(failed, len(logs), why)


def partly(failed: int, n: int, why: str) -> str:
    """In words, that some games could not be followed to their end."""
    return f"{failed} of {n} games could be followed in part only ({why})" if failed else ""


def watched_of(rows: Found, why: str) -> Watched:
    """The rows as frames."""
    return Watched(
        pl.DataFrame(rows.beliefs, schema=SCHEMA, orient="row"),
        pl.DataFrame(rows.utterances, schema=UTTERANCES, orient="row"),
        pl.DataFrame(rows.second, schema=SECOND, orient="row"),
        rows.speakers,
        why,
    )


def _follow(
    log: GameLog,
    observer: Observer,
    models: bool,
    source: str,
    rows: Found,
    lies: Collection[tuple[str, int]] = (),
    second_at: Collection[tuple[str, int]] = (),
    beliefs: bool = True,
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
            seq = spoke.pop(record.actor, None) if is_speech(record) and record.actor is not None else None
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
        if record.kind == "speech":
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
