"""What of this machine the process may use: cores and memory, as the operating system or its container allow.

A container sees the whole machine; what it may use stands in files of its control group (version 2, then 1).
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Processors that this process may use at the same time; at least 1."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _words("cpu.max").partition(" ")
    if not period:
        quota, period = _words("cpu/cpu.cfs_quota_us"), _words("cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal() and int(period):  # not "max", not -1
        n = min(n, -(-int(quota) // int(period)))
    return max(1, n)


def collect_seldom() -> None:
    """From now on this process looks through all that it holds for garbage a hundred times less often than Python does.

    A verb imports a million objects that stay as long as it runs, and Python looks through them whenever a quarter more
    have come.
    """
    gc.set_threshold(1_000, 10, 1_000)


def free_memory() -> int:
    """Bytes of memory that can still be taken without swapping; what the system would give back counts as free."""
    import psutil  # comes with [play], which engines need

    free: int = psutil.virtual_memory().available
    for limit, used, stat, given_back in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        most, now = _words(limit), _words(used)
        if most.isdecimal() and now.isdecimal():
            counts = dict(line.split() for line in _words(stat).split("\n") if line)
            return min(free, max(0, int(most) - int(now) + int(counts.get(given_back, 0))))
    return free


def _words(name: str) -> str:
    """The content of a file of the control group; empty where there is none."""
    try:
        return (CGROUP / name).read_text().strip()
    except OSError:
        return ""
