"""The rows of one game for the questions that every game has.

`another is on the other side`: asked of a seat about another, where it cannot deduce it; beside the activations the
public counts that all games name alike, for what the words of both games share.
`one's own side`: read where one's own words begin, each seat by its role; with the role line in the context, and
without it where that variant was captured.
`about to lie`: the same place before speeches, lies against true statements of the side that hides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.across.table import Group
from analysis.data.captures import attach, stores_of
from analysis.data.frames import Logs, both_rows, counts_in, reading_of
from analysis.data.labels import label
from analysis.data.targets import OWN_LIE, SiteActivations, Target, targets_of, thin
from analysis.stats.errors import AnalysisError
from games.base import Game

OTHERS, OWN, LIE = "another is on the other side", "one's own side", "about to lie"
ACTIVATIONS, UNTRAINED, COUNTS, UNTOLD = (
    "activations",
    "untrained model",
    "public counts",
    "role line removed",
)
SOURCES = {"original": ACTIVATIONS, "untrained": UNTRAINED, "no_role_line": UNTOLD}
"""Variant of the captures -> source in the table."""
GUILTY, CLEAR, LIES, TRUE = "other side", "own side", "lie", "true statement"
MAX_ROWS = 20_000


def groups_of_runs(runs: Sequence[Any]) -> tuple[list[Group], list[str]]:
    """All groups of runs (`harness.load_run(path)`) of one game each, and what was not captured, in words.

    Raises AnalysisError where two runs are of one game, one has no activations for the first question, or the
    activations are of several models.
    """
    logs = [Logs([("", run)]) for run in runs]
    names = [one.game.name for one in logs]
    if len(set(names)) < max(2, len(names)):
        raise AnalysisError(
            f"the runs are of {' and of '.join(names) or 'no game'}: give one run of each of two or more games"
        )
    models = {
        name: stores[0][1].info.model
        for name, run in zip(names, runs, strict=True)
        if (stores := stores_of(run)[0])
    }
    if len(set(models.values())) > 1:
        told = ", ".join(f"{model} in {name}" for name, model in models.items())
        raise AnalysisError(
            f"the activations are of several models ({told}): capture runs that one model played"
        )
    counted = [set(_features(one)) for one in logs]
    shared = set.intersection(*counted)
    found: list[Group] = []
    missing: list[str] = []
    for one in logs:
        groups, absent = groups_of(one, shared)
        found += groups
        missing += absent
    return found, missing


def _features(logs: Logs) -> Sequence[str]:
    return next((reading_of(log).features for log in logs), ())


def groups_of(logs: Logs, counts: Collection[str]) -> tuple[list[Group], list[str]]:
    """All groups of the logs of one run, and what was not captured, in words.

    counts: names of the public counts that are read beside the activations. Raises AnalysisError where nothing was
    captured for the first question.
    """
    game, run = logs.game, logs.runs[0][1]
    others, own = both_rows(logs)
    asked = targets_of(game, others, own, label(logs)["speeches"])
    first = attach(thin(asked[0], MAX_ROWS), logs.runs)
    if not first.activations:
        raise AnalysisError(f"{run.path}: {first.missing}; read them with wolfscope capture {run.path}")
    found = list(_of(first, game, OTHERS, np.where(first.y > 0, GUILTY, CLEAR), (GUILTY, CLEAR)))
    shared = [name for name in counts_in(first.frame) if name in counts]
    if shared:
        table = first.frame.select(shared).to_numpy().astype(np.float32)
        found.append(
            Group(
                OTHERS, COUNTS, game.name, (table,), ("counts",), found[0].kinds, first.games, (GUILTY, CLEAR)
            )
        )
    missing = []
    hidden, plain = game.belief_targets[0].roles, _plain_role(own.frame, game)
    lie = next(target for target in asked if target.name.startswith(OWN_LIE))
    for question, target in ((OWN, _target(own, OWN)), (LIE, _target(own, LIE, "speech"))):
        read = attach(thin(target, MAX_ROWS), logs.runs, own=True)
        if not read.activations:
            missing.append(f"{game.name}, {question}: {read.missing}")
            continue
        roles = read.frame["viewer_role"].to_numpy().astype(str)
        kinds = np.where(np.isin(roles, hidden), GUILTY, roles)
        contrasts = tuple((role, plain) for role in dict.fromkeys(roles) if role not in (*hidden, plain))
        learned = (GUILTY, plain)
        if question == LIE:
            kinds, learned = _told(read, lie, kinds), (LIES, TRUE)
        found += _of(read, game, question, kinds, learned, contrasts)
    return found, missing


def _plain_role(frame: pl.DataFrame, game: Game) -> str:
    """The commonest role of the side that hides nothing."""
    rest = frame.filter(~pl.col("viewer_role").is_in(game.belief_targets[0].roles))
    if rest.is_empty():
        raise AnalysisError(
            f"no decision of {game.name} was made by a seat that is not {game.belief_targets[0].phrase}"
        )
    plain = (
        rest.group_by("viewer_role", maintain_order=True)
        .len()
        .sort("len", descending=True, maintain_order=True)
    )
    return str(plain["viewer_role"][0])


def _target(own: Any, name: str, kind: str | None = None) -> Target:
    """The decisions of all seats (of one kind) as rows about oneself."""
    at = np.flatnonzero((own.frame["kind"] == kind).to_numpy()) if kind else np.arange(len(own.frame))
    return Target(name, name, own.frame[at], np.zeros(len(at)), np.arange(len(at)), own.reads[at], own.lines)


def _told(read: Target, lie: Target, kinds: NDArray[Any]) -> NDArray[Any]:
    """The kinds of speeches: those of `lie` by its label, further ones of its side by none, others by their role."""
    keys = ["game_id", "seq", "viewer"]
    labelled = lie.frame.select(keys).with_columns(lie=pl.Series(lie.y))
    y = read.frame.select(keys).join(labelled, on=keys, how="left", maintain_order="left")["lie"]
    truth = y.fill_null(np.nan).to_numpy().astype(float)
    told = np.where(truth == 1, LIES, np.where(truth == 0, TRUE, np.where(kinds == GUILTY, "", kinds)))
    return np.asarray(told)


def _of(
    target: Target,
    game: Game,
    question: str,
    kinds: NDArray[Any],
    learned: tuple[str, str],
    contrasts: tuple[tuple[str, str], ...] = (),
) -> Sequence[Group]:
    """The groups of a target, one for each captured variant at the headline's site."""
    main = target.activations[0]
    found = []
    for one in target.activations:
        if one.site != main.site or one.variant not in SOURCES:
            continue
        at = np.flatnonzero(one.at >= 0)
        if not len(at):
            continue
        found.append(
            Group(
                question, SOURCES[one.variant], game.name, _layers(one, at),
                tuple(one.layers[i] for i in one.probed), kinds[at], target.games[at], learned, contrasts,
            )
        )  # fmt: skip
    return found


def _layers(read: SiteActivations, at: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """The probed layers on some rows, each `(n_rows, d_model)`."""
    part = read.take(at)
    return tuple(part.layer(i) for i in part.probed)
