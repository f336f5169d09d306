"""Importing files of another program into a run folder, whose manifest records the games' origin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from harness.atomic import making_folder
from harness.config.files import parse_config
from harness.config.hashing import hash_of
from harness.errors import RunFolderError
from harness.exchange.imports.source import Source, SourceFile
from harness.exchange.imports.werewolf import GAME
from harness.exchange.imports.werewolf.aiwolf import read_aiwolf
from harness.exchange.imports.werewolf.kaggle import read_kaggle
from harness.exchange.imports.werewolf.log import MOST_BYTES, Imported, ImportFormatError
from harness.gate import TooLarge, name_of, read_bounded
from harness.run.held import new_manifest
from harness.run.journal import Start
from harness.run.manifest import Cell, Manifest, now
from harness.run.rows import game_rows
from harness.run.tables import Rows, write_tables

FORMATS: dict[str, tuple[Callable[..., Imported], tuple[str, ...]]] = {
    "kaggle": (read_kaggle, (".json", ".json.gz")),
    "aiwolf": (read_aiwolf, (".log", ".txt", ".csv")),
}
"""Format -> its reader, and how the names of its files end."""


SHOWN = 50
"""Most bad files that one message names."""


def import_games(
    format: str,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    ballots_shown: bool = False,
    skip_bad: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Read games of another program into the new run folder `out`; its path.

    paths: files, or folders whose files of the format are read. ballots_shown: aiwolf: whether the players saw who
    voted for whom, which the logs do not say. skip_bad: leave out files that cannot be read, and name them in the
    manifest.

    Raises ImportFormatError naming file, line and field of every bad file; RunFolderError where nothing is to be read
    or one game is in two files; StorageError where `out` exists. Nothing is written then.
    """
    if format not in FORMATS:
        raise RunFolderError(f"no format is called {format!r}; there are: {', '.join(FORMATS)}")
    reader, endings = FORMATS[format]
    if format == "aiwolf":
        reader = partial(reader, ballots_shown=ballots_shown)
    games: dict[str, Imported] = {}
    files: list[SourceFile] = []
    bad: list[tuple[Path, str]] = []
    for file in _files(paths, endings):
        try:
            data = read_bounded(file, MOST_BYTES)
            game = reader(file, data)
        except (ImportFormatError, TooLarge) as error:
            bad.append((file, str(error)))
            continue
        except OSError as error:
            bad.append((file, f"{file} cannot be read: {error.strerror}"))
            continue
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            bad.append(
                (file, f"{file}: something in it has not the shape that it should have ({error!r:.200})")
            )
            continue
        if game.game_id in games:
            first = next(f.name for f in files if f.game_id == game.game_id)
            raise RunFolderError(f"{file} and {first} hold the same game: leave one of them out")
        games[game.game_id] = game
        files.append(SourceFile(file.name, hashlib.sha256(data).hexdigest(), game.game_id))
        say(f"{file}: {len(game.records)} records, {game.end.winner} won")
    if bad and not (skip_bad and files):
        raise ImportFormatError(_complaint([why for _, why in bad], len(files)))
    for _, why in bad:
        say(f"left out: {why}")
    if not files:
        raise RunFolderError(f"{', '.join(map(str, paths))}: no file ends in {' or '.join(endings)}")
    options: dict[str, Any] = {"ballots_shown": ballots_shown} if format == "aiwolf" else {}
    if bad:
        options["left_out"] = [file.name for file, _ in bad]
    out = Path(out).resolve()
    with making_folder(out) as part:
        manifest = _manifest(name_of(out.name), list(games.values()), Source(format, options, files))
        manifest.digests = write_tables(part, _rows(manifest.cells, games.values()))
        manifest.write(part)
    return out


def _complaint(bad: Sequence[str], n_good: int) -> str:
    """All bad files in one message."""
    if len(bad) == 1 and not n_good:
        return bad[0]
    shown = [f"  {why}" for why in bad[:SHOWN]]
    if len(bad) > SHOWN:
        shown.append(f"  and {len(bad) - SHOWN:,} more")
    head = f"{len(bad):,} of {len(bad) + n_good:,} files cannot be read, so nothing was imported"
    return "\n".join([f"{head} (--skip-bad imports the others):", *shown])


def _files(paths: Sequence[str | Path], endings: tuple[str, ...]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(p for p in path.iterdir() if p.name.endswith(endings))
        elif path.exists():
            yield path
        else:
            raise ImportFormatError(f"there is no file {path}")


def _rows(cells: Sequence[Cell], games: Any) -> Iterator[Rows]:
    places = {hash_of(cell.settings): i for i, cell in enumerate(cells)}
    for index, game in enumerate(games):
        cell = places[hash_of(game.settings)]
        start = Start(index, 0, cell, game.agents)
        yield game_rows(cells[cell], game.game_id, start, game.records, game.end)


def _manifest(name: str, games: Sequence[Imported], source: Source) -> Manifest:
    settings = {hash_of(game.settings): game.settings for game in games}
    cells = [Cell(factors={}, game=GAME, settings=one) for one in settings.values()]
    seats: dict[str, int] = {}
    for game in games:
        for agent in game.agents:
            seats[agent] = seats.get(agent, 0) + 1
    config = parse_config(
        {
            "run": {"name": _plain(name), "games": len(games)},
            "game": cells[0].settings,
            "agents": {agent: {"kind": "imported"} for agent in seats},
            "roster": {"mix": seats},
        }
    )
    found = new_manifest(name, config.plain(), hash_of([f.sha256 for f in source.files]), len(games), cells)
    found.imported = msgspec.to_builtins(source)
    found.status, found.finished = "finished", now()
    return found


def _plain(name: str) -> str:
    """The name reduced to the characters that a run's name may have."""
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in name if c.isascii())
    return kept.lstrip("._-") or "imported"
