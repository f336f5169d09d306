"""The run folder: everything that one tournament writes, and how to read it.

    manifest.json           configuration and environment (harness.run.manifest)
    journal/*.jsonl         append-only, while playing (harness.run.journal)
    games|seats|events|decisions|beliefs.parquet    once all games have ended (harness.run.tables)
    activations/            harness.activations.store

`load_run(path)` reads any of it; `RunFolder` is for the one process that writes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from games.base import Game
from games.records import Decision, Record
from harness.activations.seal import store_digest
from harness.activations.store import Activations, ActivationsDamaged, open_activations, store_folders
from harness.errors import RunDamaged, RunFolderError
from harness.gate import check_game_ids
from harness.run import tables
from harness.run.derived import READ_AGAIN, stale
from harness.run.failures import Failing, failing
from harness.run.held import RunFolder, new_manifest, read_journals
from harness.run.journal import End, Journal, Start
from harness.run.manifest import Cell, Manifest, read_manifest
from harness.run.mixed import MixedRun, mixture
from harness.run.naming import find_game
from harness.run.rows import journal_rows
from harness.run.sound import DamagedJournal, damaged_journal, refuse_damaged
from harness.run.summary import summary_html
from harness.run.typed import typed

__all__ = ["Run", "RunFolder", "load_run"]


def load_run(path: str | Path) -> Run:
    """Open a run folder for reading, finished or still being played.

    Raises RunFolderError: no such folder, not a run folder, another schema version. Warns of a finished run whose
    journal is damaged (`DamagedJournal`) and of one whose games were played with several configurations (`MixedRun`).
    """
    run = Run(Path(path))
    if (damaged := damaged_journal(run.path, run.manifest)) is not None:
        warnings.warn(damaged, DamagedJournal, stacklevel=2)
    if (mixed := mixture(run.manifest)) is not None:
        warnings.warn(mixed, MixedRun, stacklevel=2)
    return run


class Run:
    """A run folder open for reading. The frames are lazy: `run.decisions.filter(...).collect()`.

    For a run that is still being played, the frames hold the games that had ended at first access.
    """

    def __init__(self, path: Path) -> None:
        """Reads only the manifest."""
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        self._sound = False

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self.manifest.n_games} games, {self.manifest.status}>"

    def _repr_html_(self) -> str:
        """The run at a glance, for notebooks."""
        stores = (path.name for path in store_folders(self.path))
        winners = self.games.select("winner").collect()["winner"]
        return summary_html(self.path, self.manifest, winners, stores, self.remarks())

    @property
    def finished(self) -> bool:
        """Whether every scheduled game has ended and the tables are written."""
        return self.manifest.status == "finished"

    @cached_property
    def journal(self) -> Journal:
        """The journals, as of first access."""
        return read_journals(self.path)

    @cached_property
    def _live(self) -> dict[str, pl.DataFrame]:
        ids = sorted(self.journal.ends, key=lambda game: self.journal.starts[game].index)
        return tables.frames_of(journal_rows(self.manifest, self.journal, game) for game in ids)

    def frame(self, table: str) -> pl.LazyFrame:
        """One table (`games`, `seats`, `events`, `decisions`, `beliefs`). Raises RunDamaged where any has changed."""
        if not self.finished:
            return self._live[table].lazy()
        self.refuse_damaged()
        found = typed(pl.scan_parquet(self.path / f"{table}.parquet"))
        if found.collect_schema().get("acts") == tables.TEAMLESS:
            found = found.with_columns(pl.col("acts").cast(tables.ACTS))
        if later := tables.LATER.get(table):
            there = set(found.collect_schema().names())
            schema = tables.SCHEMAS[table]
            found = found.with_columns(
                pl.lit(None, schema[name]).alias(name) for name in later if name not in there
            ).select(list(schema))
        return found

    def refuse_damaged(self) -> None:
        """Raises RunDamaged where a table of a finished run was changed, Untrusted where a game's id, which becomes
        part of file names, is malformed; checks once."""
        if not self._sound:
            refuse_damaged(self.path, self.manifest)
            games = self.path / "games.parquet"
            found = pl.read_parquet(games, columns=["game_id", "cell"])
            check_game_ids(found["game_id"], games)
            cells = found["cell"].drop_nulls()
            odd = cells.filter((cells < 0) | (cells >= len(self.manifest.cells)))
            if len(odd):
                raise RunDamaged(
                    f"{games} has a game of combination {odd[0]} of the factors, the manifest has "
                    f"{len(self.manifest.cells)}: they do not belong together; restore both from a copy"
                )
            self._sound = True

    @property
    def games(self) -> pl.LazyFrame:
        """One row a game."""
        return self.frame("games")

    @property
    def seats(self) -> pl.LazyFrame:
        """One row a seat of a game: who it was, who played it, how it left."""
        return self.frame("seats")

    @property
    def events(self) -> pl.LazyFrame:
        """One row an event."""
        return self.frame("events")

    @property
    def decisions(self) -> pl.LazyFrame:
        """One row a decision, with its tokens."""
        return self.frame("decisions")

    @property
    def beliefs(self) -> pl.LazyFrame:
        """One row a stated or computed belief of one seat about another."""
        return self.frame("beliefs")

    def labels(self) -> dict[str, pl.DataFrame]:
        """Speeches and votes labelled with the truth, by name of the frame: `analysis.labels`."""
        labelled: dict[str, pl.DataFrame] = self._analysis.labels(self)
        return labelled

    def subject_rows(self, about: str = "others", models_only: bool = True) -> Any:
        """One row a viewer, decision and subject, with the lines it had read: `analysis.subject_rows`."""
        return self._analysis.subject_rows(self, about, models_only)

    def targets(self) -> list[Any]:
        """The report's questions about the run: `analysis.targets`."""
        asked: list[Any] = self._analysis.targets(self)
        return asked

    @property
    def _analysis(self) -> Any:
        """The `analysis` package, imported by name on demand: playing or reading a run does not need it."""
        return import_module("analysis")

    def failing(self) -> list[Failing]:
        """The agents whose backends failed more often than the run's configuration allows, worst first."""
        return failing(self.decisions, self.manifest.config)

    def remarks(self) -> list[str]:
        """Caveats for every figure about the run; empty where there are none."""
        said = (damaged_journal(self.path, self.manifest), mixture(self.manifest))
        old = [str(one) for one in stale(self.path) if one.path.name in READ_AGAIN]
        return [*(one for one in said if one is not None), *map(str, self.failing()), *old]

    def activations(self, name: str = "activations") -> Activations:
        """A store of the run's activations, checked against the manifest; name: its folder.

        Raises ActivationsError where there is none, ActivationsDamaged where it was changed or captured on another
        run.
        """
        store = open_activations(self.path / name)
        for what in self.store_faults(store):
            raise ActivationsDamaged(f"{store.path} is damaged: {what}")
        return store

    def mention_tokens(self, name: str = "activations") -> pl.DataFrame:
        """Token, tokens of the name, and whether in a player's words, of each row of a mention in the store `name`."""
        from harness.activations.mentions import mention_tokens

        return mention_tokens(self.logs(), self.activations(name))

    def store_faults(self, store: Activations) -> Iterator[str]:
        """In words, why a store was not captured on this run or has changed since."""
        written, models = self.manifest.stores.get(store.path.name), set(self.manifest.models.values())
        if written and written != store_digest(store.path):
            yield (
                "its files are not those that the manifest names, so a capture was cut short or files were changed; "
                "run the same `wolfscope capture` again, or restore them from a copy"
            )
        if store.path.name == "activations" and models and store.info.model not in models:
            yield (
                f"it holds rows of {store.info.model}, the run was played by {', '.join(sorted(models))}; put the "
                "run's own store back, or capture again"
            )

    @cached_property
    def game_ids(self) -> list[str]:
        """The ids of the ended games in the order of the schedule."""
        return self.games.select("game_id").collect()["game_id"].to_list()

    @cached_property
    def _starts(self) -> dict[str, tuple[int, int]]:
        rows = self.games.select("game_id", "cell", "seed").collect().iter_rows()
        return {game_id: (cell, seed) for game_id, cell, seed in rows}

    def game_id(self, game: str | int) -> str:
        """The id of a game, named by its number in the schedule, its id, or the beginning of its id.

        Also of a game that is still being played. Raises NoSuchGame, a KeyError.
        """
        if isinstance(game, str) and (game in self._starts or (not self.finished and game in self.journal)):
            return game
        rows = self.games.select("game_id", "index").collect().iter_rows()
        numbers: dict[str, int | None] = dict(rows)
        if not self.finished:
            numbers |= {
                open_game: self.journal.starts[open_game].index for open_game in self.journal.unfinished
            }
        return find_game(game, numbers, self.path)

    def cell(self, game_id: str | int) -> Cell:
        """The combination of factors that a game belongs to. All methods take a game as `game_id` does."""
        return self.manifest.cells[self._start(self.game_id(game_id))[0]]

    def game(self, game_id: str | int) -> tuple[Game, Any, int]:
        """(rules, configuration, seed), which with the records determine a game."""
        game_id = self.game_id(game_id)
        game, config = self.cell(game_id).rules()
        return game, config, self._start(game_id)[1]

    def _start(self, game_id: str) -> tuple[int, int]:
        if game_id in self._starts:
            return self._starts[game_id]
        if not self.finished and game_id in self.journal:
            start = self.journal.starts[game_id]
            return start.cell, start.seed
        raise KeyError(f"{self.path} has no game {game_id!r}")

    @cached_property
    def _slices(self) -> dict[str, dict[str, tuple[int, int]]]:
        """table -> game id -> (first row, number of rows)."""
        return {table: self._slices_of(table) for table in ("events", "decisions")}

    def _slices_of(self, table: str) -> dict[str, tuple[int, int]]:
        ids = self.frame(table).select("game_id").collect()["game_id"].rle().struct.unnest()
        found: dict[str, tuple[int, int]] = {}
        row = 0
        for length, game_id in ids.select("len", "value").iter_rows():
            if game_id in found:
                raise RunFolderError(f"{table}.parquet: the rows of game {game_id} do not stand together")
            found[game_id] = (row, length)
            row += length
        return found

    def _rows(self, table: str, game_id: str) -> pl.DataFrame:
        first, length = self._slices[table].get(game_id, (0, 0))
        return self.frame(table).slice(first, length).collect()

    def records(self, game_id: str | int) -> list[Record]:
        """A game's whole log in order, also of a game that is still being played. Raises NoSuchGame, a KeyError."""
        game_id = self.game_id(game_id)
        if not self.finished:
            return self.journal.records(game_id)
        events, decisions = (self._rows(table, game_id) for table in ("events", "decisions"))
        return tables.records_of(events.iter_rows(named=True), decisions.iter_rows(named=True))

    def logs(
        self, games: Sequence[str] | None = None, games_at_once: int = 100, tokens: bool = True
    ) -> Iterator[tuple[str, list[Record]]]:
        """(game id, records) of every ended game in the order of the schedule, or of `games` in theirs, with flat
        memory. tokens: whether traces hold token ids, which are most of the data."""
        wanted = self.game_ids if games is None else games
        if not self.finished:
            for game_id in wanted:
                yield game_id, self.journal.records(game_id)
            return
        for at in range(0, len(wanted), games_at_once):
            ids = wanted[at : at + games_at_once]
            events, decisions = (self._chunk(table, ids, tokens) for table in ("events", "decisions"))
            for game_id in ids:
                yield game_id, tables.records_of(events.get(game_id, ()), decisions.get(game_id, ()))

    def _chunk(self, table: str, ids: Sequence[str], tokens: bool) -> dict[str, list[tables.Row]]:
        """The rows of some games, by game."""
        spans = [self._slices[table][game] for game in ids if game in self._slices[table]]
        if not spans:
            return {}
        first, end = min(a for a, _ in spans), max(a + n for a, n in spans)
        rows = self.frame(table).slice(first, end - first)
        if not tokens:
            rows = rows.drop(tables.TOKENS, strict=False)
        if end - first > sum(n for _, n in spans):
            rows = rows.filter(pl.col("game_id").is_in(list(ids)))
        found: dict[str, list[tables.Row]] = {}
        for row in rows.collect().iter_rows(named=True):
            found.setdefault(row["game_id"], []).append(row)
        return found

    def prompt_ids(self, game_id: str | int, seq: int) -> list[int]:
        """The token ids of the whole prompt of the decision `seq`: the context that it continues, then its own.

        Raises KeyError where there is no such decision, ValueError where no model was asked.
        """
        decision = self._decisions(game_id)[seq]
        if decision.trace is None:
            raise ValueError(f"decision {seq} of game {game_id} was made without a model: it has no tokens")
        before = (
            [] if decision.trace.continues is None else self.context_ids(game_id, decision.trace.continues)
        )
        return [*before, *decision.trace.prompt_ids]

    def context_ids(self, game_id: str | int, seq: int) -> list[int]:
        """`prompt_ids` and the output of the decision: the context that a later decision may continue."""
        prompt = self.prompt_ids(game_id, seq)
        trace = self._decisions(game_id)[seq].trace
        return prompt if trace is None else [*prompt, *trace.output_ids]

    def _decisions(self, game_id: str | int) -> dict[int, Decision]:
        game_id = self.game_id(game_id)
        if self._last[0] != game_id:
            decisions = {r.seq: r for r in self.records(game_id) if isinstance(r, Decision)}
            self._last = (game_id, decisions)
        return self._last[1]

    @cached_property
    def _last(self) -> tuple[str, dict[int, Decision]]:
        """Cache of the last game; most callers ask for several decisions of one game."""
        return ("", {})


__all__ += ["End", "Start", "new_manifest"]
