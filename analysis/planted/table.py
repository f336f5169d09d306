"""The whole evaluation on planted truth: how often each rung holds where it should, and where it should not.

`python -m analysis.planted.table` writes `analysis/planted/planted_truth.json`, which every report shows in its
appendix. It writes after every data set, and the same command resumes after a stop: outcomes are kept in
`.cache/planted-<digest>.jsonl`, where the digest is that of the code and settings that made them. Mistakes of published
code are run too, on data without signal: they claim a signal where the 95% interval of their AUROC over rows (Hanley
and McNeil) lies above .5. The report prints the shares with Wilson intervals.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.evaluation.evaluate import Evaluation, Settings, evaluate
from analysis.planted.planted import mistakes, plant
from analysis.planted.rungs import EXPECTED, KINDS, Carried, rung_target
from analysis.rungs.rungs import alarmed, reached
from analysis.stats.remember import remembering
from analysis.stats.threads import one_thread
from harness.orphans import end_with_parent

Task = tuple[int, int]
"""(number of games, repeat)."""
Maker = Callable[[Task], list[dict[str, Any]]]
OUT = Path(__file__).with_name("planted_truth.json")
SETTINGS = Settings(n_permutations=99, n_boot=400, audits=False)
TRIED = ("data", "evaluation", "planted", "probes", "rungs", "stats")
"""Packages of `analysis` whose code makes an outcome; after a change of their code kept outcomes are not used."""


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
    """The row of a data set without signal, with the claims of published mistakes on such a data set."""
    data = plant("nothing", row["n_games"], 0.0, d_model=24, seed=seed)
    wrong = mistakes(data, seed)
    bar = 0.5 + 1.96 * _hanley(int(data.y.sum()), int((1 - data.y).sum()))
    return row | {
        "rows at random": wrong["rows split at random"] > bar,
        "best layer on test rows": wrong["best layer on the test rows"] > bar,
    }


def one(task: Task) -> list[dict[str, Any]]:
    """The outcomes of all kinds for one task, on one thread. What the kinds share is fitted once."""
    n_games, repeat = task
    with one_thread(), remembering():
        found = [outcome(kind, n_games, 1000 * repeat + n_games) for kind in KINDS]
        return [with_mistakes(row, repeat) if row["planted"] == "nothing" else row for row in found]


def rows(
    repeats: int, n_games: int, jobs: int = 1, kept: Path | None = None, make: Maker = one
) -> Iterator[list[dict[str, Any]]]:
    """Outcomes of `repeats` data sets of each kind, those of one repeat together, over `jobs` processes.

    kept: a file of outcomes, one repeat a line. Its outcomes are not made again, new ones are added; a truncated last
    line is made again. make: the function that makes the outcomes of one repeat.
    """
    done = _read(kept)[:repeats]
    yield from done
    todo = [(n_games, repeat) for repeat in range(len(done), repeats)]
    with ExitStack() as stack:
        found: Iterator[list[dict[str, Any]]] = map(make, todo)
        if jobs > 1:
            pool = ProcessPoolExecutor(jobs, initializer=end_with_parent)
            found = stack.enter_context(pool).map(make, todo)
        out = stack.enter_context(kept.open("a")) if kept is not None else None
        for made in found:
            if out is not None:
                out.write(json.dumps(made) + "\n")
                out.flush()
            yield made


def _read(kept: Path | None) -> list[list[dict[str, Any]]]:
    """The complete outcomes of the file; a truncated rest is removed."""
    if kept is None or not kept.is_file():
        return []
    *lines, rest = kept.read_bytes().split(b"\n")
    if rest:
        with kept.open("rb+") as file:
            file.truncate(kept.stat().st_size - len(rest))
    return [json.loads(line) for line in lines]


def kept_of(n_games: int) -> Path:
    """The file of kept outcomes: one name for each state of the code and settings that make them."""
    digest = hashlib.blake2b(f"{SETTINGS} {n_games}".encode(), digest_size=6)
    for room in TRIED:
        for path in sorted(Path(__file__).parents[1].joinpath(room).rglob("*.py")):
            digest.update(path.read_bytes())
    folder = Path(".cache")
    folder.mkdir(exist_ok=True)
    return folder / f"planted-{digest.hexdigest()}.jsonl"


def shares(found: list[dict[str, Any]]) -> pl.DataFrame:
    """One row a kind: the number of data sets, and for each column the share of them where it is true."""
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
    for n, made in enumerate(rows(asked.repeats, asked.games, asked.jobs, kept_of(asked.games)), 1):
        found += made
        shares(found).write_json(asked.out)
        sys.stdout.write(f"{n} of {asked.repeats} data sets a kind\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
