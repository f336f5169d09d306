"""Integrity checks of a finished run's folder: files against their digests, or without digests, tables against one
another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from harness.digest import file_digest
from harness.errors import RunDamaged
from harness.gate import TooLarge
from harness.run.manifest import Manifest
from harness.run.tables import LATER, SCHEMAS, TABLES, TEAMLESS
from harness.run.typed import PAIRS

FAULTS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""Errors from reading a damaged table; polars' panic is not an `Exception`."""


def journals_of(path: Path) -> list[Path]:
    """The journals of a run folder, by name."""
    return sorted((path / "journal").glob("*.jsonl"))


def remedy(path: Path, manifest: Manifest) -> str:
    """The remedy for a damaged table, for messages."""
    if manifest.imported is not None:
        return "import the games again into a new folder"
    if manifest.merged:
        return "merge the runs again into a new folder"
    if not journals_of(path):
        return "restore it from a copy (there is no journal to write it from)"
    return f"`wolfscope repair {path}` writes it anew from the journal"


MOST_ROWS = 32
"""Most rows per byte of a table's file, above any real table."""


class DamagedJournal(UserWarning):
    """A finished run is read whose journal was changed."""


def changed_files(path: Path, manifest: Manifest, afresh: bool = False) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of every changed table and journal of a finished run.

    afresh: read files again that this process has read before.
    """
    yield from changed_journals(path, manifest, afresh)
    tables = {f"{table}.parquet" for table in TABLES}
    tables |= {name for name in manifest.digests if not name.startswith("journal/")}
    yield from _changed(sorted(tables), path, manifest, afresh)


def changed_journals(path: Path, manifest: Manifest, afresh: bool = False) -> Iterator[tuple[str, str]]:
    """As `changed_files`, for journals only; those of older runs, without digests, cannot be checked."""
    if manifest.sealed:
        names = {name for name in manifest.digests if name.startswith("journal/")}
        names |= {f"journal/{file.name}" for file in journals_of(path)}
        yield from _changed(sorted(names), path, manifest, afresh)


def damaged_journal(path: Path, manifest: Manifest) -> str | None:
    """A warning that a finished run's journal was changed; None where it was not, or cannot be checked."""
    found = list(changed_journals(path, manifest)) if manifest.status == "finished" else []
    if not found:
        return None
    name, what = found[0]
    more = f" ({len(found) - 1} more journals are damaged)" if len(found) > 1 else ""
    return f"{path / name} is damaged: {what}{more}. The tables, which are read here, are held to digests of their own"


def _changed(names: Sequence[str], path: Path, manifest: Manifest, afresh: bool) -> Iterator[tuple[str, str]]:
    for name in names:
        what = remedy(path, manifest) if name.endswith(".parquet") else "restore it from a copy"
        written = manifest.digests.get(name)
        try:
            found = file_digest(path / name, afresh)
        except FileNotFoundError:
            yield name, f"the file is missing; {what}"
            continue
        except OSError as error:
            yield name, f"the file cannot be read ({error.strerror}); {what}"
            continue
        if manifest.sealed and written is None:
            yield name, f"the manifest has no digest of the file, so it was not written with this run; {what}"
        elif written is not None and found != written:
            yield name, f"the file has changed: its digest is {found}, it was written with {written}; {what}"


def refuse_damaged(path: Path, manifest: Manifest) -> None:
    """Raises RunDamaged where a table of a finished run was changed.

    In older folders, without digests, tables are checked against the schema and one another.
    """
    refuse_oversized(path)
    if manifest.sealed:
        found = list(_changed([f"{table}.parquet" for table in TABLES], path, manifest, afresh=False))
    else:
        found = list(misfits(path, manifest))
    if found:
        name, what = found[0]
        more = f" ({len(found) - 1} more files are damaged)" if len(found) > 1 else ""
        raise RunDamaged(f"{path / name} is damaged: {what}{more}")


def refuse_oversized(path: Path) -> None:
    """Raises TooLarge where a table states more rows than a file of its size can hold: reading it would exhaust
    memory."""
    for table in TABLES:
        file = path / f"{table}.parquet"
        try:
            rows, size = pl.scan_parquet(file).select(pl.len()).collect().item(), file.stat().st_size
        except FAULTS:  # reported where the table is read
            continue
        if rows > MOST_ROWS * size:
            raise TooLarge(
                f"{file} states {rows:,} rows in {size:,} bytes; at most {MOST_ROWS} rows a byte are read"
            )


def misfits(path: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of tables that cannot be read to their last value, or do not fit one another."""
    found = list(unreadable(path, manifest))
    yield from found
    if not found:
        yield from ((name, f"{what}; {remedy(path, manifest)}") for name, what in _unfitting(path))


def unreadable(path: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of tables that cannot be read to their last value, or have other columns."""
    for table in TABLES:
        what = _unreadable(path, table)
        if what is not None:
            yield f"{table}.parquet", f"{what}; {remedy(path, manifest)}"


def _unreadable(path: Path, table: str) -> str | None:
    file, wanted = path / f"{table}.parquet", dict(pl.Schema(SCHEMAS[table]))
    if not file.is_file():
        return "the file is missing"
    try:
        found = dict(pl.read_parquet_schema(file))
        pl.scan_parquet(file).select(pl.all().null_count()).collect(engine="streaming")  # reads every page
    except FAULTS as error:
        return f"the file cannot be read: {error}"
    wanted = {
        name: dtype for name, dtype in wanted.items() if name in found or name not in LATER.get(table, ())
    }
    wanted |= {
        name: pl.String() for name in PAIRS if found.get(name) == pl.String and name in wanted
    }  # older versions
    if found.get("acts") == TEAMLESS:
        wanted["acts"] = TEAMLESS
    for key in [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]:
        return f"column {key!r} is {found.get(key)}, expected {wanted.get(key)}"
    return None


def _unfitting(path: Path) -> Iterator[tuple[str, str]]:
    games = pl.read_parquet(path / "games.parquet", columns=["game_id", "n_players", "n_decisions"])
    known = set(games["game_id"])
    if len(known) < len(games):
        yield "games.parquet", f"{len(games) - len(known)} games are there twice"
    for table in TABLES[1:]:
        counts = (
            pl.scan_parquet(path / f"{table}.parquet")
            .group_by("game_id", maintain_order=True)
            .len()
            .collect()
        )
        rows = dict(counts.iter_rows())
        foreign = next((str(game) for game in rows if game not in known), None)
        if foreign is not None:
            yield f"{table}.parquet", f"it has rows of {foreign}, which is no game of this run"
        for column, owner in (("n_players", "seats"), ("n_decisions", "decisions")):
            if owner != table:
                continue
            for game, n in games.select("game_id", column).iter_rows():
                if rows.get(game, 0) != n:
                    yield (
                        f"{table}.parquet",
                        f"it has {rows.get(game, 0)} rows of game {game}, games.parquet says {n}",
                    )
                    break
