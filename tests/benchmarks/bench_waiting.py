"""What a user waits for: seconds of whole commands, each in a process of its own, the alternatives side by side.

    make bench-waiting [ARGS="--repeats 5"]

One line a wait: the median and the fastest of the repeats, and where a wait has an alternative the ratio to it. All are
taken in turns in one run, so that a busy machine is busy for all of them alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*words: str) -> list[str]:
    """`wolfscope` with these words."""
    return [sys.executable, "-m", "harness", *words]


def whole(*words: str) -> Callable[[Path], float]:
    """Seconds of a command from its start to its end; OUT stands for a new folder."""

    def measure(out: Path) -> float:
        began = time.monotonic()
        done = command(*(str(out) if word == "OUT" else word for word in words))
        subprocess.run(done, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    return measure


def first_game(*words: str) -> Callable[[Path], float]:
    """Seconds until the journal holds the end of a game."""

    def measure(out: Path) -> float:
        began = time.monotonic()
        done = command(*(str(out) if word == "OUT" else word for word in words))
        with subprocess.Popen(done, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
            while not any(b'"end":{' in p.read_bytes() for p in out.glob("journal/*.jsonl")):
                if process.poll() not in (None, 0):
                    raise SystemExit(f"{' '.join(done)} failed")
                time.sleep(0.005)
            return time.monotonic() - began

    return measure


RUN = ("run", "first-tournament", "--set", "run.games=20", "--out", "OUT", "--quiet")
WAITS: dict[str, tuple[Callable[[Path], float], str]] = {
    "wolfscope --help": (whole("--help"), ""),
    "first game, in processes of this machine": (first_game(*RUN, "--local"), "first game, on Ray"),
    "first game, on Ray": (first_game(*RUN, "--ray"), ""),
    "20 scripted games, in processes of this machine": (whole(*RUN, "--local"), "20 scripted games, on Ray"),
    "20 scripted games, on Ray": (whole(*RUN, "--ray"), ""),
}
"""What is waited for -> (how it is measured, what it is compared with)."""


def main() -> None:
    """Measure all in turns, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    found: dict[str, list[float]] = {name: [] for name in WAITS}
    for turn in range(parser.parse_args().repeats):
        for number, (name, (measure, _)) in enumerate(WAITS.items()):
            with tempfile.TemporaryDirectory() as scratch:
                found[name].append(measure(Path(scratch) / f"run-{turn}-{number}"))
    print(f"{'what':<50} {'median s':>9} {'fastest s':>10}  ratio")
    for name, (_, other) in WAITS.items():
        seconds = found[name]
        ratio = (
            f"{statistics.median(seconds) / statistics.median(found[other]):.2f} of {other}" if other else ""
        )
        print(f"{name:<50} {statistics.median(seconds):>9.2f} {min(seconds):>10.2f}  {ratio}")


if __name__ == "__main__":
    main()
