"""The rows of the `games`, `seats` and `beliefs` tables, in the game's own words."""

from __future__ import annotations

from collections.abc import Sequence

from agents.llm.beliefs import Belief
from games.base import BeliefTarget
from games.log import exits
from games.records import Decision, Record
from harness.errors import RunDamaged
from harness.run.journal import End, Journal, Start
from harness.run.manifest import Cell, Manifest
from harness.run.tables import Row, Rows, record_rows
from harness.run.typed import factor_pairs, probability_pairs


def belief_rows(game_id: str, beliefs: Sequence[Belief], asked: BeliefTarget) -> list[Row]:
    """The `beliefs` rows of one game; a failed elicitation has no probabilities.

    asked: the game's first belief target, whose probability the column `p_werewolf` holds in every game.
    """
    return [
        {
            "game_id": game_id,
            "seq": b.seq,
            "viewer": b.viewer,
            "subject": b.subject,
            "about": b.about,
            "source": b.source,
            "p_werewolf": asked.p(b.probabilities) if b.probabilities else None,
            "probabilities": probability_pairs(b.probabilities),
            "option_mass": b.option_mass,
            "note": b.note or None,
        }
        for b in beliefs
    ]


def game_rows(
    cell: Cell,
    game_id: str,
    start: Start,
    records: Sequence[Record],
    end: End,
    beliefs: Sequence[Belief] = (),
    session: int | None = None,
) -> Rows:
    """All rows of one game, by table. session: the index of the session that ended it, where it is known."""
    game, config = cell.rules()
    facts = game.seats(config, records)
    left = exits(game, records)
    decisions = [r for r in records if isinstance(r, Decision)]
    models = {d.seat: d.trace.model for d in reversed(decisions) if d.trace is not None}
    row = {
        "game_id": game_id,
        "index": start.index,
        "seed": start.seed,
        "cell": start.cell,
        "factors": factor_pairs(cell.factors),
        "preset": config.preset,
        "lexicon": config.lexicon,
        "n_players": len(facts),
        "winner": end.winner,
        "reason": end.reason,
        "n_days": max((r.day for r in records), default=0),
        "n_decisions": len(decisions),
        "n_fallbacks": sum(d.fallback is not None for d in decisions),
        "status": end.status,
        "error": end.error,
        "seconds": end.seconds,
        "session": session,
    }
    seats = [
        {
            "game_id": game_id,
            "seat": seat,
            "name": fact.name,
            "role": fact.role,
            "faction": fact.faction,
            "agent": start.agents[seat],
            "model": models.get(seat),
            "exit_day": left[seat][0] if seat in left else None,
            "exit_cause": left[seat][1] if seat in left else None,
            "won": seat in end.winners if end.status == "finished" else None,
        }
        for seat, fact in enumerate(facts)
    ]
    rows: Rows = {
        "games": [row],
        "seats": seats,
        "beliefs": belief_rows(game_id, beliefs, game.belief_targets[0]),
    }
    return rows | record_rows(game_id, records)


def journal_rows(manifest: Manifest, journal: Journal, game_id: str) -> Rows:
    """All rows of one ended game of a journal."""
    start = journal.starts[game_id]
    if not 0 <= start.cell < len(manifest.cells):
        raise RunDamaged(
            f"the journal says that game {game_id} is of combination {start.cell} of the factors, the manifest has "
            f"{len(manifest.cells)}: they do not belong together; restore them from a copy"
        )
    cell = manifest.cells[start.cell]
    records, beliefs = journal.log(game_id)
    end, session = journal.ends[game_id], _session(manifest, journal.sessions[game_id])
    return game_rows(cell, game_id, start, records, end, beliefs, session)


def _session(manifest: Manifest, logged: int) -> int | None:
    """The session of a journal line; None in lines of older versions, which recorded none."""
    if not 0 <= logged < max(1, len(manifest.sessions)):
        raise RunDamaged(
            f"the journal has games of session {logged}, the manifest has {len(manifest.sessions)} sessions: they do "
            "not belong together; restore them from a copy"
        )
    known = len(manifest.sessions) < 2 or manifest.sessions[logged].config is not None
    return logged if known else None
