"""Joins runs into one: each game once, never two different games under one name, and each game's origin."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from harness.activations.seal import store_digest
from harness.activations.store import open_activations, store_folders
from harness.activations.vocabulary import NAME as VOCABULARY
from harness.activations.writer import ActivationWriter, RowKey
from harness.atomic import making_folder, replacing, storage
from harness.config.hashing import hash_of
from harness.digest import file_digest
from harness.errors import RunFolderError
from harness.gate import name_of
from harness.run import tables
from harness.run.folder import Run, load_run
from harness.run.held import new_manifest
from harness.run.manifest import Cell, Manifest, now
from harness.schedule.merged import Part, parts_of

PLACE = ("index", "cell", "factors", "seconds", "session")
"""Columns of `games` that say where and when a game was played, not what happened in it."""
ROWS_AT_ONCE = 4096


def merge_runs(paths: Sequence[str | Path], out: str | Path, activations: bool = True) -> Path:
    """Join finished runs into the new run folder `out`; its path. Games keep their ids, their rows and their order.

    A game that several runs have is kept once. activations: join the captured ones too.

    Raises RunFolderError: fewer than two runs, one that is unfinished or continues recorded games, the same game with
    different content (both values are named), the same backend name for different models, prompts of one agent that
    differ, activations that cannot stand in one store. Raises StorageError where `out` exists.
    """
    runs = [load_run(path) for path in paths]
    _check(runs)
    kept = _kept(runs)
    manifest = _manifest(runs, kept, name_of(Path(out).resolve().name))
    with making_folder(Path(out).resolve()) as part:
        for table in tables.TABLES:
            with replacing(part / f"{table}.parquet") as file:
                pl.concat(_rows(runs, kept, table)).sink_parquet(file, compression="zstd")
                manifest.digests[f"{table}.parquet"] = file_digest(file)
        if activations:
            for store in sorted({path.name for run in runs for path in store_folders(run.path)}):
                _join_stores(runs, kept, store, part / store)
                manifest.stores[store] = store_digest(part / store)
        manifest.write(part)
    return Path(out).resolve()


def _check(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise RunFolderError(f"{len(runs)} run was named; a merge needs at least two")
    for run in runs:
        if not run.finished:
            raise RunFolderError(f"{run.path} is not finished: run its command again until it is, then merge")
        if run.manifest.parent is not None or run.manifest.imported is not None:
            what = "continues a recorded game" if run.manifest.parent is not None else "was imported"
            raise RunFolderError(f"{run.path} {what}: give it to the analysis beside the other runs instead")
    for field, what in (("models", "backend"), ("prompts", "agent")):
        seen: dict[str, tuple[str, Path]] = {}
        for run in runs:
            for name, value in getattr(run.manifest, field).items():
                there, path = seen.setdefault(name, (value, run.path))
                if there != value:
                    raise RunFolderError(
                        f"the {what} {name!r} is {there} in {path} and {value} in {run.path}: one run cannot have "
                        "both under one name; analyse the runs side by side"
                    )


def _kept(runs: Sequence[Run]) -> list[list[str]]:
    """The games that each run brings, none twice. Raises RunFolderError for a game with two contents."""
    owner: dict[str, int] = {}
    for number, run in enumerate(runs):
        again: dict[int, list[str]] = {}
        for game_id in run.game_ids:
            if owner.setdefault(game_id, number) != number:
                again.setdefault(owner[game_id], []).append(game_id)
        for first, ids in again.items():
            for table in tables.TABLES:
                _compare(runs[first], run, table, ids)
    return [[game for game in run.game_ids if owner[game] == number] for number, run in enumerate(runs)]


def _compare(one: Run, other: Run, table: str, ids: Sequence[str]) -> None:
    """Raises RunFolderError naming the first value in which the runs differ on their common games."""
    a, b = (
        run.frame(table)
        .filter(pl.col("game_id").is_in(ids))
        .drop(PLACE if table == "games" else ())
        .sort("game_id", maintain_order=True)
        .collect()
        for run in (one, other)
    )
    if a.equals(b):
        return
    for mine, theirs in zip(a.iter_rows(named=True), b.iter_rows(named=True), strict=False):
        column = next((name for name in mine if mine[name] != theirs[name]), None)
        if column is not None:
            where = mine["game_id"] + (f"/{mine['seq']}" if "seq" in mine else "")
            raise RunFolderError(
                f"game {where} is in both runs and not the same: {table}.{column} is {_short(mine[column])} in "
                f"{one.path} and {_short(theirs[column])} in {other.path}; keep one of the two games"
            )
    raise RunFolderError(
        f"the games that both runs have are not the same: {table} has {len(a):,} rows of them in {one.path} and "
        f"{len(b):,} in {other.path}; keep one of the two"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _rows(runs: Sequence[Run], kept: Sequence[Sequence[str]], table: str) -> Iterator[pl.LazyFrame]:
    """The rows of the kept games, with the merged run's own numbers of games and cells."""
    first_game = first_cell = first_session = 0
    for run, ids in zip(runs, kept, strict=True):
        rows = run.frame(table).filter(pl.col("game_id").is_in(list(ids)))
        there, schema = rows.collect_schema(), tables.SCHEMAS[table]
        rows = rows.with_columns(  # columns that older runs lack
            pl.lit(None, dtype=kind).alias(name) for name, kind in schema.items() if name not in there
        ).select(list(schema))
        if table == "games":
            rows = rows.with_columns(
                index=first_game + pl.int_range(pl.len(), dtype=pl.Int64),
                cell=(pl.col("cell") + first_cell).cast(pl.Int32),
                session=(pl.col("session") + first_session).cast(pl.Int32),
            )
        yield rows
        first_game += len(ids)
        first_cell += len(run.manifest.cells)
        first_session += len(run.manifest.sessions)


def _manifest(runs: Sequence[Run], kept: Sequence[Sequence[str]], name: str) -> Manifest:
    parts: list[Part] = []
    cells: list[Cell] = []
    first = 0
    for run, ids in zip(runs, kept, strict=True):
        cells += run.manifest.cells
        parts += _parts(run, len(ids), first)
        first += len(ids)
    manifests = [run.manifest for run in runs]
    config = json.loads(json.dumps(manifests[0].config))
    config["run"]["name"] = name
    for other in manifests[1:]:
        for section in ("agents", "backends"):
            config[section] = other.config.get(section, {}) | config[section]
    made = new_manifest(name, config, hash_of([p.config_hash for p in parts]), first, cells)
    made.merged = msgspec.to_builtins(parts)
    made.status, made.finished = "finished", now()
    made.sessions = [session for one in manifests for session in one.sessions]
    for one in manifests:
        made.models |= one.models
        made.prompts |= one.prompts
    return made


def _parts(run: Run, n_kept: int, first: int) -> list[Part]:
    m = run.manifest
    if m.merged:
        return [msgspec.structs.replace(p, first=first + p.first) for p in parts_of(m)]
    return [
        Part(
            m.name,
            m.created,
            m.config,
            m.config_hash,
            m.n_games,
            first,
            n_kept,
            m.sessions,
            m.models,
            m.prompts,
        )
    ]


def _join_stores(runs: Sequence[Run], kept: Sequence[Sequence[str]], name: str, out: Path) -> None:
    """One store of the rows of the kept games. Stores whose games are all kept are linked, not read."""
    for number, (run, ids) in enumerate(zip(runs, kept, strict=True)):
        if not (run.path / name).is_dir():
            continue
        store = open_activations(run.path / name)
        writer = ActivationWriter(out, store.info, name=f"m{number}")
        writer.create()
        if (words := store.path / VOCABULARY).is_file() and not (out / VOCABULARY).exists():
            _link(words, out / VOCABULARY)
        lost = set(run.game_ids) - set(ids)
        taken = {file.name for file in (out / "shards").iterdir()}
        if not lost and not taken & {file.name for file in (store.path / "shards").iterdir()}:
            digests = (store.path / "digests").glob("[!.]*")
            for file in [*(store.path / "shards").glob("[!.]*"), *digests, *store.parts()]:
                _link(file, out / file.parent.name / file.name)
            continue
        lines = store.index(games=ids, variant=None)
        for piece in lines.iter_slices(ROWS_AT_ONCE):
            keys = [RowKey(**row) for row in piece.select(RowKey.__struct_fields__).iter_rows(named=True)]
            writer.add(keys, store.read_rows(piece))
        writer.flush()


def _link(file: Path, to: Path) -> None:
    with storage(to):
        try:
            os.link(file, to)
        except OSError:  # on another file system
            shutil.copy2(file, to)
