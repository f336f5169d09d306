"""Checks that the files of a run are unchanged. Part of `wolfscope check`; for a copied run this suffices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.activations.seal import store_digest
from harness.activations.store import ActivationsError, open_activations, store_folders
from harness.activations.verify import Contexts, verify
from harness.errors import RunDamaged
from harness.run.derived import edited
from harness.run.folder import Run
from harness.run.sound import changed_files, unreadable
from harness.seals import changed, sealed_folders


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    where: str
    """A file, a game, or a game and a sequence number."""
    what: str


def damage_of(path: str | Path) -> list[Finding]:
    """Every damaged file of a run: manifest, journals, tables, stores of activations, and derived files.

    Reads all of them, whatever this process has read before. Raises RunFolderError where there is no run.
    """
    try:
        run = Run(Path(path))
    except RunDamaged as error:
        return [Finding("manifest.json", str(error))]
    return [
        *derived_damage(run),
        *tables_damage(run),
        *(found for store in store_folders(run.path) for found in store_damage(run, store)),
    ]


def tables_damage(run: Run) -> list[Finding]:
    """Damage of a finished run's tables and journals, and of an unfinished one's journals."""
    if not run.finished:
        try:
            for game_id in run.journal.game_ids:
                run.journal.log(game_id)
        except RunDamaged as error:
            return [Finding("journal", str(error))]
        return []
    found = [Finding(*one) for one in changed_files(run.path, run.manifest, afresh=True)]
    if not any(f.where.endswith(".parquet") for f in found):
        found += [Finding(*one) for one in unreadable(run.path, run.manifest)]
    missing = run.manifest.stores.keys() - {store.name for store in store_folders(run.path)}
    return found + [
        Finding(name, "the store is missing; restore it from a copy, or capture again")
        for name in sorted(missing)
    ]


def derived_damage(run: Run) -> Iterator[Finding]:
    """Reports, pages, derived tables, and files of experiments, dictionaries and comparisons that are not what was
    written."""
    yield from (Finding(*one) for one in edited(run.path))
    yield from sealed_damage(run.path)


def sealed_damage(path: Path) -> Iterator[Finding]:
    """Changed files of sealed folders, `path` and those below it."""
    for folder in sealed_folders(path):
        place = folder.relative_to(path)
        yield from (Finding(str(place / name), what) for name, what in changed(folder, afresh=True))


def store_damage(run: Run, path: Path, contexts: Contexts | None = None) -> Iterator[Finding]:
    """Damage of one store; contexts: the token ids that its rows are checked against."""
    manifest, written = run.manifest, run.manifest.stores.get(path.name)
    if manifest.sealed and run.finished and not written:
        why = "names no digest of it" if written is None else "says that its capture has not ended"
        yield Finding(path.name, f"the manifest {why}; run the same `wolfscope capture` again")
    elif written and written != store_digest(path):
        yield Finding(
            path.name,
            "store.json, vocabulary.parquet or a file in digests/ is not what the manifest names: a capture was cut "
            "short, or files were changed; run the same `wolfscope capture` again, or restore them from a copy",
        )
    try:
        store = open_activations(path)
        yield from (Finding(f"{path.name}/{d.where}", d.message) for d in verify(store, contexts))
        models = set(manifest.models.values())
        if path.name == "activations" and models and store.info.model not in models:
            yield Finding(
                f"{path.name}/store.json",
                f"the rows are of {store.info.model}, the run was played by {', '.join(sorted(models))}",
            )
        if not run.finished:
            return
        games = store.scan().select("game_id").unique(maintain_order=True).collect()["game_id"]
        foreign = sorted(set(games) - set(run.game_ids))
        if foreign:
            yield Finding(
                path.name,
                f"it has rows of {len(foreign):,} games that this run does not have, such as {foreign[0]}",
            )
    except ActivationsError as error:
        yield Finding(path.name, str(error))
    except RunDamaged:
        return  # named already
