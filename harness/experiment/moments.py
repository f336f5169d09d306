"""Moments: decisions drawn by a query, each with a subject, another one for the control, and a donor for patches."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from harness.config.hashing import hash_of
from harness.experiment.design import Design, ExperimentError, parse_predicate
from harness.experiment.facts import FACTS, Candidate, candidates
from harness.run.folder import Run

_OPS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


class Donor(msgspec.Struct, frozen=True):
    """The decision from which a patch is taken."""

    seq: int
    seat: int
    gap: float
    """Its stated belief about the subject minus the viewer's."""


class Moment(msgspec.Struct, frozen=True):
    """One drawn decision."""

    id: int
    run: int
    game_id: str
    seq: int
    seat: int
    role: str
    faction: str
    day: int
    subject: int
    subject_role: str
    subject_told: bool
    """Whether the viewer has been told the subject's faction."""
    other: int | None
    """Another living player of whom the viewer knows no more, for the control; None where there is none."""
    belief: dict[int, float]
    """Living other -> P(werewolf) to the viewer."""
    donor: Donor | None = None
    """opposite: the seat of the same wave whose belief about the subject differs most."""
    twin: Donor | None = None
    """The one whose belief differs least: the sham of a patch."""
    group: str = ""
    """The setting (preset, lexicon, model) that it belongs to, for the forest."""


def split_games(
    runs: Sequence[Run], share: float, seed: int
) -> tuple[set[tuple[int, str]], set[tuple[int, str]]]:
    """(games for fitting, games for moments), by a hash of the game's id and the seed."""
    every = sorted(
        ((hash_of([seed, g]), i, g) for i, run in enumerate(runs) for g in run.game_ids),
        key=lambda one: one[0],
    )
    n = round(share * len(every))
    return {(i, g) for _, i, g in every[:n]}, {(i, g) for _, i, g in every[n:]}


def draw_moments(design: Design, runs: Sequence[Run], fits: bool) -> list[Moment]:
    """The moments of a design, in the order of games. fits: whether some games are kept for fitting directions.

    Raises ExperimentError where the query matches nothing.
    """
    query = design.moments
    _, usable = split_games(runs, query.fit_share if fits else 0.0, query.seed)
    pool = [
        c
        for i, run in enumerate(runs)
        for c in candidates(run, i, query.kind, any_player=query.players == "all")
        if (i, c.game_id) in usable
    ]
    if not pool:
        raise ExperimentError(
            f"no model made a decision of kind {query.kind!r} in the {len(usable):,} games that moments come from; "
            f"kinds that models decided: {', '.join(_kinds(runs)) or 'none'}"
        )
    where = (*query.where, *(("reasons == true",) if design.reasons else ()))
    tests = [_test(text) for text in where]
    rng = np.random.default_rng([query.seed, 1])
    waves: dict[tuple[int, str, int], list[Candidate]] = {}
    for c in pool:
        waves.setdefault((c.run, c.game_id, c.wave), []).append(c)
    matched: list[tuple[Candidate, int]] = []
    reasons = {text: sum(test(c) for c in pool) for text, test in zip(where, tests, strict=True)}
    for c in pool:
        if all(test(c) for test in tests):
            subject = choose_subject(c, query.subject, rng)
            if subject is not None:
                matched.append((c, subject))
    if not matched:
        each = "; ".join(f"{text!r} alone: {n:,}" for text, n in reasons.items())
        raise ExperimentError(
            f"no moment matches: of {len(pool):,} decisions of kind {query.kind!r} none satisfies the query"
            f"{f' ({each})' if each else ''} and has a subject {query.subject!r}; loosen moments.where or subject"
        )
    chosen: list[tuple[Candidate, int]] = []
    taken: dict[tuple[int, str], int] = {}
    for k in rng.permutation(len(matched)):
        c, subject = matched[int(k)]
        if len(chosen) < query.n and taken.get((c.run, c.game_id), 0) < query.per_game:
            taken[c.run, c.game_id] = taken.get((c.run, c.game_id), 0) + 1
            chosen.append((c, subject))
    chosen.sort(key=lambda one: (one[0].run, one[0].game_id, one[0].seat, one[0].seq))
    return [
        _moment(i, c, subject, waves[c.run, c.game_id, c.wave], rng) for i, (c, subject) in enumerate(chosen)
    ]


def choose_subject(c: Candidate, rule: str, rng: np.random.Generator) -> int | None:
    """The subject of a decision by a rule, None where it has none."""
    untold = [i for i in c.options if i not in c.told]
    if rule in ("last_accused", "last_accuser"):
        seat = getattr(c, rule)
        return seat if seat in c.options else None
    if rule in ("leader", "least"):
        known = [i for i in untold if not math.isnan(c.belief[i])]
        pick = max if rule == "leader" else min
        return pick(known, key=lambda i: c.belief[i], default=None)
    asked = [i for i in untold if c.asked[i]]
    pool = {
        "drawn": untold,
        "any": list(c.options),
        "other_faction": [i for i in c.options if c.factions[i] != c.factions[c.seat]],
        "own_faction": [i for i in c.options if c.factions[i] == c.factions[c.seat]],
    }.get(rule, asked)
    return int(pool[int(rng.integers(len(pool)))]) if pool else None


def _moment(
    i: int, c: Candidate, subject: int, wave: Sequence[Candidate], rng: np.random.Generator
) -> Moment:
    others = [s for s in c.options if s not in (subject, c.seat) and s not in c.told]
    gaps = [
        Donor(d.seq, d.seat, d.belief[subject] - c.belief[subject])
        for d in wave
        if d.seat != c.seat
        and subject in d.belief
        and subject in d.options
        and not math.isnan(d.belief[subject])
    ]
    gaps.sort(key=lambda d: abs(d.gap))
    f = c.facts
    return Moment(
        id=i, run=c.run, game_id=c.game_id, seq=c.seq, seat=c.seat, role=f["role"], faction=f["faction"], day=f["day"],
        subject=subject, subject_role=c.roles[subject], subject_told=subject in c.told,
        other=int(others[int(rng.integers(len(others)))]) if others else None,
        belief={s: round(p, 6) for s, p in c.belief.items() if not math.isnan(p)},
        donor=gaps[-1] if gaps else None, twin=gaps[0] if len(gaps) > 1 else None,
        group=" ".join(str(f[k]) for k in ("preset", "lexicon", "model") if f[k]),
    )  # fmt: skip


def _test(text: str) -> Callable[[Candidate], bool]:
    name, op, value = parse_predicate(text)
    if name not in FACTS:
        raise ExperimentError(f"moments.where: no fact is called {name!r}; there are: {', '.join(FACTS)}")

    def test(c: Candidate) -> bool:
        fact = c.facts[name]
        if fact is None or (isinstance(fact, float) and math.isnan(fact)):
            return False
        if isinstance(fact, str) != isinstance(value, str):
            raise ExperimentError(f"moments.where: {text!r} compares {fact!r} with {value!r}")
        return bool(_OPS[op](fact, value))

    return test


def _kinds(runs: Sequence[Run]) -> list[str]:
    import polars as pl

    rows = [
        run.decisions.filter(pl.col("model").is_not_null())
        .select("kind")
        .unique(maintain_order=True)
        .collect()
        for run in runs
    ]
    return sorted({kind for frame in rows for kind in frame["kind"]})
