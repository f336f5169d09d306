"""Checks of games that other programs played: their logs must be consistent; they are not replayed under the
rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from games.records import Decision, Event, Record
from games.werewolf.roles import faction_of
from harness.exchange.imports.source import Source

UNCHECKED = (
    "not checked, because another program's rules played these games: that the rules give the logs, that every "
    "choice was legal, what the players were shown, chance"
)


def verify_games(run: Any, source: Source) -> Iterator[tuple[str, str]]:
    """(where, what) of everything that is wrong with the imported games of a run."""
    named = [file.game_id for file in source.files]
    for game_id in run.game_ids:
        if game_id not in named:
            yield game_id, "no file of the manifest holds the game"
    for file in source.files:
        if file.game_id not in run.game_ids:
            yield file.game_id, f"the game of {file.name} is missing"
    rows = {row["game_id"]: row for row in run.games.collect().iter_rows(named=True)}
    for game_id, records in run.logs():
        for where, what in _game(run, game_id, records, rows[game_id]):
            yield f"{game_id}{where}", what


def _game(
    run: Any, game_id: str, records: Sequence[Record], row: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    for i, record in enumerate(records):
        if record.seq != i:
            yield "", f"record {i} of the log has seq {record.seq}"
            return
    game, config, _ = run.game(game_id)
    roles = [fact.role for fact in game.seats(config, records)]
    dealt = {role: roles.count(role) for role in dict.fromkeys(roles)}
    if dealt != {role: n for role, n in config.roles.items() if n}:
        yield "", f"the deal has {dealt}, the game's settings {dict(config.roles)}"
    told = {r.target: r.value for r in records if isinstance(r, Event) and r.kind == "role"}
    if told != dict(enumerate(roles)):
        yield "", f"the seats were told {told}, the deal is {roles}"
    living = set(range(len(roles)))
    for record in records:
        if isinstance(record, Decision):
            if record.seat not in living:
                yield f"/{record.seq}", f"seat {record.seat} decides after it has left the game"
        elif record.kind in ("death", "exile") and record.target is not None and record.target >= 0:
            if record.target not in living:
                yield f"/{record.seq}", f"seat {record.target} leaves the game twice"
            living.discard(record.target)
    wolves = sum(roles[seat] == "werewolf" for seat in living)
    winner = "village" if not wolves else "werewolf" if wolves >= len(living) - wolves else None
    if row["winner"] != winner:
        yield "", f"the winner is {row['winner']!r}, by who lives at the end it is {winner!r}"
    won = run.seats.filter(game_id=game_id).collect()
    for seat, did in won.select("seat", "won").iter_rows():
        if did != (faction_of(roles[seat]) == row["winner"]):
            yield "", f"seat {seat}, a {roles[seat]}, has won = {did}, the winner is {row['winner']!r}"
