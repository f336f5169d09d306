"""Helper processes end when the process that started them is gone."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

EVERY_S = 1.0


def end_with_parent(*_: object) -> None:
    """From now on this process ends within a second or two of its parent.

    A parent that was killed ends nobody. Pools and loaders then wait for ever to be asked or to hand over what they
    have made, with their memory, their locks and the sockets that they were born with.
    """
    started_by = multiprocessing.parent_process()  # os.getppid() is another where it is gone already
    pid = os.getppid() if started_by is None else started_by.pid
    threading.Thread(target=_watch, args=(pid,), daemon=True).start()


def _watch(parent: int | None) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY_S)
    os._exit(1)
