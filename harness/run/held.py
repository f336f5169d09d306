"""A run folder open for writing: claimed under a lock, written atomically, finished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from harness.activations.seal import store_digest
from harness.activations.store import store_folders
from harness.atomic import storage
from harness.config.identity import identity
from harness.digest import file_digest
from harness.errors import RunFolderError
from harness.gate import check_game_ids, check_links
from harness.lock import RunLock
from harness.run import tables
from harness.run.derived import mark_stale
from harness.run.journal import Journal, Start, repair
from harness.run.manifest import (
    NAME,
    SCHEMA_VERSION,
    Cell,
    Manifest,
    Session,
    now,
    read_manifest,
    this_session,
)
from harness.run.rows import journal_rows
from harness.run.rules import ends_by_rules, hold_to_schedule
from harness.run.sound import journals_of


class RunFolder:
    """A run folder open for writing. Enter it to own it: `with RunFolder.claim(path, wanted) as folder: ...`."""

    def __init__(
        self, path: Path, manifest: Manifest, lock: RunLock, notes: list[str], before: Iterable[str] = ()
    ) -> None:
        """Use `claim`. before: the games that had ended when it was claimed."""
        self.path = path
        self.manifest = manifest
        self.notes = notes
        """Repairs that were made, to show to the user."""
        self._lock = lock
        self._before = frozenset(before)

    @classmethod
    def claim(cls, path: Path, wanted: Manifest) -> RunFolder:
        """Create the folder, or resume the run in it if it is the `wanted` one.

        Raises RunFolderError: in use by another process, another run, another schema version, a folder or file that
        is no run (nothing in it is touched). Raises StorageError where nothing can be written.
        """
        path = path.resolve()
        if path.is_dir():
            check_links(path)
        fresh = _check_free(path)
        with storage(path):
            path.mkdir(parents=True, exist_ok=True)
        lock = RunLock(path)
        lock.__enter__()
        try:
            if fresh and not (path / NAME).exists():
                with storage(path):
                    (path / "journal").mkdir(exist_ok=True)
                wanted.write(path)
                return cls(path, wanted, lock, [])
            manifest = read_manifest(path)
            notes = repair(journals_of(path))
            journal = Journal(journals_of(path))
            if manifest.status == "playing":
                notes += _lost(path, manifest, journal)
            if manifest.status == "playing" and not journal.game_ids:
                wanted.write(path)  # an earlier start played nothing: there is no run to differ from
                return cls(path, wanted, lock, notes)
            _check_same(path, manifest, wanted)
            if wanted.n_games > manifest.n_games and manifest.status == "finished":
                _check_journal(path, manifest)
                manifest.status, manifest.finished = "playing", None
                manifest.digests, manifest.stores = {}, {}
            if manifest.status == "playing":
                manifest.sessions = [*_playing(manifest, journal), this_session(wanted.config)]
                manifest.config, manifest.n_games = wanted.config, wanted.n_games
                manifest.write(path)
            return cls(path, manifest, lock, notes, journal.ends)
        except BaseException:
            lock.__exit__(None, None, None)
            raise

    @classmethod
    def hold(cls, path: Path) -> RunLock:
        """The lock of an existing run, to add something to it (activations): `with RunFolder.hold(path): ...`."""
        read_manifest(path)
        return RunLock(path, "wait until it is done, or stop it, and give the same command again")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(None, None, None)

    @property
    def session(self) -> int:
        """The index of this session among the manifest's."""
        return len(self.manifest.sessions) - 1

    @property
    def journal_folder(self) -> Path:
        """The folder of the runners' journals."""
        return self.path / "journal"

    def journal(self) -> Journal:
        """All journals as they are now."""
        return read_journals(self.path)

    def keep(self, n_ended: int) -> None:
        """Record in the manifest what the journals hold now, so that a later command can detect losses."""
        self.manifest.segments = {path.name: path.stat().st_size for path in journals_of(self.path)}
        self.manifest.ended = n_ended
        self.manifest.write(self.path)

    def finish(self, schedule: Mapping[str, Start] | None = None) -> None:
        """Write the tables from the journals and mark the run finished; adds remarks to `notes`.

        schedule: the start record that the journal must hold for each game. Games that had ended before the folder
        was claimed are checked against their rules; one whose log ends by the rules has not failed, whatever the
        journal records.

        Raises StorageError, and RunDamaged where a journal was changed.
        """
        journal = self.journal()
        hold_to_schedule(journal, schedule or {})
        right = ends_by_rules(self.manifest, journal, self._before & journal.ends.keys())
        journal.ends |= right
        ids = sorted(journal.ends, key=lambda game: journal.starts[game].index)
        digests = tables.write_tables(self.path, (journal_rows(self.manifest, journal, game) for game in ids))
        digests |= {f"journal/{path.name}": file_digest(path) for path in journal.paths}
        self.manifest.digests, self.manifest.segments = digests, {}
        stores = self.manifest.stores
        self.manifest.stores = {
            path.name: stores.get(path.name) or store_digest(path) for path in store_folders(self.path)
        }
        self.manifest.status, self.manifest.finished = "finished", self.manifest.finished or now()
        self.manifest.write(self.path)
        self.notes += [
            f"game {game_id} was noted as failed ({end.error}); its log ends by the rules: {end.winner} has won"
            for game_id, end in right.items()
        ]
        self.notes += map(str, mark_stale(self.path))


def read_journals(path: Path) -> Journal:
    """All journals of a run folder as they are now. Raises RunFolderError, also for a malformed game id."""
    journal = Journal(journals_of(path))
    check_game_ids(journal.game_ids, path / "journal")
    return journal


@contextmanager
def sealing(path: Path, store: str) -> Iterator[None]:
    """Inside the block, a finished run's manifest marks a store as being written; at the end it gets the store's
    digest.

    Hold the run's lock. Leaves running and older runs, which have no digests, unchanged.
    """
    _note_store(path, store, "")
    try:
        yield
    finally:
        if (path / store).is_dir():
            _note_store(path, store, store_digest(path / store))


def _note_store(path: Path, store: str, digest: str) -> None:
    manifest = read_manifest(path)
    if manifest.sealed and manifest.status == "finished":
        manifest.stores[store] = digest
        manifest.write(path)


def _lost(path: Path, manifest: Manifest, journal: Journal) -> Iterator[str]:
    """In words, which journals hold less than the manifest recorded."""
    lost = []
    for name, size in manifest.segments.items():
        file = path / "journal" / name
        found = file.stat().st_size if file.is_file() else None
        if found is None:
            lost.append(f"{name} is missing")
        elif found < size:
            lost.append(f"{name} is {size - found:,} bytes shorter than it was")
    if lost:
        n = manifest.ended - len(journal.ends)
        games = f"{n:,} games that had ended are" if n > 1 else "the games that it held are"
        yield f"journal {', '.join(lost)}: {games} played again"


def _check_free(path: Path) -> bool:
    """True where a new run can be made at `path`, False where there is a run. Raises RunFolderError otherwise."""
    if not path.exists():
        return True
    if not path.is_dir():
        raise RunFolderError(f"{path} exists and is a file: choose another --out")
    if (path / NAME).exists():
        return False
    ours = {"lock", "journal"}
    foreign = [p.name for p in path.iterdir() if p.name not in ours and not p.name.startswith(f".{NAME}.")]
    if foreign or any((path / "journal").glob("*")):
        raise RunFolderError(
            f"{path} exists and is not a run folder (it holds {', '.join(sorted(foreign)[:3]) or 'journals'} and no "
            f"{NAME}): choose another --out"
        )
    return True


def _check_same(path: Path, found: Manifest, wanted: Manifest) -> None:
    differences = list(_differences(identity(found.config), identity(wanted.config)))
    same = not differences and found.parent is None and wanted.parent is None  # hashed by an older version
    if found.config_hash != wanted.config_hash and not same:
        raise RunFolderError(
            f"{path} holds another run ({'; '.join(differences[:4]) or 'other games'}): "
            "choose another --out, or use the configuration that the run was started with"
        )
    if wanted.n_games < found.n_games:
        raise RunFolderError(
            f"{path} has {found.n_games} games scheduled, this command asks for {wanted.n_games}: "
            "choose another --out for a smaller run"
        )


def _playing(manifest: Manifest, journal: Journal) -> list[Session]:
    """The sessions of a resumed run, without a last one that played nothing."""
    *before, last = manifest.sessions
    if last.config is None:  # by an older version, which kept only the last session's configuration
        return [*before, msgspec.structs.replace(last, config=manifest.config)]
    return [*before, last] if len(before) in journal.sessions.values() else before


def _check_journal(path: Path, manifest: Manifest) -> None:
    """Checks that a finished run still has its journal, from which the tables are written, so that it can get more
    games."""
    n = len(read_journals(path).ends)
    if n != manifest.n_games:
        raise RunFolderError(
            f"{path} is finished and its journal holds {n} of its {manifest.n_games} games, so no games can be "
            "added: choose another --out"
        )


def _differences(found: Any, wanted: Any, where: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            yield from _differences(found.get(key), wanted.get(key), f"{where}.{key}" if where else key)
    elif found != wanted:
        yield f"{where} is {found!r} there and {wanted!r} here"


def new_manifest(
    name: str, config: dict[str, Any], config_hash: str, n_games: int, cells: list[Cell]
) -> Manifest:
    """The manifest of a run that starts now."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        status="playing",
        name=name,
        created=now(),
        n_games=n_games,
        config=config,
        config_hash=config_hash,
        cells=cells,
        sessions=[this_session(config)],
    )
