"""What a user waits for: seconds of whole commands, each in a process of its own, the alternatives side by side.

    make bench-waiting [ARGS="--repeats 5 --only help --run runs/demo-1"]

One line a wait: the median and the fastest of the repeats, the least processor time of a repeat, and where a wait has
an alternative the ratio to it. All are taken in turns in one run, so that a busy machine is busy for all of them alike.
Where processor time is near the seconds, computing bounds the wait; where it is far below, other work or waiting does.
It is that of the command and of the processes that it has waited for, so Ray's own daemons are not in it.
"""

from __future__ import annotations

import argparse
import os
import resource
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


Measure = Callable[[Path, Path | None], float]
"""Seconds of a wait, given a folder that is not there yet and a run, if there is one."""


def filled(words: tuple[str, ...], out: Path, run: Path | None) -> list[str]:
    """The command; OUT stands for a new folder, OUT.html for a new page, RUN for the run."""
    names = {"OUT": out, "OUT.html": out.with_suffix(".html"), "RUN": run}
    return command(*(str(names.get(word, word)) for word in words))


def whole(*words: str) -> Measure:
    """Seconds of a command from its start to its end."""

    def measure(out: Path, run: Path | None) -> float:
        began = time.monotonic()
        done = filled(words, out, run)
        subprocess.run(done, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    return measure


def first_game(*words: str) -> Measure:
    """Seconds until the journal holds the end of a game."""

    def measure(out: Path, run: Path | None) -> float:
        began = time.monotonic()
        done = filled(words, out, run)
        with subprocess.Popen(done, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
            while not any(b'"end":{' in p.read_bytes() for p in out.glob("journal/*.jsonl")):
                if process.poll() not in (None, 0):
                    raise SystemExit(f"{' '.join(done)} failed")
                time.sleep(0.005)
            return time.monotonic() - began

    return measure


RUN = ("run", "first-tournament", "--set", "run.games=20", "--out", "OUT", "--quiet")
GIVEN: dict[str, tuple[Measure, str]] = {
    "check of the given run": (whole("check", "RUN"), ""),
    "report of the given run": (whole("report", "RUN", "--out", "OUT.html", "--quiet"), ""),
}
"""Waits that `--run` adds."""
WAITS: dict[str, tuple[Measure, str]] = {
    "wolfscope --help": (whole("--help"), ""),
    "first game, in processes of this machine": (first_game(*RUN, "--local"), "first game, on Ray"),
    "first game, on Ray": (first_game(*RUN, "--ray"), ""),
    "20 scripted games, in processes of this machine": (whole(*RUN, "--local"), "20 scripted games, on Ray"),
    "20 scripted games, on Ray": (whole(*RUN, "--ray"), ""),
}
"""What is waited for -> (how it is measured, what it is compared with)."""


def spent() -> float:
    """Processor seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure all in turns, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="waits whose names hold this")
    parser.add_argument("--run", type=Path, help="a run folder, which is also checked and reported")
    given = parser.parse_args()
    chosen = {
        name: wait for name, wait in (WAITS | (GIVEN if given.run else {})).items() if given.only in name
    }
    found: dict[str, list[float]] = {name: [] for name in chosen}
    processor: dict[str, list[float]] = {name: [] for name in chosen}
    for turn in range(given.repeats):
        for number, (name, (measure, _)) in enumerate(chosen.items()):
            with tempfile.TemporaryDirectory() as scratch:
                before = spent()
                found[name].append(measure(Path(scratch) / f"run-{turn}-{number}", given.run))
                processor[name].append(spent() - before)
    print(f"{'what':<50} {'median s':>9} {'fastest s':>10} {'processor s':>12}  ratio")
    for name, (_, other) in chosen.items():
        seconds = found[name]
        ratio = (
            f"{statistics.median(seconds) / statistics.median(found[other]):.2f} of {other}"
            if other in found
            else ""
        )
        middle, least, own = statistics.median(seconds), min(seconds), min(processor[name])
        print(f"{name:<50} {middle:>9.2f} {least:>10.2f} {own:>12.2f}  {ratio}")


if __name__ == "__main__":
    main()
