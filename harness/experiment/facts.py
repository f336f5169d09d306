"""The facts of a run's model decisions that a query over moments can name, with the viewer's beliefs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from agents.llm.beliefs import gone
from games.records import Decision, Event, Record
from harness.replay.posteriors import NoPosterior, Posterior, posteriors_of
from harness.replay.replay import Replay
from harness.run.folder import Run

FACTS = {
    "day": "of the decision",
    "n_living": "seats that have not left the game",
    "role": "of the viewer",
    "faction": "of the viewer",
    "agent": "of the viewer",
    "model": "of the viewer",
    "preset": "of the game",
    "lexicon": "of the game",
    "lies": "true where the decision's words hold a statement that is false and that the speaker knows to be false",
    "honest": "true where they hold statements and none of them is false",
    "known": "living others whose faction the viewer has been told",
    "stated_leader": "highest stated P(werewolf) of a living other",
    "rules_leader": "the same by what the rules alone leave possible",
    "reasons": "true where the model wrote down a reasoning before its answer",
    "accused": "true where somebody accused somebody before, on the same day",
}
"""The facts that `moments.where` may name."""


class Candidate(msgspec.Struct, frozen=True):
    """One decision that a query may choose, with the data for choosing a subject."""

    run: int
    """Index of the run among those of the experiment."""
    game_id: str
    seq: int
    seat: int
    roles: tuple[str, ...]
    factions: tuple[str, ...]
    asked: tuple[bool, ...]
    """Whether each seat is what the game's first belief target asks (a werewolf, evil)."""
    options: tuple[int, ...]
    """Living others among the decision's options, or where it has none of them all living others."""
    belief: dict[int, float]
    """Living other -> the viewer's P(werewolf): stated where the run has it, else the posterior under the rules
    alone."""
    told: frozenset[int]
    """Living others whose faction the viewer has been told."""
    wave: int
    """Events before the decision: decisions of one game with the same number were asked for together."""
    last_accused: int | None
    last_accuser: int | None
    facts: dict[str, Any]
    """`FACTS`."""


def candidates(
    run: Run, index: int, kind: str, games: Sequence[str] | None = None, any_player: bool = False
) -> list[Candidate]:
    """The decisions of a kind that a model of the run made without a fallback, in order. games: None for all.
    any_player: also those of scripted players."""
    stated, rules = _stated(run), posteriors_of(run).get("rules")
    agents = run.seats.select("game_id", "seat", "agent").collect()
    names = {(g, s): a for g, s, a in agents.iter_rows()}
    found: list[Candidate] = []
    for game_id, records in run.logs():
        if games is None or game_id in games:
            found += _of_game(
                run, index, kind, game_id, records, stated.get(game_id, {}), names, any_player, rules
            )
    return found


def _stated(run: Run) -> dict[str, dict[tuple[int, int], dict[int, float]]]:
    """game -> (seq, viewer) -> subject -> stated P(werewolf)."""
    rows = run.beliefs.filter(pl.col("about").is_null(), pl.col("source").str.starts_with("stated")).select(
        "game_id", "seq", "viewer", "subject", "p_werewolf"
    )
    found: dict[str, dict[tuple[int, int], dict[int, float]]] = {}
    for game, seq, viewer, subject, p in rows.collect().iter_rows():
        if p is not None:
            found.setdefault(game, {}).setdefault((seq, viewer), {})[subject] = p
    return found


def _of_game(
    run: Run,
    index: int,
    kind: str,
    game_id: str,
    records: list[Record],
    stated: dict[tuple[int, int], dict[int, float]],
    agents: dict[tuple[str, int], str],
    any_player: bool,
    rules: Posterior | None,
) -> list[Candidate]:
    wanted = [
        r
        for r in records
        if isinstance(r, Decision)
        and r.kind == kind
        and r.fallback is None
        and (any_player or r.trace is not None)
    ]
    if not wanted:
        return []
    replay = Replay(run, game_id, records)
    seats = replay.seats
    possible = _Possible(replay, rules)
    cell = run.cell(game_id)
    sought = replay.game.belief_targets[0].roles
    found = []
    for d in wanted:
        before = records[: d.seq]
        left = gone(replay.game, before)
        living = [i for i in range(len(seats)) if i not in left and i != d.seat]
        at_rules = possible.at(d.seq, d.seat)
        said = stated.get((d.seq, d.seat), {})
        belief = {i: said.get(i, at_rules.get(i, math.nan)) for i in living}
        told = frozenset(i for i in living if at_rules.get(i, 0.5) in (0.0, 1.0))
        options = tuple(i for i in d.options if i in living) or tuple(living)
        accused, accuser = _last_accusation(records, d, living)
        statements = replay.statements.get(d.seq, ())
        labels = [s.label for s in statements]
        facts = {
            "day": d.day, "n_living": len(living) + 1, "role": seats[d.seat].role, "faction": seats[d.seat].faction,
            "agent": agents.get((game_id, d.seat), d.agent), "model": d.trace.model if d.trace else None,
            "preset": cell.settings.get("preset"), "lexicon": getattr(replay.config, "lexicon", None),
            "lies": "lie" in labels, "honest": "truth" in labels and not {"lie", "honest mistake"} & set(labels),
            "known": len(told), "stated_leader": max(said.values(), default=math.nan),
            "rules_leader": max((at_rules.get(i, math.nan) for i in living), default=math.nan),
            "accused": accused is not None, "reasons": bool(d.trace and d.trace.reasoning),
        }  # fmt: skip
        found.append(
            Candidate(
                run=index, game_id=game_id, seq=d.seq, seat=d.seat, roles=tuple(s.role for s in seats),
                factions=tuple(s.faction for s in seats), asked=tuple(s.role in sought for s in seats),
                options=options, belief=belief, told=told,
                wave=sum(isinstance(r, Event) for r in before),
                last_accused=accused, last_accuser=accuser, facts=facts,
            )
        )  # fmt: skip
    return found


def _last_accusation(
    records: Sequence[Record], d: Decision, living: Sequence[int]
) -> tuple[int | None, int | None]:
    """(accused, accuser) of the last public accusation of a living other by another one, on the decision's day."""
    for record in reversed(records[: d.seq]):
        if record.day != d.day:
            break
        if not isinstance(record, Event) or record.audience is not None or record.actor not in living:
            continue
        for act in reversed(record.acts):
            if act.kind == "accuse" and act.subject in living and act.subject != record.actor:
                return act.subject, record.actor
    return None, None


class _Possible:
    """The posterior under the rules alone, for every viewer and record of a game; empty for other games."""

    def __init__(self, replay: Replay, rules: Posterior | None) -> None:
        try:
            self._points = [] if rules is None else rules(replay)
        except NoPosterior:
            self._points = []

    def at(self, seq: int, viewer: int) -> dict[int, float]:
        """subject -> P(werewolf) just before a record."""
        return {s: p for at, v, s, p in self._points if at < seq and v == viewer}
