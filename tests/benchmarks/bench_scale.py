"""How the verbs that read a run grow with its games: time, memory, and the exponent of growth.

    make bench-scale                                 # 1,000, 4,000 and 20,000 scripted games
    make bench-scale ARGS="--games 500 2000"         # other sizes
    make bench-scale ARGS="--verbs check report"     # some verbs
    make bench-scale ARGS="--keep FOLDER"            # keeps runs and figures there; the same command goes on

The games are played here, in one process. Each verb is a process of its own; time is its wall clock, `cpu` the
processor time of it and its children, memory the largest resident set of any of them. An exponent of 1 is linear
growth; the start of a process counts, so small sizes make it look smaller. A verb that takes longer than `--limit` is
ended, and said so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

MIX = {"loud": 3, "random": 2, "cautious": 2}
LOAD = "from harness import load_run; import sys; sum(1 for _ in load_run(sys.argv[1]).logs())"
VERBS = ("check", "ratings", "behaviour", "view", "report", "export", "load")
MEASURED = """
import json, resource, subprocess, sys, time
start = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"status": done.returncode, "seconds": time.monotonic() - start, "mb": used.ru_maxrss / 1024,
                  "cpu": used.ru_utime + used.ru_stime, "said": done.stderr[-300:]}))
"""
"""Runs a command and measures it, in a process whose only child it is."""


def command(verb: str, run: Path, out: Path) -> list[str]:
    """The command line of a verb on a run."""
    if verb == "load":
        return [sys.executable, "-c", LOAD, str(run)]
    more = {"report": ["--out", str(out / "report.html")], "export": [str(out / "export")]}.get(verb, [])
    if verb == "view":
        more = ["--out", str(out / "view")]
    return [sys.executable, "-m", "harness", verb, str(run), *more]


def played(n: int, folder: Path) -> Path:
    """A run of n games in the folder: the one that is there, or a new one."""
    from tests.fixtures.local_runs import play_run, scripted

    run, made = folder / f"run-{n}", folder / f"run-{n}.part"
    if not run.exists():
        shutil.rmtree(made, ignore_errors=True)
        start = time.monotonic()
        play_run(scripted(games=n, mix=MIX), made).rename(run)
        size = sum(p.stat().st_size for p in run.rglob("*") if p.is_file()) / 2**20
        print(f"{n:,} games: played in {time.monotonic() - start:,.0f} s, {size:,.0f} MB", flush=True)
    return run


def measure(verb: str, run: Path, limit: float) -> dict[str, Any]:
    """Status, seconds, mb and cpu of a verb on a run; `{}` where it takes longer than the limit (s)."""
    out = run.with_name(f"out-{run.name}-{verb}")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    words = [sys.executable, "-c", MEASURED, *command(verb, run, out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    asked = subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said, _ = asked.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(asked.pid, signal.SIGKILL)
        asked.wait()
        said = "{}"
    finally:
        shutil.rmtree(out)
        shutil.rmtree(run / "derived", ignore_errors=True)  # what a verb keeps for the next one
    return dict(json.loads(said))


def table(found: dict[str, dict[int, dict[str, Any]]]) -> Iterator[str]:
    """Lines of the figures, each size beside its growth since the size before it."""
    yield f"{'verb':<10} {'games':>7} {'seconds':>8} {'cpu s':>8} {'MB':>6}   growth: cpu, memory"
    for verb, sizes in found.items():
        before: tuple[int, dict[str, Any]] | None = None
        for n, one in sorted(sizes.items()):
            if not one:
                yield f"{verb:<10} {n:>7,}   not done within the limit"
                continue
            grown = ""
            if before:
                step = math.log(n / before[0])
                cpu, memory = (math.log(one[k] / before[1][k]) / step for k in ("cpu", "mb"))
                grown = f"{cpu:.2f}, {memory:.2f}"
            yield f"{verb:<10} {n:>7,} {one['seconds']:>8.1f} {one['cpu']:>8.1f} {one['mb']:>6,.0f}   {grown}"
            before = (n, one)


def main() -> None:
    """Make the runs, measure the verbs, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, nargs="+", default=[1000, 4000, 20_000])
    parser.add_argument("--verbs", nargs="+", default=list(VERBS), choices=VERBS)
    parser.add_argument(
        "--keep", type=Path, help="folder for runs and figures; figures there are not taken again"
    )
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds after which a verb is ended")
    asked = parser.parse_args()
    found: dict[str, dict[int, dict[str, Any]]] = {verb: {} for verb in asked.verbs}
    with tempfile.TemporaryDirectory(prefix="wolfscope-scale-") as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "figures.jsonl"
        known = [json.loads(line) for line in kept.read_text().split("\n") if line] if kept.exists() else []
        for verb, n, one in known:
            if verb in found and n in asked.games:
                found[verb][n] = one
        for n in sorted(asked.games):
            for verb in asked.verbs:
                if n in found[verb]:
                    continue
                one = measure(verb, played(n, folder), asked.limit)
                if one.get("status"):
                    raise SystemExit(f"{verb} of {n} games ended with status {one['status']}: {one['said']}")
                found[verb][n] = one
                with kept.open("a") as file:
                    file.write(json.dumps([verb, n, one]) + "\n")
                print(f"{verb} of {n:,} games: {one.get('seconds', math.inf):,.1f} s", flush=True)
            if not asked.keep:
                shutil.rmtree(folder / f"run-{n}", ignore_errors=True)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
