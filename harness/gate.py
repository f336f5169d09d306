"""The gate for untrusted files: ids, names, paths, sizes.

A run folder is shared, merged and copied between machines, so its tables, manifest and links are untrusted. A text
that passes here can be part of a path; others are refused on reading, before any use.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from games.printable import UNSEEN, one_line
from harness.errors import RunFolderError, WolfscopeError

GAME_ID: Final = re.compile(r"[0-9a-f]{16}")
"""The id of a game: `harness.config.hashing.hash_of`."""
SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=-]{0,199}")
"""One part of a path: a file's or folder's name that cannot lead anywhere else."""
LONGEST_NAME: Final = 200
"""Most characters of a name that is only shown."""
_UNQUOTED: Final = re.compile('[\\n\\t"`\\\\“”„«»]')


class Untrusted(RunFolderError):
    """An untrusted file has an invalid value; the message names it, and the valid ones."""


class TooLarge(WolfscopeError, ValueError):
    """A file exceeds the size limit for untrusted files; the message gives both sizes."""


def check_game_id(text: object, where: object) -> str:
    """The text, where it is a game's id. Raises Untrusted naming `where` it was read."""
    if not isinstance(text, str) or GAME_ID.fullmatch(text) is None:
        raise Untrusted(
            f"{where} holds the game id {_shown(text)}; an id is 16 hex digits. The file was not written by Wolfscope, "
            "or was edited: restore it from its source"
        )
    return text


def check_game_ids(ids: Iterable[object], where: object) -> None:
    """`check_game_id` for each."""
    for one in ids:
        check_game_id(one, where)


def segment(text: object, what: str) -> str:
    """The text, where it can be one part of a path. Raises Untrusted."""
    if not isinstance(text, str) or SEGMENT.fullmatch(text) is None or text.endswith("."):
        raise Untrusted(
            f"{what} is {_shown(text)}, which is no file name here: letters, digits and _ . - @ + = are, "
            "at most 200 of them, not beginning with a dot"
        )
    return text


def segment_of(text: str) -> str:
    """Any text as a part of a path, with `_` for characters that are not allowed."""
    kept = re.sub(r"[^A-Za-z0-9_.@+=-]", "_", text)[:200].rstrip(".")
    return kept if SEGMENT.fullmatch(kept) else f"_{kept}"[:200]


def is_name(text: object) -> bool:
    """Whether a text can name an agent, backend, model, run or factor: one line that is shown as it is, no quotes, no
    path that leads upwards."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= LONGEST_NAME
        and text == text.strip()
        and UNSEEN.search(text) is None
        and _UNQUOTED.search(text) is None
        and not text.startswith(("/", "~"))
        and not {".", ".."} & set(text.split("/"))
    )


def check_name(text: object, what: str) -> str:
    """The text, where it is a name (`is_name`). Raises Untrusted saying `what` it should name."""
    if not isinstance(text, str) or not is_name(text):
        raise Untrusted(
            f"{what} is called {_shown(text)}; a name is one line of at most {LONGEST_NAME} characters without quotes, "
            "backslashes, hidden characters and `..`"
        )
    return text


def name_of(text: str) -> str:
    """Any text as a name, with `_` for characters that are not allowed."""
    kept = _UNQUOTED.sub("_", UNSEEN.sub("_", text)).strip().lstrip("/~")[:LONGEST_NAME].strip()
    kept = "/".join("_" if part in (".", "..") else part for part in kept.split("/"))
    return kept or "unnamed"


def inside(folder: Path, path: Path) -> Path:
    """The path, where it lies in the folder with all links followed. Raises Untrusted."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Untrusted(
            f"{path} leads to {path.resolve()}, out of {folder}: nothing is read or written there"
        )
    return path


def check_links(folder: Path) -> None:
    """Nothing in a folder may lead out of it. Raises Untrusted for a symbolic link to elsewhere and for what is neither
    a file nor a folder (a pipe would be waited for for ever). The folder itself may be a link."""
    root = folder.resolve()
    todo = [root]
    while todo:
        try:
            entries = list(os.scandir(todo.pop()))
        except OSError:  # gone meanwhile, or unreadable: opening it will report that
            continue
        for entry in entries:
            if entry.is_symlink():
                to = Path(os.path.realpath(entry.path))
                if not to.is_relative_to(root):
                    raise Untrusted(
                        f"{entry.path} is a link to {to}, out of {folder}: a run folder is read only where nothing in "
                        "it leads elsewhere; put the file itself in the link's place, or remove the link"
                    )
            elif entry.is_dir(follow_symlinks=False):
                todo.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False) and _is_special(entry):
                raise Untrusted(f"{entry.path} is neither a file nor a folder: remove it")


def own_folder(path: Path) -> Path:
    """A folder that a verb writes in, created where missing. Raises Untrusted where a link in it leads out;
    OSError."""
    path.mkdir(parents=True, exist_ok=True)
    check_links(path)
    return path


def _is_special(entry: os.DirEntry[str]) -> bool:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:  # gone meanwhile
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode)


def read_bounded(path: Path, most: int) -> bytes:
    """A file's bytes. Raises TooLarge above `most` bytes, before it is read whole; OSError."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLarge(
            f"{path} holds {path.stat().st_size:,} bytes; at most {most:,} are read of such a file"
        )
    return data


def gunzip(data: bytes, most: int, where: object) -> bytes:
    """The content of gzipped data. Raises TooLarge where it opens to more than `most` bytes, before it has; zlib.error,
    EOFError where it is cut off."""
    out = bytearray()
    while data:
        opened = zlib.decompressobj(wbits=31)
        out += opened.decompress(data, most + 1 - len(out))
        if len(out) > most:
            raise TooLarge(
                f"{where} opens to more than {most:,} bytes, which is the most that is read of such a file"
            )
        if not opened.eof:
            raise EOFError(f"{where} is cut off")
        data = opened.unused_data
    return bytes(out)


def parse_json(data: bytes | str, where: object) -> Any:
    """Parse untrusted JSON. Raises ValueError naming `where`, also for too deeply nested brackets."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError(f"{where}: brackets are nested too deeply") from None


def _shown(value: object) -> str:
    return one_line(repr(value), 80)
