"""What a user waits for: seconds of whole commands, each in a process of its own, the alternatives side by side.

    make bench-waiting [ARGS="--repeats 5 --only help --run runs/demo-1 --before v0.1.0"]

One line a wait: the median and the fastest of the repeats, the least processor time of a repeat, and what bounds it.
Where a wait has an alternative there is the ratio to it, and with `--before REVISION` that to the same command of the
code as it was then. All are taken in turns in one run, so that a busy machine is busy for all of them alike; processor
time depends least on what else runs. It is that of the command and of processes that it has waited for, so Ray's own
daemons and actors are not in it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Place(NamedTuple):
    """Where a command is measured."""

    code: Path
    """A checkout of this repository."""
    out: Path
    """A folder that is not there yet."""
    run: Path | None
    """A run, if there is one."""

    def filled(self, words: tuple[str, ...]) -> list[str]:
        """`wolfscope` with these words; OUT stands for the new folder, OUT.html for a new page, RUN for the run."""
        names = {"OUT": self.out, "OUT.html": self.out.with_suffix(".html"), "RUN": self.run}
        return [sys.executable, "-m", "harness", *(str(names.get(word, word)) for word in words)]

    def environment(self) -> dict[str, str]:
        """That of the command."""
        return {**os.environ, "PYTHONPATH": str(self.code)}


Measure = Callable[[Place], float]
"""Seconds of a wait."""


class Wait(NamedTuple):
    """One thing that is waited for."""

    measure: Measure
    bound: str
    """What bounds it, as found by profiling."""
    other: str = ""
    """The wait that it is compared with."""


def whole(*words: str) -> Measure:
    """Seconds of a command from its start to its end."""

    def measure(place: Place) -> float:
        began = time.monotonic()
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": place.code}
        subprocess.run(place.filled(words), env=place.environment(), **quiet)
        return time.monotonic() - began

    return measure


def python(code: str) -> Measure:
    """Seconds of a Python process that runs this code."""

    def measure(place: Place) -> float:
        began = time.monotonic()
        asked, environment = [sys.executable, "-c", code], place.environment() | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            asked, env=environment, cwd=place.code, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"a measured process failed:\n{done.stderr[-2000:]}")
        return time.monotonic() - began

    return measure


def collected(*words: str) -> Measure:
    """Seconds until pytest has found the tests of a file."""

    def measure(place: Place) -> float:
        began = time.monotonic()
        asked = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *words]
        subprocess.run(asked, env=place.environment(), cwd=place.code, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    return measure


def first_game(*words: str) -> Measure:
    """Seconds until the journal holds the end of a game."""

    def measure(place: Place) -> float:
        began = time.monotonic()
        done, out = place.filled(words), place.out
        with subprocess.Popen(
            done, env=place.environment(), cwd=place.code, stdout=subprocess.DEVNULL
        ) as process:
            while not any(b'"end":{' in p.read_bytes() for p in out.glob("journal/*.jsonl")):
                if process.poll() not in (None, 0):
                    raise SystemExit(f"{' '.join(done)} failed")
                time.sleep(0.005)
            return time.monotonic() - began

    return measure


RUN = ("run", "first-tournament", "--set", "run.games=20", "--out", "OUT", "--quiet")
MODEL = ("run", "demo", "--set", "run.games=4", "--out", "OUT", "--quiet")
TRANSFORMERS = ("--set", "backends.small.kind=transformers")
LOADED = """
from agents.hooks.model import load_hooked_model
from agents.models.small import SMALL_MODEL
load_hooked_model(SMALL_MODEL, device="cpu")
"""
IMPORTED = """
from agents.backends.vllm.loop import EngineLoop
try:
    EngineLoop({"model": "/nowhere"})
except Exception:
    import vllm
else:
    raise SystemExit("an engine without a model has started")
"""
ENGINE = """
import os
from agents.backends.vllm.settings import EngineSettings, engine_arguments, engine_env
os.environ |= engine_env("cpu")
from agents.backends.vllm.loop import EngineLoop
from agents.models.small import SMALL_MODEL
EngineLoop(engine_arguments(EngineSettings(), "cpu", str(SMALL_MODEL), "float32", 2048))
os._exit(0)
"""
SERVER = """
from agents.backends.openai.serve import start_server
from agents.backends.vllm.settings import EngineSettings
from agents.models.small import SMALL_MODEL
start_server(SMALL_MODEL, EngineSettings(device="cpu", max_context=2048)).stop()
"""
RAY = """
from harness.play.pools.cluster import ray_for_now
from harness.play.progress import Progress
with ray_for_now(None, Progress("quiet")):
    pass
"""
GIVEN: dict[str, Wait] = {
    "check of the given run": Wait(
        whole("check", "RUN"), "playing every game again, reading every activation"
    ),
    "report of the given run": Wait(
        whole("report", "RUN", "--out", "OUT.html", "--quiet"),
        "fits and their resamples, beside them observers that follow every game",
    ),
    "view of the given run": Wait(whole("view", "RUN", "--out", "OUT"), "observers, writing a page a game"),
}
"""Waits that `--run` adds."""
WAITS: dict[str, Wait] = {
    "wolfscope --help": Wait(whole("--help"), "starting Python"),
    "first game, in processes of this machine": Wait(
        first_game(*RUN, "--local"),
        "importing the configuration's and the rules' modules",
        "first game, on Ray",
    ),
    "first game, on Ray": Wait(first_game(*RUN, "--ray"), "starting Ray's daemons"),
    "20 scripted games, in processes of this machine": Wait(
        whole(*RUN, "--local"), "importing, writing the tables", "20 scripted games, on Ray"
    ),
    "20 scripted games, on Ray": Wait(whole(*RUN, "--ray"), "starting and stopping Ray's daemons"),
    "Ray is up and down again": Wait(python(RAY), "starting and stopping Ray's daemons"),
    "first game of the small model, vLLM": Wait(
        first_game(*MODEL), "importing torch, its compiler and vLLM in the engine's process"
    ),
    "first game of the small model, transformers": Wait(
        first_game(*MODEL, *TRANSFORMERS),
        "importing torch and transformers in the engine's process, starting Ray's daemons",
    ),
    "a process has loaded the small model": Wait(
        python(LOADED), "importing torch and transformers' model classes"
    ),
    "a process has imported what training needs": Wait(
        python("import harness.training.train"), "importing torch and transformers' model classes"
    ),
    "a process has imported vLLM": Wait(python(IMPORTED), "importing torch, its compiler and vLLM"),
    "a vLLM engine of the small model": Wait(python(ENGINE), "importing torch, its compiler and vLLM"),
    "vLLM's own server of the small model": Wait(python(SERVER), "importing them in two processes"),
    "the tests of one file are found": Wait(
        collected("tests/harness/test_run_folder.py"), "importing pytest, hypothesis and the file"
    ),
}
"""What is waited for."""


def spent() -> float:
    """Processor seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def code_of(revision: str, folder: Path) -> Path:
    """The repository as it was at a revision, in a folder of its own."""
    folder.mkdir()
    packed = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
    return folder


class Taken(NamedTuple):
    """What repeats of a wait took."""

    seconds: list[float]
    processor: list[float]

    def add(self, measure: Measure, place: Place) -> None:
        """One more repeat."""
        before = spent()
        self.seconds.append(measure(place))
        self.processor.append(spent() - before)


def measured(
    chosen: dict[str, Wait], codes: dict[str, Path], run: Path | None, repeats: int
) -> dict[str, Taken]:
    """All waits of all checkouts, in turns; by name, `before: NAME` of the older code."""
    found = {label + name: Taken([], []) for label in codes for name in chosen}
    for _ in range(repeats):
        for name, wait in chosen.items():
            for label, code in codes.items():
                with tempfile.TemporaryDirectory() as scratch:
                    given = run
                    if (
                        run is not None and name in GIVEN
                    ):  # each from a copy: what one keeps is not the other's
                        given = shutil.copytree(
                            run, Path(scratch) / "given", ignore=shutil.ignore_patterns("derived")
                        )
                    found[label + name].add(wait.measure, Place(code, Path(scratch) / "out", given))
    return found


def main() -> None:
    """Measure all in turns, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="waits whose names hold this")
    parser.add_argument("--run", type=Path, help="a run folder, which is also checked, reported and viewed")
    parser.add_argument("--before", metavar="REVISION", help="the same commands of this revision beside them")
    given = parser.parse_args()
    chosen = {
        name: wait for name, wait in (WAITS | (GIVEN if given.run else {})).items() if given.only in name
    }
    with tempfile.TemporaryDirectory() as scratch:
        codes = {"": ROOT}
        if given.before:
            codes["before: "] = code_of(given.before, Path(scratch) / "before")
        run = None if given.run is None else given.run.resolve()
        found = measured(chosen, codes, run, given.repeats)
    for line in table(chosen, found):
        print(line)


def table(chosen: dict[str, Wait], found: dict[str, Taken]) -> list[str]:
    """One line a wait."""
    lines = [f"{'what':<48} {'median s':>9} {'fastest':>8} {'processor':>10} {'before':>14}  bound by"]
    for name, wait in chosen.items():
        seconds, processor = found[name]
        before = found.get(f"before: {name}")
        then = "" if before is None else (
            f"{statistics.median(before.seconds):.1f}, {min(before.processor):.1f} p"
        )  # fmt: skip
        ratio = (
            f" ({statistics.median(seconds) / statistics.median(found[wait.other].seconds):.2f} of {wait.other})"
            if wait.other in found
            else ""
        )
        middle, least, own = statistics.median(seconds), min(seconds), min(processor)
        lines.append(f"{name:<48} {middle:>9.2f} {least:>8.2f} {own:>10.2f} {then:>14}  {wait.bound}{ratio}")
    return lines


if __name__ == "__main__":
    main()
