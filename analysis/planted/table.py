"""The whole evaluation on planted truth: how often each rung holds where it should, and where it should not.

`python -m analysis.planted.table` writes `analysis/planted/planted_truth.json`, which every report shows in its
appendix; it writes after every data set, so that it can be stopped and read at any time. Beside the rungs stand
mistakes of published code on data that hold nothing: they announce a signal where the 95% interval of their AUROC over
rows (Hanley and McNeil) lies above .5. Shares are known to within a Wilson interval, which the report prints.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.evaluation.evaluate import Evaluation, Settings, evaluate
from analysis.planted.planted import mistakes, plant
from analysis.planted.rungs import EXPECTED, KINDS, Carried, rung_target
from analysis.rungs.rungs import alarmed, reached
from analysis.stats.threads import one_thread

OUT = Path(__file__).with_name("planted_truth.json")
SETTINGS = Settings(n_permutations=99, n_boot=400, audits=False)


def outcome(kind: Carried, n_games: int, seed: int, settings: Settings = SETTINGS) -> dict[str, Any]:
    """One data set through the whole evaluation. Raises RuntimeError where it could not be evaluated."""
    found = evaluate(rung_target(kind, n_games, seed), settings)
    if not isinstance(found, Evaluation):
        raise RuntimeError(f"a planted data set could not be evaluated: {found.reason}")
    own = found.scores[0].auroc
    verdicts = {f"rung {rung.number}": rung.verdict == "yes" for rung in found.rungs}
    right = reached(found.rungs) == EXPECTED[kind] and alarmed(found.rungs) == (kind == "private")
    return {
        "planted": kind, "n_games": n_games, **verdicts, "right": right,
        "interval excludes .5": not own.low <= 0.5 <= own.high,
        "rows at random": None, "best layer on test rows": None,
    }  # fmt: skip


def with_mistakes(row: dict[str, Any], seed: int) -> dict[str, Any]:
    """The row of a data set that holds nothing, with what published mistakes would announce of one."""
    data = plant("nothing", row["n_games"], 0.0, d_model=24, seed=seed)
    wrong = mistakes(data, seed)
    bar = 0.5 + 1.96 * _hanley(int(data.y.sum()), int((1 - data.y).sum()))
    return row | {
        "rows at random": wrong["rows split at random"] > bar,
        "best layer on test rows": wrong["best layer on the test rows"] > bar,
    }


def one(task: tuple[Carried, int, int]) -> dict[str, Any]:
    """The outcome of one (kind, number of games, repeat), on one thread."""
    kind, n_games, repeat = task
    with one_thread():
        row = outcome(kind, n_games, 1000 * repeat + n_games)
        return with_mistakes(row, repeat) if kind == "nothing" else row


def rows(repeats: int, n_games: int, jobs: int = 1) -> Iterator[dict[str, Any]]:
    """Outcomes of `repeats` data sets of each kind, the kinds taking turns, over `jobs` processes."""
    tasks = [(kind, n_games, repeat) for repeat in range(repeats) for kind in KINDS]
    if jobs == 1:
        yield from map(one, tasks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(one, tasks)


def shares(found: list[dict[str, Any]]) -> pl.DataFrame:
    """One row a kind: the number of data sets and the share of them of which each column is true."""
    frame = pl.DataFrame(found, infer_schema_length=None)
    flags = [name for name in frame.columns if name not in ("planted", "n_games")]
    return frame.group_by("planted", "n_games", maintain_order=True).agg(
        pl.len().alias("repeats"), pl.col(flags).cast(pl.Float64).mean()
    )


def _hanley(positive: int, negative: int) -> float:
    """Standard error of an AUROC of .5 over independent rows."""
    return float(np.sqrt((0.25 + (positive + negative - 2) * (1 / 3 - 0.25)) / (positive * negative)))


def main() -> None:
    """Computes the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--games", type=int, default=60)
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes; each data set takes some seconds of one"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    found: list[dict[str, Any]] = []
    for row in rows(asked.repeats, asked.games, asked.jobs):
        found.append(row)
        if len(found) % len(KINDS) == 0:
            shares(found).write_json(asked.out)
            sys.stdout.write(f"{len(found) // len(KINDS)} of {asked.repeats} data sets a kind\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
