"""Checks that a game's table rows agree with its log. Part of `wolfscope check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from games.base import BeliefTarget, Outcome
from games.records import Record
from harness.check.files import Finding
from harness.errors import RunDamaged
from harness.run.folder import Run
from harness.run.journal import End, Journal, Start
from harness.run.rows import game_rows, journal_rows
from harness.run.sound import journals_of, remedy
from harness.run.tables import LATER, Row, frames_of
from harness.schedule.tournament import Planned

TOLD = ("index", "status", "winner", "error", "seconds", "session")
"""Columns of `games` that no log holds, or that other checks cover."""


class Beside:
    """The rows of a run's `games`, `seats` and `beliefs`, by game."""

    def __init__(self, run: Run) -> None:
        """Reads the three tables."""
        self._run = run
        self.games: dict[str, Row] = {row["game_id"]: row for row in _rows(run.games)}
        self._seats: dict[str, list[Row]] = {}
        for row in _rows(run.seats):
            self._seats.setdefault(row["game_id"], []).append(row)
        self._beliefs: dict[str, list[Row]] = {}
        for row in _rows(run.beliefs):
            self._beliefs.setdefault(row["game_id"], []).append(row)

    def strangers(self) -> Iterator[tuple[str, str]]:
        """(file, what is wrong): rows of games that the run does not have."""
        for table, rows in (("seats", self._seats), ("beliefs", self._beliefs)):
            for game_id in rows:
                if game_id not in self.games:
                    yield f"{table}.parquet", f"it has rows of {game_id}, which is no game of this run"

    def wrong(
        self, planned: Planned, records: Sequence[Record], outcome: Outcome | None
    ) -> Iterator[tuple[str, str]]:
        """(file and game, what is wrong) for one game whose log is sound. outcome: from the rules; None for an
        unfinished game."""
        game_id = planned.game_id
        row, cell = self.games[game_id], self._run.cell(game_id)
        end = End(row["status"], reason=row["reason"])
        if outcome is not None and row["status"] == "finished":
            end = End(row["status"], outcome.winner, tuple(outcome.winners), outcome.reason)
        start = Start(row["index"], planned.seed, row["cell"], planned.agents)
        wanted = game_rows(cell, game_id, start, records, end)
        row = {name: value for name, value in row.items() if name not in TOLD}
        yield from _differences(f"games.parquet, {game_id}", row, wanted["games"][0])
        seats = self._seats.get(game_id, [])
        if len(seats) != len(wanted["seats"]):
            yield (
                f"seats.parquet, {game_id}",
                f"it has {len(seats)} rows, the game has {len(wanted['seats'])} seats",
            )
        else:
            for there, own in zip(seats, wanted["seats"], strict=True):
                yield from _differences(f"seats.parquet, {game_id}, seat {own['seat']}", there, own)
        for belief in self._beliefs.get(game_id, []):
            what = _belief(belief, len(wanted["seats"]), len(records), cell.rules()[0].belief_targets[0])
            if what is not None:
                yield f"beliefs.parquet, {game_id}/{belief['seq']}", what


def held_to_journal(run: Run, games_at_once: int = 200) -> Iterator[Finding]:
    """Where a finished run's tables differ from its journal, which must hold all of its games."""
    journals = journals_of(run.path)
    if not run.finished or not journals:
        return
    try:
        journal = Journal(journals)
        ids = [game for game in run.game_ids if game in journal.ends]
        for at in range(0, len(ids), games_at_once):
            chunk = ids[at : at + games_at_once]
            wanted = frames_of(journal_rows(run.manifest, journal, game) for game in chunk)
            for table, frame in wanted.items():
                held = pl.read_parquet_schema(run.path / f"{table}.parquet")
                unknown = [
                    name for name in LATER.get(table, ()) if name not in held
                ]  # a table of an older version
                found = run.frame(table).filter(pl.col("game_id").is_in(chunk)).drop(unknown).collect()
                frame = frame.drop(unknown)
                if not found.equals(frame):
                    yield Finding(
                        f"{table}.parquet",
                        f"it says something else than the journal: {_first(found, frame)}; "
                        + remedy(run.path, run.manifest),
                    )
                    return
    except RunDamaged as error:
        yield Finding("journal", str(error))


def _first(found: pl.DataFrame, wanted: pl.DataFrame) -> str:
    """The first difference, in words."""
    if len(found) != len(wanted):
        return f"{len(found):,} rows, the journal has {len(wanted):,}"
    for there, own in zip(found.iter_rows(named=True), wanted.iter_rows(named=True), strict=True):
        for name, value in there.items():
            if value != own[name]:
                return f"{name} of game {own['game_id']} is {_cut(value)}, by the journal it is {_cut(own[name])}"
    return "the order of rows"


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _rows(frame: pl.LazyFrame) -> Iterator[Row]:
    return frame.collect().iter_rows(named=True)


def _differences(
    where: str, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if value != wanted[name]:
            yield where, f"{name} is {value!r}, by the log it is {wanted[name]!r}"


def _belief(row: Row, n_seats: int, n_records: int, asked: BeliefTarget) -> str | None:
    """The fault of a row of `beliefs`; None where there is none."""
    for name in ("viewer", "subject", "about"):
        if row[name] is not None and not 0 <= row[name] < n_seats:
            return f"{name} is {row[name]}, the game has the seats 0 to {n_seats - 1}"
    if not 0 <= row["seq"] <= n_records:
        return f"the log has {n_records} records"
    if row["probabilities"] is None:
        return "probabilities cannot be read"
    told = {pair["role"]: pair["p"] for pair in row["probabilities"]}
    if not all(p is not None and 0 <= p <= 1 for p in told.values()) or (
        told and abs(sum(told.values()) - 1) > 1e-3
    ):
        return f"probabilities are {told}: numbers from 0 to 1 that add up to 1 are expected"
    stated = asked.p(told) if told else None
    if row["p_werewolf"] != stated:
        return f"p_werewolf is {row['p_werewolf']}, probabilities say {stated}"
    return None
