"""Checks of a journal's games against the rules, for games that an earlier command left."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from games.base import GameError
from games.play import fold
from harness.errors import RunDamaged
from harness.run.journal import End, Journal, Start
from harness.run.manifest import Manifest


def hold_to_schedule(journal: Journal, schedule: Mapping[str, Start]) -> None:
    """Raises RunDamaged where a journal's start record of a game differs from the schedule."""
    for game_id in journal.ends:
        found, wanted = journal.starts.get(game_id), schedule.get(game_id)
        if wanted is not None and found != wanted:
            raise RunDamaged(
                f"{journal.names(game_id)} is damaged: game {game_id} begins with {found}, the schedule has {wanted}; "
                + AGAIN
            )


def ends_by_rules(manifest: Manifest, journal: Journal, games: Collection[str]) -> dict[str, End]:
    """The ends, by their rules, of games that a journal records as failed.

    Raises RunDamaged where the rules do not reproduce a game's log, or give another end than the journal.
    """
    found: dict[str, End] = {}
    for game_id in games:
        start, end = journal.starts[game_id], journal.ends[game_id]
        game, config = manifest.cells[start.cell].rules()
        records = journal.records(game_id)
        try:
            state, log = fold(game, config, start.seed, records)
        except GameError as error:
            raise _damaged(journal, game_id, f"the rules do not give its log ({error})") from error
        outcome = game.outcome(state) if len(log) == len(records) else None
        if outcome is None:
            if end.status == "finished":
                raise _damaged(
                    journal, game_id, f"it has {len(records)} records, but by the rules it goes on"
                )
            continue
        own = msgspec.structs.replace(
            end,
            status="finished",
            winner=outcome.winner,
            winners=tuple(outcome.winners),
            reason=outcome.reason,
        )
        if end.status == "failed":
            found[game_id] = own
        elif end != own:
            raise _damaged(
                journal,
                game_id,
                f"{end.winner} has won, by the rules it is {outcome.winner} ({outcome.reason})",
            )
    return found


AGAIN = "restore the file from a copy, or delete the lines of this game to have it played again"


def _damaged(journal: Journal, game_id: str, what: str) -> RunDamaged:
    return RunDamaged(f"{journal.names(game_id)} is damaged: game {game_id}: {what}; {AGAIN}")
