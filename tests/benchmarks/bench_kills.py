"""A tournament on two nodes whose driver, runners, engine and second node are killed again and again.

    .venv/bin/python tests/benchmarks/bench_kills.py [--kills 40] [--seed 0] [--engine transformers|vllm]

Every kill is `kill -9` at a moment drawn from the seed. In the end the run must have exactly the scheduled games, each
once, and pass the check; of scripted players, every record must be that of a run that nobody has disturbed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from tests.fixtures.kill_runs import KilledRun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["transformers", "vllm"])
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    kinds = ["driver", "runner", "node", *(["engine"] if args.engine else [])]
    wanted = [kinds[i] for i in rng.integers(len(kinds), size=args.kills)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        with KilledRun(
            Path(name), games=args.kills * (8 if args.engine else 20), delay=0.03, engine=args.engine
        ) as run:
            run.start()
            run.kill_many(wanted, rng, longest=1.0)
            run.wait(1800)
            run.check()
        kills = ", ".join(f"{n} x {kind}" for kind, n in sorted(Counter(run.kills).items()))
        print(f"{len(run.kills)} kills ({kills}), seed {args.seed}, {time.monotonic() - began:.0f} s")
        print("the scheduled games, each once, and sound" + ("" if args.engine else "; no record differs"))


if __name__ == "__main__":
    main()
