"""Digests of folders other than runs: experiments, dictionaries, comparisons, data sets, training states.

    digests.json    digests of one folder's files, each added by the verb that wrote the file

A writer seals its files; a reader checks the files that it reads and refuses changed ones. Unlisted files, and
folders without `digests.json`, come from older versions or other programs and are read unchecked. A training state
contains its own digest and that of its tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.atomic import write_whole
from harness.digest import digest_of, file_digest
from harness.errors import RunDamaged
from harness.gate import SEGMENT, TooLarge, read_bounded, segment

FILE = "digests.json"
LARGEST = 64 << 20
"""Largest list of digests or training state that is read, in bytes."""
_VERB = re.compile(r"[a-z]+(-[a-z]+)*( [a-z]+)?")


class Seals(msgspec.Struct, frozen=True):
    """The content of `digests.json`."""

    files: dict[str, tuple[str, str]]
    """Name of a file, from the folder -> its digest, and the verb that makes it again."""
    content: str
    """`digest_of` the names, digests and verbs, in their order."""


def seal(folder: Path, *files: Path, verb: str) -> None:
    """Add the digests of some files of a folder to its list. verb: the command that rebuilds them.

    Raises StorageError.
    """
    try:
        known = _read(folder)
    except RunDamaged:
        known = {}  # readers of the other files have been warned
    for file in files:
        known[file.relative_to(folder).as_posix()] = (file_digest(file, afresh=True), verb)
    found = dict(sorted(known.items()))
    made = Seals(found, _content(found))
    write_whole(folder / FILE, msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")


def changed(folder: Path, *names: str, afresh: bool = False) -> Iterator[tuple[str, str]]:
    """(name, what is wrong) of every changed sealed file of a folder.

    names: only these (none: all). afresh: read files again that this process has read before.
    """
    try:
        known = _read(folder)
    except RunDamaged as error:
        yield FILE, str(error)
        return
    for name, (digest, verb) in known.items():
        if names and name not in names:
            continue
        again = f"; wolfscope {verb} makes it again" if _VERB.fullmatch(verb) else ""
        if not all(SEGMENT.fullmatch(part) for part in name.split("/")):
            yield FILE, "it names a file outside of its folder"
            continue
        try:
            if file_digest(folder / name, afresh) != digest:
                yield name, f"it is not what was written (its digest is another){again}"
        except FileNotFoundError:
            yield name, f"the file is missing{again}"
        except OSError as error:
            yield name, f"the file cannot be read ({error.strerror}){again}"


def hold(folder: Path, *names: str) -> None:
    """Raises RunDamaged where a sealed file of a folder was changed. names: only these (none: all)."""
    for name, what in changed(folder, *names):
        raise RunDamaged(f"{folder / name} is damaged: {what}")


def files_of(folder: Path) -> list[Path]:
    """All files below a folder, by path, for verbs that seal a whole folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)


def sealed_folders(folder: Path) -> list[Path]:
    """The folders below one, itself among them, that hold digests of their files."""
    return sorted(path.parent for path in folder.rglob(FILE) if path.is_file())


def _read(folder: Path) -> dict[str, tuple[str, str]]:
    path = folder / FILE
    try:
        found = msgspec.json.decode(read_bounded(path, LARGEST), type=Seals)
    except FileNotFoundError:
        return {}
    except (OSError, TooLarge, ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise RunDamaged(f"{path} cannot be read ({error}); write the folder again, or remove it") from error
    if _content(found.files) != found.content:
        raise RunDamaged(
            f"{path} is not what was written (its digest is another); write the folder again, or remove it"
        )
    return found.files


def _content(files: Mapping[str, tuple[str, str]]) -> str:
    return digest_of(msgspec.json.encode(files))


# --- states -----------------------------------------------------------------------------------------------------------


def write_state(path: Path, state: Mapping[str, Any], tensors: Path) -> None:
    """Write the state of a training, JSON that names the file of its tensors (`file`, beside it) and the digests of
    both. Raises StorageError."""
    made = {**state, "file": tensors.name, "tensors": file_digest(tensors, afresh=True)}
    write_whole(path, json.dumps({**made, "content": _of_state(made)}, indent=1).encode() + b"\n")


def read_state(path: Path) -> dict[str, Any]:
    """The state that `write_state` saved, without its digests; older states have none and are read unchecked.

    Raises RunDamaged where state or tensors were changed; FileNotFoundError.
    """
    remedy = f"restore both from a copy, or remove {path} and begin again"
    try:
        state = json.loads(read_bounded(path, LARGEST))
    except FileNotFoundError:
        raise
    except (OSError, TooLarge, ValueError, RecursionError) as error:
        raise RunDamaged(f"{path} is damaged: it cannot be read ({error}); {remedy}") from error
    if not isinstance(state, dict):
        raise RunDamaged(f"{path} is damaged: it is no state of a training; {remedy}")
    written, content = state.pop("tensors", None), state.pop("content", None)
    if content is None and written is None:
        return state
    if content != _of_state({**state, "tensors": written}):
        raise RunDamaged(f"{path} is damaged: it is not what was written (its digest is another); {remedy}")
    tensors = path.parent / segment(state.get("file"), f"the file that {path} names")
    try:
        found = file_digest(tensors)
    except OSError as error:
        raise RunDamaged(f"{tensors} is damaged: it cannot be read ({error.strerror}); {remedy}") from error
    if found != written:
        raise RunDamaged(
            f"{tensors} is damaged: it is not what was written (its digest is another); {remedy}"
        )
    return state


def keep_lines(path: Path, key: str, most: int) -> None:
    """Drop the lines of a training's curve whose `key` is above `most`, which the training writes again. Raises
    RunDamaged for a line that is not JSON with that key; StorageError."""
    if not path.is_file():
        return
    kept = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            if line and json.loads(line)[key] <= most:
                kept.append(line + b"\n")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunDamaged(
                f"{path} is damaged: line {number} is no step of a training ({error}); restore it from a copy, or "
                "remove the line"
            ) from error
    write_whole(path, b"".join(kept))


def _of_state(state: Mapping[str, Any]) -> str:
    return digest_of(json.dumps(state, sort_keys=True).encode())
