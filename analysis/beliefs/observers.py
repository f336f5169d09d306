"""What an ideal reader would believe: the posterior of `agents.werewolf.observer` at every decision of a run.

With scripted players alone the observer is `exact`. Where a model plays too, the observer reads the model's acts as if
a scripted player had done them, with a small share of acts following no policy, so that no act is impossible; it is
then called `scripted policies`. It knows the players' policies, which no reader of the table talk knows, so the report
shows it as a ceiling. One pass over the games yields first-order beliefs, what each speaker believed when it spoke, the
shift of belief at each utterance, and second-order expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.werewolf.observer import (
    EVEN,
    Fitted,
    Impossible,
    Observer,
    TooLarge,
    fit,
    second_order_beliefs,
)
from analysis.beliefs.others import RUNGS, follow_other, other_rung_rows
from analysis.beliefs.utterances import UTTERANCES, is_speech, utterance
from analysis.data.frames import GameLog
from analysis.data.roster import in_words
from games.records import Decision, Event
from games.werewolf.config import WerewolfConfig
from games.werewolf.roles import species_of

SCHEMA = {
    "game_id": pl.String,
    "seq": pl.Int32,
    "viewer": pl.Int16,
    "subject": pl.Int16,
    "source": pl.String,
    "p_werewolf": pl.Float64,  # in another game: the role of its first belief target
    "p_seer": pl.Float64,  # the same for its second
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
    """An observer's results for some games."""

    beliefs: pl.DataFrame
    """`SCHEMA`."""
    utterances: pl.DataFrame
    second: pl.DataFrame
    speakers: dict[tuple[str, int], tuple[tuple[str, ...], NDArray[np.float64]]]
    """(game_id, seq of a speech) -> roles, and the speaker's posterior `(n_seats, n_roles)` when it spoke."""
    why: str
    """Why rows are missing, in words; empty where none is."""
    prior: str = ""
    """The observer's prior over characters, in words."""
    rungs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))
    """`SCHEMA`, source: a rung of `RUNGS`, for the games that the observers of every rung follow."""
    fitted: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))
    """`SCHEMA`, source `fitted`."""
    no_fit: str = ""
    """Why rows of `fitted` are missing, in words."""


@dataclass
class Found:
    beliefs: list[tuple[Any, ...]] = field(default_factory=list)
    utterances: list[tuple[Any, ...]] = field(default_factory=list)
    second: list[tuple[Any, ...]] = field(default_factory=list)
    speakers: dict[tuple[str, int], tuple[tuple[str, ...], NDArray[np.float64]]] = field(default_factory=dict)
    rungs: list[tuple[Any, ...]] = field(default_factory=list)


def watch(
    logs: Sequence[GameLog],
    lies: Collection[tuple[str, int]] = (),
    second_at: Collection[tuple[str, int]] = (),
) -> Watched:
    """Follows all games once.

    lies: (game_id, seq) of speeches with a statement that the speaker knows to be false: their shift of belief is
    compared with that of the truthful alternatives. second_at: (game_id, seq) of decisions whose second-order
    expectations are wanted. Beliefs are given for decisions of models alone, unless there are none, and not for
    werewolves, who know the answer. A game that the observer does not model or cannot follow ends where it fails.
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
    """One game's results, and why they end early. models: whether any game of the set has a model's decisions. beliefs:
    whether the first-order beliefs at every decision are wanted."""
    rows = Found()
    if not isinstance(log.config, WerewolfConfig):
        rows.beliefs, rows.second, wrong = follow_other(log, models, LAPSE, second_at, beliefs)
        return rows, wrong
    try:
        observer = Observer("exact", log.config, log.mix or EVEN, lapse=LAPSE if models else 0.0)
        _follow(
            log, observer, models, "scripted policies" if models else "exact", rows, lies, second_at, beliefs
        )
    except ValueError as error:
        return rows, error
    return rows, None


def together(parts: Sequence[Watched]) -> Watched:
    """The results of several sets of games joined."""
    return Watched(
        pl.concat([part.beliefs for part in parts]),
        pl.concat([part.utterances for part in parts]),
        pl.concat([part.second for part in parts]),
        {key: value for part in parts for key, value in part.speakers.items()},
        "",
        rungs=pl.concat([part.rungs for part in parts]),
        fitted=pl.concat([part.fitted for part in parts]),
    )


def posteriors(logs: Sequence[GameLog]) -> tuple[pl.DataFrame, str]:
    """The first-order beliefs alone (`SCHEMA`), and why rows are missing, in words."""
    seen = watch(logs)
    return seen.beliefs, seen.why


def fitted_posteriors(
    logs: Sequence[GameLog], most: int = 30, seed: int = 0, sweeps: int = 1
) -> tuple[pl.DataFrame, str]:
    """`posteriors` under one character fitted on other games: each half of the games is followed with the other half's
    fit.

    Each fit uses at most `most` games. Source `fitted`. Empty, with the reason, where nothing could be fitted.
    """
    by_id = {log.game_id: log for log in logs}
    fits, why = fit_halves(list(by_id), lambda ids: [by_id[game] for game in ids], most, seed, sweeps)
    if fits is None:
        return watched_of(Found(), "").beliefs, why
    models, rows, failed = any(map(has_model, logs)), Found(), 0
    for log in logs:
        wrong = follow_fitted(log, fits, models, rows)
        if isinstance(wrong, TooLarge):
            return watched_of(Found(), "").beliefs, str(wrong)
        failed, why = failed + (wrong is not None), why or str(wrong or "")
    return watched_of(rows, "").beliefs, partly(failed, len(logs), why)


def fit_halves(
    ids: Sequence[str],
    read: Callable[[list[str]], Iterable[GameLog]],
    most: int = 30,
    seed: int = 0,
    sweeps: int = 1,
) -> tuple[dict[str, Fitted] | None, str]:
    """For every game the character that was fitted on games of the other half; None, with the reason, without a fit.

    `read` gives the logs of some games; at most `most` of each half are read.
    """
    if len(ids) < 2:
        return None, "a character is fitted on other games; there is one game only"
    order = np.random.default_rng(seed).permutation(len(ids))
    halves = [order[: len(order) // 2], order[len(order) // 2 :]]
    found: dict[str, Fitted] = {}
    for held, other in (halves, halves[::-1]):
        try:
            games = list(read([ids[i] for i in sorted(other[:most])]))
            if not all(isinstance(log.config, WerewolfConfig) for log in games):
                return None, f"no character of {games[0].game.name} is fitted"
            character = fit([(log.config, log.records) for log in games], sweeps)
        except ValueError as error:
            return None, str(error)
        found |= {ids[i]: character for i in held}
    return found, ""


def follow_fitted(log: GameLog, fits: Mapping[str, Fitted], models: bool, rows: Found) -> ValueError | None:
    """Adds the beliefs of the observer `fitted` to `rows`; why it ends early."""
    try:
        observer = Observer("fitted", log.config, fitted=fits[log.game_id])
        _follow(log, observer, models, "fitted", rows, speeches=False)
    except ValueError as error:
        return error
    return None


def follow_rungs(log: GameLog, rows: Found, models: bool) -> None:
    """Adds to `rows.rungs` what observers of every rung believe at the decisions of the game's own rows of beliefs.

    The highest rung is the exact observer, whose rows are there. `rows` are of this game alone.
    """
    asked, rungs = {int(row[1]) for row in rows.beliefs}, RUNGS.get(log.game.name, ())
    if not isinstance(log.config, WerewolfConfig):
        rows.rungs += other_rung_rows(log, asked, models, LAPSE)
    else:
        for name in rungs[:-1]:
            rows.rungs += rung_rows(log, name, asked, models)
    rows.rungs += [(*row[:4], rungs[-1], row[5], None) for row in rows.beliefs if rungs]


def rung_rows(log: GameLog, name: str, asked: Collection[int], models: bool) -> list[tuple[Any, ...]]:
    """Rows of `SCHEMA` of one rung at the decisions `asked` (seq), up to where its observer cannot follow the game."""
    rung, rows = RUNGS["werewolf"].index(name), list[tuple[Any, ...]]()
    try:
        if rung:
            observer = Observer(
                "exact", log.config, log.mix or EVEN, rung=rung, lapse=LAPSE if models else 0.0
            )
        else:
            observer = Observer("rules", log.config)
        for record in log.records:
            if isinstance(record, Event):
                observer.update(record)
            elif record.seq in asked:
                p = observer.p_werewolf(record.seat)
                rows += [
                    (log.game_id, record.seq, record.seat, subject, name, float(p[subject]), None)
                    for subject, alive in enumerate(observer.seen.alive)
                    if alive and subject != record.seat
                ]
    except ValueError:
        pass  # the observer does not model or cannot follow the game: no rows from there on
    return rows


def partly(failed: int, n: int, why: str) -> str:
    """A sentence saying that some games could not be followed to their end."""
    return f"{failed} of {n} games could be followed in part only ({why})" if failed else ""


def watched_of(rows: Found, why: str) -> Watched:
    """The rows as frames."""
    return Watched(
        pl.DataFrame(rows.beliefs, schema=SCHEMA, orient="row"),
        pl.DataFrame(rows.utterances, schema=UTTERANCES, orient="row"),
        pl.DataFrame(rows.second, schema=SECOND, orient="row"),
        rows.speakers,
        why,
        rungs=pl.DataFrame(rows.rungs, schema=SCHEMA, orient="row"),
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
