"""How the verbs that read a run grow with its games: time, memory, and the exponent of growth.

    make bench-scale                                 # 1,000, 4,000 and 20,000 scripted games
    make bench-scale ARGS="--games 500 2000"         # other sizes
    make bench-scale ARGS="--verbs check report"     # some verbs

The games are played here, in one process. Each verb is a process of its own; time is its wall clock, `cpu` the
processor time of it and its children, memory the largest resident set of any of them. An exponent of 1 is linear
growth; the start of a process counts, so small sizes make it look smaller.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    """Make the runs, measure the verbs, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, nargs="+", default=[1000, 4000, 20_000])
    parser.add_argument("--verbs", nargs="+", default=list(VERBS), choices=VERBS)
    asked = parser.parse_args()
    from tests.fixtures.local_runs import play_run, scripted

    found: dict[str, list[tuple[int, float, float, float]]] = {verb: [] for verb in asked.verbs}
    with tempfile.TemporaryDirectory(prefix="wolfscope-scale-") as folder:
        for n in sorted(asked.games):
            start = time.monotonic()
            run = play_run(scripted(games=n, mix=MIX), Path(folder) / str(n))
            size = sum(p.stat().st_size for p in run.rglob("*") if p.is_file()) / 2**20
            print(f"{n:,} games: played in {time.monotonic() - start:,.0f} s, {size:,.0f} MB", flush=True)
            for verb in asked.verbs:
                out = Path(folder) / f"out-{n}-{verb}"
                out.mkdir()
                words = [sys.executable, "-c", MEASURED, *command(verb, run, out)]
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                done = subprocess.run(
                    words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
                )
                one = json.loads(done.stdout)
                if one["status"]:
                    raise SystemExit(f"{verb} of {n} games ended with status {one['status']}: {one['said']}")
                found[verb].append((n, one["seconds"], one["cpu"], one["mb"]))
                shutil.rmtree(out)
            shutil.rmtree(run)
    print(f"{'verb':<10} {'games':>7} {'seconds':>8} {'cpu s':>8} {'MB':>6}   growth: cpu, memory")
    for verb, rows in found.items():
        for place, (n, seconds, cpu, memory) in enumerate(rows):
            grown = ""
            if place:
                m, _, before, less = rows[place - 1]
                step = math.log(n / m)
                grown = f"{math.log(cpu / before) / step:.2f}, {math.log(memory / less) / step:.2f}"
            print(f"{verb:<10} {n:>7,} {seconds:>8.1f} {cpu:>8.1f} {memory:>6,.0f}   {grown}")


if __name__ == "__main__":
    main()
