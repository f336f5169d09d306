"""What an ideal reader would believe: the posterior of the game's observer at every decision of a run.

With scripted players alone the observer is `exact`. Where a model plays too, the observer reads the model's acts as if
a scripted player had done them, with a small share of acts following no policy, so that no act is impossible; it is
then called `scripted policies`. It knows the players' policies, which no reader of the table talk knows, so the report
shows it as a ceiling. One pass over the games yields first-order beliefs, what each speaker believed when it spoke, the
shift of belief at each utterance, and second-order expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from agents.werewolf.observer import TooLarge
from analysis.beliefs.followers import FOLLOWERS, Follower
from analysis.beliefs.tables import LAPSE, Found, Watched, partly, watched_of
from analysis.data.frames import GameLog
from analysis.data.roster import in_words
from games.records import Decision, Event


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
    whole, failed, why = Found(), 0, ""
    for log in games:
        rows, wrong = follow(log, models, lies, second_at)
        if isinstance(wrong, TooLarge):
            return watched_of(Found(), str(wrong))
        whole.add(rows)
        failed, why = failed + (wrong is not None), why or str(wrong or "")
    prior = in_words({log.game_id: log.mix for log in games})
    return replace(watched_of(whole, partly(failed, len(games), why)), prior=prior)


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
    follower = FOLLOWERS.get(log.game.name)
    if follower is None:
        return Found(), ValueError(f"no observer of the game {log.game.name} is known")
    return follower.follow(log, models, lies, second_at, beliefs)


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
) -> tuple[dict[str, Any] | None, str]:
    """For every game the character that was fitted on games of the other half; None, with the reason, without a fit.

    `read` gives the logs of some games; at most `most` of each half are read.
    """
    if len(ids) < 2:
        return None, "a character is fitted on other games; there is one game only"
    order = np.random.default_rng(seed).permutation(len(ids))
    halves = [order[: len(order) // 2], order[len(order) // 2 :]]
    found: dict[str, Any] = {}
    for held, other in (halves, halves[::-1]):
        try:
            games = list(read([ids[i] for i in sorted(other[:most])]))
            follower = FOLLOWERS.get(games[0].game.name)
            if follower is None or follower.fitted_to is None:
                return None, f"no character of {games[0].game.name} is fitted"
            character = follower.fitted_to(games, sweeps)
        except ValueError as error:
            return None, str(error)
        found |= {ids[i]: character for i in held}
    return found, ""


def follow_fitted(log: GameLog, fits: Mapping[str, Any], models: bool, rows: Found) -> ValueError | None:
    """Adds the beliefs of the observer `fitted` to `rows`; why it ends early."""
    follower = FOLLOWERS[log.game.name]
    return None if follower.fitted is None else follower.fitted(log, fits[log.game_id], models, rows)


def follow_rungs(log: GameLog, rows: Found, models: bool) -> None:
    """Adds to `rows.rungs` what observers of every rung believe at the decisions of the game's own rows of beliefs.

    The highest rung is the exact observer, whose rows are there. `rows` are of this game alone.
    """
    follower = FOLLOWERS.get(log.game.name)
    if follower is None:
        return
    asked = {int(row[1]) for row in rows.beliefs}
    for name in follower.RUNGS[:-1]:
        rows.rungs += rung_rows(follower, log, name, asked, models)
    rows.rungs += [(*row[:4], follower.RUNGS[-1], row[5], None) for row in rows.beliefs]


def rung_rows(
    follower: Follower, log: GameLog, name: str, asked: Collection[int], models: bool
) -> list[tuple[Any, ...]]:
    """Rows of `SCHEMA` of one rung at the decisions `asked` (seq), up to where its observer cannot follow the game."""
    rows = list[tuple[Any, ...]]()
    try:
        observer = follower.on_rung(log, name, LAPSE if models else 0.0)
        for record in log.records:
            if isinstance(record, Event):
                observer.update(record)
            elif record.seq in asked:
                rows += follower.believed(log, observer, record, name)
    except ValueError:
        pass  # the observer does not model or cannot follow the game: no rows from there on
    return rows
