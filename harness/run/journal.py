"""Append-only journals: the state of every game, line by line, which survives a power failure.

A journal is a file of JSON lines; each line holds what one step added to one game, or the game's end. A runner
writes one file, so the lines of many games are interleaved; the index finds those of one game. A line goes to the
operating system whole before the next question is asked, so a killed process loses only outstanding answers. A torn
last line is cut off when the run is resumed.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Literal

import msgspec

from agents.backends.secrets import mask_bytes
from agents.llm.beliefs import Belief
from games.records import Decision, Event, Record
from harness.atomic import storage_error
from harness.errors import RunDamaged, RunFolderError, StorageError
from harness.lock import try_lock, wait_for_lock
from harness.run.usage import Usage


class Start(msgspec.Struct, frozen=True, omit_defaults=True):
    """The inputs that determine a game; the game's first line holds them."""

    index: int
    """The game's place in the schedule."""
    seed: int
    cell: int
    """Index into the manifest's cells: the game's settings."""
    agents: tuple[str, ...]
    """The roster name of each seat's agent."""


class End(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a game ended."""

    status: Literal["finished", "failed"]
    winner: str | None = None
    winners: tuple[int, ...] = ()
    """The seats that won."""
    reason: str | None = None
    error: str | None = None
    """Why the game could not continue, for status `failed`."""
    seconds: float = 0.0
    """Wall-clock time from (re)start to end; concurrent games share the machine."""
    usage: dict[str, Usage] = {}
    """Model -> its usage in the game, including unusable attempts and belief questions."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a journal: what a step added to a game. Events and decisions share the counter `seq`."""

    game: str
    """The game's id."""
    session: int = 0
    """Index into the manifest's sessions: which start of the command wrote the line."""
    start: Start | None = None
    events: tuple[Event, ...] = ()
    decisions: tuple[Decision, ...] = ()
    beliefs: tuple[Belief, ...] = ()
    """Beliefs of the game's models, asked after its last record; in the line of its end."""
    end: End | None = None


class _Head(msgspec.Struct):
    game: str
    session: int = 0
    start: Start | None = None
    end: End | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode
_decode_head = msgspec.json.Decoder(_Head).decode


def next_journals(folder: Path, n: int) -> list[Path]:
    """The names of the journals of `n` runners that begin to play now: a session's number, then the runner's."""
    session = 1 + max((int(p.name[1:5]) for p in folder.glob("s[0-9][0-9][0-9][0-9]-*.jsonl")), default=0)
    return [folder / f"s{session:04d}-r{i:03d}.jsonl" for i in range(n)]


class JournalWriter:
    """Appends lines to one new file, which it alone may write (held by a lock)."""

    def __init__(self, path: Path, session: int = 0) -> None:
        """Creates the file. session: index into the manifest's sessions. Raises StorageError, also where the file
        exists."""
        self.path, self.session = path, session
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except OSError as error:
            raise storage_error(error, path) from error
        try_lock(self._handle)
        self._size = 0
        self._failed: StorageError | None = None

    def add(
        self,
        game: str,
        records: Sequence[Record] = (),
        start: Start | None = None,
        end: End | None = None,
        beliefs: Sequence[Belief] = (),
    ) -> None:
        """Append one whole line. Raises StorageError, after which the file accepts no more lines."""
        if self._failed is not None:  # any of the games that write here may be the first
            raise StorageError(str(self._failed)) from self._failed
        events = tuple(r for r in records if isinstance(r, Event))
        decisions = tuple(r for r in records if isinstance(r, Decision))
        line = Line(
            game, self.session, start, events=events, decisions=decisions, beliefs=tuple(beliefs), end=end
        )
        data = memoryview(mask_bytes(_encode(line)) + b"\n")
        try:
            written = 0
            while written < len(data):
                written += os.write(self._handle, data[written:])
            if not os.fstat(self._handle).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "it was removed while the run was being played")
        except OSError as error:
            self._failed = storage_error(error, self.path)
            os.ftruncate(self._handle, self._size)  # no line may follow a torn one
            raise self._failed from error
        self._size += len(data)

    def close(self) -> None:
        """Wait until all is on the disk, and let go of the file."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise storage_error(error, self.path) from error
        finally:
            os.close(self._handle)


def repair(paths: Iterable[Path], patience: float = 20.0) -> list[str]:
    """Cut torn last lines off journals; returns one note per cut file.

    Waits at most `patience` seconds for a file that is still being written (by the runner of a driver that has just
    died). Raises RunFolderError when it is still locked then.
    """
    notes = []
    for path in paths:
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError as error:
            raise storage_error(error, path) from error
        try:
            if not wait_for_lock(handle, patience):
                raise RunFolderError(
                    f"{path} is still being written by a process of an earlier command: "
                    "wait until it has ended, then run the same command again"
                )
            size = os.fstat(handle).st_size
            whole = _whole_size(handle, size)
            if whole < size:
                os.ftruncate(handle, whole)
                notes.append(f"{path.name}: cut off a torn last line of {size - whole} bytes")
        finally:
            os.close(handle)
    return notes


def _whole_size(handle: int, size: int) -> int:
    """The length in bytes of the whole lines of a file."""
    end = size
    while end > 0:
        start = max(0, end - (1 << 16))
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


class Journal:
    """All journals of a run, indexed by game. Read-only; a torn last line is skipped."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Reads every line's game once. Raises RunDamaged where a line before the last is damaged."""
        self.paths = list(paths)
        self.starts: dict[str, Start] = {}
        """The start record of each started game, by game id."""
        self.ends: dict[str, End] = {}
        """The end of each ended game, by game id."""
        self.sessions: dict[str, int] = {}
        """For each game, the session that wrote its last line: an index into the manifest's sessions."""
        self._where: dict[str, list[tuple[int, int, int]]] = {}
        for number, path in enumerate(self.paths):
            self._index(number, path)

    def _index(self, number: int, path: Path) -> None:
        offset = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    head = _decode_head(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise _damaged(path, offset, error) from error
                self._where.setdefault(head.game, []).append((number, offset, len(line)))
                self.sessions[head.game] = max(head.session, self.sessions.get(head.game, 0))
                if head.start is not None:
                    self.starts.setdefault(head.game, head.start)
                if head.end is not None:
                    self.ends.setdefault(head.game, head.end)
                offset += len(line)

    @property
    def game_ids(self) -> list[str]:
        """Every game that has been started, in the order of its first line."""
        return list(self._where)

    @property
    def unfinished(self) -> list[str]:
        """The games that have been started and have not ended."""
        return [game for game in self._where if game not in self.ends]

    def __contains__(self, game_id: object) -> bool:
        return game_id in self._where

    def records(self, game_id: str) -> list[Record]:
        """The game's records in order. Raises KeyError, and RunDamaged where one is missing or double."""
        return self.log(game_id)[0]

    def log(self, game_id: str) -> tuple[list[Record], list[Belief]]:
        """(the game's records in order, what its models believed, asked in the end). Raises as `records`."""
        records: list[Record] = []
        beliefs: list[Belief] = []
        for line in self._lines(game_id):
            records += line.events
            records += line.decisions
            beliefs += line.beliefs
        records.sort(key=attrgetter("seq"))
        for i, record in enumerate(records):
            if record.seq != i:
                what = "twice" if record.seq < i else f"not, but goes on with {record.seq}"
                raise RunDamaged(
                    f"{self.names(game_id)} is damaged: game {game_id} has record {min(i, record.seq)} {what}; "
                    "restore the file from a copy"
                )
        return records, beliefs

    def names(self, game_id: str) -> str:
        """The files that hold a game, in words."""
        return ", ".join(str(self.paths[number]) for number in sorted({at[0] for at in self._where[game_id]}))

    def _lines(self, game_id: str) -> Iterator[Line]:
        for number, places in itertools.groupby(self._where[game_id], key=itemgetter(0)):
            path = self.paths[number]
            with path.open("rb", buffering=0) as file:
                for _, offset, length in places:
                    try:
                        yield _decode(os.pread(file.fileno(), length, offset))
                    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                        raise _damaged(path, offset, error) from error

    def games(self) -> Iterator[tuple[str, list[Record]]]:
        """Every started game with its records, one in memory at a time."""
        for game_id in self._where:
            yield game_id, self.records(game_id)


def _damaged(path: Path, offset: int, error: Exception) -> RunDamaged:
    return RunDamaged(
        f"{path}, byte {offset}: a line that is not the last one cannot be read ({error}); "
        "restore the file from a copy, or delete that line to play its game's rest again"
    )
