"""Files that are written whole or not at all, and disk errors in words."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.backends.secrets import mask_bytes
from harness.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def storage_error(error: OSError, path: Path) -> StorageError:
    """The same error as a `StorageError` that names the remedy."""
    what = error.strerror or str(error)
    if error.errno in _FULL:
        remedy = "free some space and run the same command again; everything written before is kept"
        return StorageError(f"no room to write {path} ({what}): {remedy}")
    if error.errno in _CLOSED:
        return StorageError(f"cannot write {path} ({what}): make the folder writable or choose another --out")
    return StorageError(f"cannot write {path} ({what})")


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turns the operating system's errors on writing `path` into `StorageError`."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(error, path) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed to disk and takes `path`'s place at once.

    On any error the temporary file is removed and `path` stays as it was.
    """
    with storage(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    part = Path(name)
    try:
        with storage(path):
            yield part
            sync_file(part)
            part.chmod(0o644)
            part.replace(path)
            sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically, secrets masked. Raises StorageError and leaves the earlier file in place."""
    with replacing(path) as part:
        part.write_bytes(mask_bytes(data))


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which does not exist yet; on success it takes that name at once.

    On any error it is removed and `path` does not exist. Raises StorageError, also where `path` exists.
    """
    if path.exists():
        raise StorageError(f"{path} exists: choose another folder, or remove it first")
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield part
        with storage(path):
            part.chmod(0o755)
            part.rename(path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Wait until a folder's entries are on the disk, where the file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
