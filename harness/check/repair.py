"""Rebuilds a finished run's tables from its journal, which is never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness.activations.store import store_folders
from harness.check.files import store_damage
from harness.errors import ConfigurationError, RunDamaged
from harness.lock import RunLock
from harness.run.folder import Run, load_run
from harness.run.held import RunFolder
from harness.run.journal import Journal, Start
from harness.run.manifest import Manifest, read_manifest
from harness.run.sound import changed_files, journals_of, misfits
from harness.schedule.branched import schedule_of


def repair_run(path: str | Path, say: Callable[[str], None] = lambda text: None) -> list[str]:
    """Rebuild a run's damaged tables; returns, in words, what could not be repaired.

    Journals and stores of activations are never changed. An edited manifest is accepted where its configuration gives
    the games of the journal. An older folder without digests gets them.

    Raises RunFolderError where there is no run or it is in use, RunDamaged where the manifest contradicts the journal.
    """
    path = Path(path)
    manifest = read_manifest(path, changed=True)
    with RunLock(path, "wait until it is done, or stop it, and give the same command again") as lock:
        if manifest.status == "playing":
            _take_as_it_is(path, manifest, _journal(path), say)
            say("the run is not finished: its command goes on from the journal")
            return []
        lost, tables = _damage(path, manifest)
        journal = None if lost else _journal(path)
        if journal is not None and len(journal.ends) != manifest.n_games:
            lost.append(f"the journal holds {len(journal.ends):,} of {manifest.n_games:,} games")
            journal = None
        _take_as_it_is(path, manifest, journal, say)
        if journal is not None and (tables or not manifest.digests):
            say(f"writing the tables from {len(journal.ends):,} games of the journal")
            folder = RunFolder(path, manifest, lock, [], journal.ends)
            folder.finish(_starts(manifest))
            for note in folder.notes:
                say(note)
        elif tables:
            why = "; ".join(lost) or "there is no journal to write it from"
            lost += [f"{name} cannot be written anew: {why}" for name in tables]
    run = load_run(path)
    return [*lost, *_other_damage(run)]


def _damage(path: Path, manifest: Manifest) -> tuple[list[str], list[str]]:
    """(damaged journals in words, names of damaged tables)."""
    found = (
        dict(changed_files(path, manifest, afresh=True))
        if manifest.digests
        else dict(misfits(path, manifest))
    )
    tables = [name for name in found if name.endswith(".parquet")]
    return [f"{name}: {what}" for name, what in found.items() if name not in tables], tables


def _journal(path: Path) -> Journal | None:
    """The journals where there are any. Raises RunDamaged where they cannot be read."""
    return Journal(journals_of(path)) if journals_of(path) else None


def _starts(manifest: Manifest) -> dict[str, Start]:
    return {p.game_id: Start(p.index, p.seed, p.cell, p.agents) for p in schedule_of(manifest)}


def _take_as_it_is(
    path: Path, manifest: Manifest, journal: Journal | None, say: Callable[[str], None]
) -> None:
    """Accept an edited manifest and write its digest where the journal agrees with it. Raises RunDamaged
    otherwise."""
    try:
        read_manifest(path)
    except RunDamaged as error:
        try:
            foreign = set() if journal is None else set(journal.game_ids) - _starts(manifest).keys()
        except ConfigurationError as wrong:
            raise RunDamaged(f"{error}. Its configuration is not valid: {wrong}") from error
        if journal is None or foreign or len(journal.ends) > manifest.n_games:
            why = "there is no journal to hold it to" if journal is None else (
                f"its configuration schedules none of {len(foreign):,} games that the journal holds"
            )  # fmt: skip
            raise RunDamaged(
                f"{path}/manifest.json has changed, and {why}: restore it from a copy"
            ) from error
        manifest.write(path)
        say("manifest.json was edited; its games are those of the journal, so it is taken as it is")


def _other_damage(run: Run) -> Iterator[str]:
    for store in store_folders(run.path):
        for found in store_damage(run, store):
            yield f"{found.where}: {found.what}"
