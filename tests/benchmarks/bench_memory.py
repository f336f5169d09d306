"""Memory of a tournament's processes over 10,000 short games of scripted players on Ray; it must stay flat.

    .venv/bin/python tests/benchmarks/bench_memory.py [--games 10000]

Resident memory of the driver and of each runner, ten times on the way; then the driver's peak, the tables included.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.config.files import parse_config
from harness.play.progress import Progress
from harness.play.tournament import run_tournament
from harness.run.journal import End
from tests.fixtures.kill_runs import processes


def resident_mb(pid: int) -> float:
    """Memory of a process without what it shares with others (files, Ray's object store), in MB."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watcher(Progress):
    """Prints the memory ten times."""

    def ended(self, end: End) -> None:
        """A game has ended."""
        super().ended(end)
        if self.done % max(1, self.total // 10) == 0:
            ours = {pid for pid, parent, _ in processes() if parent == os.getpid()}
            runners = [pid for pid, parent, title in processes() if parent in ours and "ray::Runner" in title]
            shown = ", ".join(f"{resident_mb(pid):.0f}" for pid in sorted(runners))
            print(
                f"{self.done:7,} games: driver {resident_mb(os.getpid()):.0f} MB, runners {shown} MB",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=10_000)
    games = parser.parse_args().games
    config = parse_config(
        {
            "run": {"games": games, "seed": 3, "in_flight": 256, "runners": 2},
            "game": {"preset": "probe-6"},
            "agents": {"random": {"kind": "scripted", "policy": "random"}},
            "roster": {"mix": {"random": 1}},
        }
    )
    with tempfile.TemporaryDirectory() as name:
        run_tournament(config, Path(name) / "run", Watcher("quiet"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = sum(path.stat().st_size for path in (Path(name) / "run" / "journal").iterdir()) / 2**20
    print(f"peak of the driver, tables of {games:,} games included: {peak:.0f} MB (journals: {size:.0f} MB)")


if __name__ == "__main__":
    main()
