"""The temporary folder of one command, for files of engines, Ray and servers; removed at its end.

The next command removes the folder of a killed one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.errors import StorageError

PREFIX = "wolf-"
LONGEST = 42
"""Characters of the folder's path in which Ray can still name its sockets (a socket's path has at most 107)."""
_active: list[Path] = []


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """The folder, private to the user; nested blocks of a process share one.

    Within it, temporary files of this process and of those that it starts are made there. Raises StorageError where no
    temporary folder can be written, naming those that were tried.
    """
    if _active:
        yield _active[0]
        return
    folder = _made()
    before = {name: os.environ.get(name) for name in ("TMPDIR", "VLLM_CACHE_ROOT", "XDG_CACHE_HOME")}
    own, tempfile.tempdir = tempfile.tempdir, str(folder)
    os.environ["TMPDIR"] = str(folder)
    if not _writable(Path.home()):  # engines keep compiled code below it
        os.environ.setdefault("VLLM_CACHE_ROOT", str(folder / "cache"))
        os.environ.setdefault("XDG_CACHE_HOME", str(folder / "cache"))
    _active.append(folder)
    try:
        yield folder
    finally:
        _active.remove(folder)
        tempfile.tempdir = own
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _remove(folder)


def _made() -> Path:
    """A new folder, named after this process; removes the folders of processes that are gone."""
    tried = dict.fromkeys(Path(p) for p in (tempfile.gettempdir(), "/tmp") if os.path.isdir(p))
    short = [
        parent for parent in tried if len(str(parent)) + len(f"/{PREFIX}{os.getpid()}-12345678") <= LONGEST
    ]
    errors = []
    for parent in short or tried:
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
        except OSError as error:
            errors.append(f"{parent}: {error.strerror}")
            continue
        for left in parent.glob(f"{PREFIX}[0-9]*-*"):
            _sweep(left)
        return folder
    raise StorageError(
        f"no temporary folder can be written ({'; '.join(errors)}): set TMPDIR to one that can"
    )


def _sweep(folder: Path) -> None:
    """Remove the folder of a process of this user that is gone."""
    found = re.fullmatch(rf"{PREFIX}(\d+)-\w+", folder.name)
    with contextlib.suppress(OSError):
        if found and folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
            try:
                os.kill(int(found[1]), 0)
            except ProcessLookupError:
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder in which processes that are just ending may still write."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.2)


def _writable(folder: Path) -> bool:
    """Whether files can be made there; `os.access` is not used, as it returns True for root on a read-only disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
