"""The effects of a change: outcome, exile, others' ballots and beliefs, with intervals, against continuations without
it.

Shares are compared pair by pair (continuation k with and without the change had the same seed): Newcombe's score
interval for a difference of paired proportions (Newcombe 1998, Statistics in Medicine 17:2635, method 10). Means of
numbers have bootstrap intervals over pairs (`analysis.stats.bootstrap`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from analysis.stats.bootstrap import mean_interval
from games.base import GameError
from games.records import NOBODY, Decision, Event, Record
from harness.errors import RunFolderError
from harness.play.progress import wilson
from harness.run.folder import Run, load_run
from harness.schedule.branched import Origin, origin_of

FEWEST = 5
"""Below this many pairs a mean gets the widest possible interval and is never marked."""
MOST_POSTERIORS = 40
"""Continuations of each arm whose posteriors are computed; each takes up to a second."""
Z = 1.959964


class Effect(msgspec.Struct, frozen=True):
    """One number with the change and without it."""

    kind: str
    """`outcome`, `next_exile`, `ballot` (one voter's next ballot), `votes` (others' next ballots against one seat),
    `belief`, `decision` (the decision itself, where it was made again)."""
    what: str
    """In words."""
    n: int
    """Pairs, or continuations of a single arm."""
    unchanged: float
    """Share or mean without the change."""
    low: float
    """Bounds of `difference`; where there is no changed arm, of `unchanged`."""
    high: float
    changed: float | None = None
    difference: float | None = None
    seat: int | None = None
    """The voter or viewer."""
    target: int | None = None


class Effects(msgspec.Struct, frozen=True):
    """All effects of a branch."""

    what: str
    game_id: str
    seq: int
    n: int
    n_failed: int
    recorded: str | None
    """The winner of the recorded game, where that is still there."""
    bits: dict[str, float]
    """Entropy in bits over the unchanged continuations, 0 where they all agree: `outcome`, `next_exile`, `decision`."""
    effects: tuple[Effect, ...]


def effects(path: str | Path) -> Effects:
    """The effects of a finished branch. Raises RunFolderError where the run is no branch."""
    return measure(load_run(path))


def measure(run: Run) -> Effects:
    """As `effects`, for an open run."""
    origin = origin_of(run.manifest)
    if origin is None:
        raise RunFolderError(f"{run.path} is no branch: its manifest names no parent")
    seen = _Seen(run, origin)
    found: list[Effect] = []
    names = seen.names
    for kind, facts, label in (
        ("outcome", seen.outcome, lambda v: f"{v} wins"),
        ("next_exile", seen.exile, lambda v: f"{_name(names, v)} is exiled next"),
        ("decision", seen.decision, str),
    ):
        values = sorted({v for arm in facts.values() for v in arm.values()}, key=str)
        for value in values:
            shares = {arm: {k: float(v == value) for k, v in by.items()} for arm, by in facts.items()}
            target = value if isinstance(value, int) else None
            found.append(_effect(kind, label(value), shares, binary=True, target=target))
    for voter, target in sorted({key for arm in seen.ballots.values() for key in arm}):
        shares = {arm: by.get((voter, target), {}) for arm, by in seen.ballots.items()}
        shares = {
            arm: {k: by.get(k, 0.0) for k in seen.voted[arm].get(voter, ())} for arm, by in shares.items()
        }
        what = f"{_name(names, voter)} votes {_name(names, target)}"
        found.append(_effect("ballot", what, shares, binary=True, seat=voter, target=target))
    for target in sorted({t for arm in seen.votes.values() for by in arm.values() for t in by}):
        counts = {
            arm: {k: float(by.get(target, 0)) for k, by in rows.items()} for arm, rows in seen.votes.items()
        }
        found.append(_effect("votes", f"votes of others for {_name(names, target)}", counts, target=target))
    stated = _beliefs(run, seen, names)
    found += stated or _posteriors(run, seen, origin, names)
    recorded = _recorded(origin)
    bits = {
        kind: _entropy(facts["unchanged"].values())
        for kind, facts in (
            ("outcome", seen.outcome),
            ("next_exile", seen.exile),
            ("decision", seen.decision),
        )
        if facts.get("unchanged")
    }
    return Effects(
        what=origin.what,
        game_id=origin.game_id,
        seq=origin.seq,
        n=origin.n,
        n_failed=seen.n_failed,
        recorded=recorded,
        bits={key: round(value, 4) for key, value in bits.items()},
        effects=tuple(e for e in found if e.n > 0),
    )


class _Seen:
    """The facts of every continuation, by arm and number."""

    def __init__(self, run: Run, origin: Origin) -> None:
        rows = run.games.select("game_id", "index", "cell", "winner", "status").collect()
        arms = [arm.name for arm in origin.arms]
        self.where = {g: (arms[cell], index // len(arms)) for g, index, cell, _, _ in rows.iter_rows()}
        self.n_failed = rows.filter(pl.col("status") == "failed").height
        self.outcome: dict[str, dict[int, str | int]] = {arm: {} for arm in arms}
        self.exile: dict[str, dict[int, str | int]] = {arm: {} for arm in arms}
        self.decision: dict[str, dict[int, str | int]] = {arm: {} for arm in arms}
        self.ballots: dict[str, dict[tuple[int, int], dict[int, float]]] = {arm: {} for arm in arms}
        self.voted: dict[str, dict[int, list[int]]] = {arm: {} for arm in arms}
        self.votes: dict[str, dict[int, Counter[int]]] = {arm: {} for arm in arms}
        self.names: list[str] = []
        self.own = {seat for key in ("seat", "other") if (seat := origin.change.get(key)) is not None}
        """The seats that the change is made at; they are excluded from the others."""
        winners = {g: (winner, status) for g, _, _, winner, status in rows.iter_rows()}
        for game_id, log in run.logs():
            winner, status = winners[game_id]
            if status != "finished":
                continue
            arm, k = self.where[game_id]
            if not self.names:
                game, config, _ = run.game(game_id)
                self.names = [fact.name for fact in game.seats(config, log)]
            self.outcome[arm][k] = winner
            self._read(arm, k, log, origin)

    def _read(self, arm: str, k: int, log: Sequence[Record], origin: Origin) -> None:
        own = next((r for r in log if r.seq == origin.seq and isinstance(r, Decision)), None)
        self.own |= set() if own is None else {own.seat}
        if own is not None and origin.first <= origin.seq:  # it was made again
            said = own.action.text if own.action.option is None else _name(self.names, own.action.option)
            self.decision[arm][k] = f"{own.kind}: {said if said else 'silence'}"
        first: dict[int, int] = {}
        for record in log:
            if record.seq < origin.first:
                continue
            if isinstance(record, Event) and record.kind == "exile" and k not in self.exile[arm]:
                self.exile[arm][k] = NOBODY if record.target is None else record.target
            if isinstance(record, Decision) and record.kind == "ballot" and record.seat not in self.own:
                option = record.action.option
                first.setdefault(record.seat, NOBODY if option is None else option)
        self.exile[arm].setdefault(k, NOBODY)
        for voter, target in first.items():
            self.ballots[arm].setdefault((voter, target), {})[k] = 1.0
            self.voted[arm].setdefault(voter, []).append(k)
        if first:
            self.votes[arm][k] = Counter(first.values())


def _beliefs(run: Run, seen: _Seen, names: Sequence[str]) -> list[Effect]:
    """The first belief of each other viewer about each subject after the decision, averaged over viewers."""
    origin = origin_of(run.manifest)
    if origin is None:
        return []
    asked = run.manifest.cells[0].rules()[0].belief_targets[0]
    rows = (
        run.beliefs.filter(pl.col("about").is_null(), pl.col("seq") >= origin.first)
        .filter(pl.col("viewer") != pl.col("subject"), ~pl.col("viewer").is_in(sorted(seen.own)))
        .sort("seq", maintain_order=True)
        .group_by("game_id", "source", "viewer", "subject", maintain_order=True)
        .first()
        .group_by("game_id", "source", "subject", maintain_order=True)
        .agg(pl.col("p_werewolf").mean())
        .collect()
    )
    found: list[Effect] = []
    for (source, subject), part in sorted(rows.partition_by("source", "subject", as_dict=True).items()):
        means: dict[str, dict[int, float]] = {arm: {} for arm in seen.outcome}
        for game_id, p in part.select("game_id", "p_werewolf").iter_rows():
            arm, k = seen.where[game_id]
            if p is not None:
                means[arm][k] = p
        what = f"others hold {_name(names, int(subject))} for {asked.phrase} ({source})"
        found.append(_effect("belief", what, means, target=int(subject)))
    return found


def _posteriors(run: Run, seen: _Seen, origin: Origin, names: Sequence[str]) -> list[Effect]:
    """The posterior of a perfect observer in the villagers' seats at the next ballot, where nobody stated beliefs."""
    from harness.replay.posteriors import posteriors_of
    from harness.replay.replay import Replay

    known = posteriors_of(run)
    asked = run.manifest.cells[0].rules()[0].belief_targets[0]
    source = "exact" if "exact" in known else "rules"
    values: dict[int, dict[str, dict[int, float]]] = {}
    for game_id, log in run.logs():
        arm, k = seen.where[game_id]
        if k >= MOST_POSTERIORS or k not in seen.outcome[arm]:
            continue
        replay = Replay(run, game_id, log)
        hidden = {fact.faction for fact in replay.seats if fact.role in asked.roles}
        village = [i for i, fact in enumerate(replay.seats) if fact.faction not in hidden]
        until = next(
            (r.seq for r in log if r.seq >= origin.first and isinstance(r, Decision) and r.kind == "ballot"),
            log[-1].seq,
        )
        try:
            points = known[source](replay)
        except GameError:
            return []
        latest = {(viewer, subject): p for seq, viewer, subject, p in points if seq < until}
        for subject in range(len(names)):
            held = [latest[v, subject] for v in village if v != subject and (v, subject) in latest]
            if held:
                values.setdefault(subject, {a: {} for a in seen.outcome})[arm][k] = sum(held) / len(held)
    return [
        _effect(
            "belief", f"{_name(names, subject)} is {asked.phrase} ({source} posterior)", by, target=subject
        )
        for subject, by in sorted(values.items())
    ]


def _effect(
    kind: str,
    what: str,
    values: dict[str, dict[int, float]],
    binary: bool = False,
    seat: int | None = None,
    target: int | None = None,
) -> Effect:
    """One effect from the numbers of every continuation, by arm and k."""
    without = values["unchanged"]
    if "changed" not in values:
        x = np.array(list(without.values()))
        n = len(x)
        mean = float(x.mean()) if n else 0.0
        low, high = wilson(int(x.sum()), n) if binary else _mean_over_pairs(x)
        return Effect(kind, what, n, _r(mean), _r(low), _r(high), seat=seat, target=target)
    pairs = sorted(values["changed"].keys() & without.keys())
    a = np.array([values["changed"][k] for k in pairs])
    b = np.array([without[k] for k in pairs])
    if not pairs:
        return Effect(kind, what, 0, 0.0, 0.0, 0.0, 0.0, 0.0, seat, target)
    low, high = paired_shares(a, b) if binary else _mean_over_pairs(a - b)
    if not binary and len(pairs) < FEWEST:
        high = max(1.0, float(np.abs(a - b).max()))
        low = -high
    p, q = float(a.mean()), float(b.mean())
    return Effect(kind, what, len(pairs), _r(q), _r(low), _r(high), _r(p), _r(p - q), seat, target)


def paired_shares(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Newcombe's interval of mean(a) - mean(b) for paired zeros and ones (n,)."""
    n = len(a)
    p, q = float(a.mean()), float(b.mean())
    lp, up = wilson(round(p * n), n)
    lq, uq = wilson(round(q * n), n)
    both, only_a, only_b = float((a * b).sum()), float((a * (1 - b)).sum()), float(((1 - a) * b).sum())
    none = n - both - only_a - only_b
    scale = (both + only_a) * (only_b + none) * (both + only_b) * (only_a + none)
    phi = 0.0
    if scale > 0:
        cross = both * none - only_a * only_b
        phi = (max(cross - n / 2, 0.0) if cross > 0 else cross) / math.sqrt(scale)
    down = (p - lp) ** 2 - 2 * phi * (p - lp) * (uq - q) + (uq - q) ** 2
    upper = (up - p) ** 2 - 2 * phi * (up - p) * (q - lq) + (q - lq) ** 2
    return p - q - math.sqrt(max(down, 0.0)), p - q + math.sqrt(max(upper, 0.0))


def _mean_over_pairs(x: np.ndarray) -> tuple[float, float]:
    """The interval of the mean of x (n,) over pairs; zeros where there are none."""
    found = mean_interval(x, np.arange(len(x)))
    return (found.low, found.high) if len(x) else (0.0, 0.0)


def _recorded(origin: Origin) -> str | None:
    try:
        rows = (
            load_run(origin.run).games.filter(pl.col("game_id") == origin.game_id).select("winner").collect()
        )
    except RunFolderError:
        return None
    return str(rows.item()) if rows.height == 1 else None


def _entropy(values: Iterable[str | int]) -> float:
    counts = Counter(values)
    n = sum(counts.values())
    return -sum(c / n * math.log2(c / n) for c in counts.values()) + 0.0


def _name(names: Sequence[str], seat: str | int) -> str:
    if not isinstance(seat, int):
        return str(seat)
    return names[seat] if 0 <= seat < len(names) else "nobody" if seat == NOBODY else str(seat)


def _r(value: float) -> float:
    return round(value, 4)
