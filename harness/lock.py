"""One process a run folder: an advisory lock that dies with its owner."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from harness.atomic import storage
from harness.errors import RunFolderError


class RunLock:
    """Holds `<run>/lock` while it is entered.

    The lock is the kernel's (`flock`): a process that dies, however it dies, no longer holds it, so a stale lock
    file is simply taken over. The file's content (process, host, since when) is for the error message.
    """

    def __init__(
        self, folder: Path, remedy: str = "wait until it is done, stop it, or choose another --out"
    ) -> None:
        """Does not lock yet; `folder` must exist when the lock is entered. remedy: shown to the user who finds it
        locked."""
        self.path = folder / "lock"
        self._remedy = remedy
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        """Raises RunFolderError when another living process holds the lock."""
        with storage(self.path):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        if not try_lock(handle):
            holder = self._holder()
            os.close(handle)
            raise RunFolderError(f"{self.path.parent} is in use by {holder}: {self._remedy}")
        self._handle = handle
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        with storage(self.path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(owner).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _holder(self) -> str:
        try:
            owner = json.loads(self.path.read_text())
            return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


def try_lock(handle: int) -> bool:
    """Take the exclusive lock of an open file; False where another open file has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def wait_for_lock(handle: int, seconds: float) -> bool:
    """Take the exclusive lock, waiting for its holder at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not try_lock(handle):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
