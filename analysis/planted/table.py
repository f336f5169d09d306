"""The whole evaluation on planted truth: power, false positives, and the published mistakes on the same data.

`python -m analysis.planted.table` writes `analysis/planted/planted_truth.json`, which every report shows
in its appendix.
The mistakes announce a signal where the 95% interval of their AUROC over rows (Hanley and McNeil) lies above .5, as
published code does. Shares are known to within a Wilson interval, which the report prints for what should be rare.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from analysis.data.frames import ROWS
from analysis.data.targets import Readout, Target
from analysis.evaluation.evaluate import Evaluation, Settings, evaluate
from analysis.planted.planted import Plant, Planted, mistakes, plant
from analysis.stats.threads import one_thread

OUT = Path(__file__).with_name("planted_truth.json")
CASES: tuple[tuple[Plant, float], ...] = (
    ("silence", 0.0),
    ("nothing", 0.0),
    ("confound", 2.0),
    ("signal", 1.0),
    ("signal", 2.0),
)


def target_of(data: Planted, prior: float = 1 / 3) -> Target:
    """A planted data set as a target of the report, its public count among the public features."""
    n = len(data.frame)
    known = {
        "was_accused": data.frame["accused"], "viewer_role": "villager", "kind": "ballot", "n_living": 7,
        "length": data.frame["turn"] * 10 + 9, "agent": "planted", "model": "planted", "p_rules": prior,
        "preset": "planted",
    }  # fmt: skip
    columns: dict[str, Any] = {}
    for name in ROWS:
        value = data.frame[name] if name in data.frame.columns else known.get(name, 0)
        columns[name] = value if isinstance(value, pl.Series) else pl.Series([value] * n)
    columns["subject_role"] = np.where(data.y > 0, "werewolf", "villager")
    frame = pl.DataFrame(columns).cast(pl.Schema(ROWS))
    layers = tuple(str(i) for i in range(data.x.shape[1]))
    reads = sparse.csr_matrix((n, 0), dtype="f4")
    return Target(
        "subject_is_werewolf", "planted", frame, data.y, data.frame["subject"].to_numpy(), reads, [],
        (Readout("mention", layers, data.x, np.arange(n)),), role="werewolf",
    )  # fmt: skip


def case(kind: Plant, strength: float, n_games: int, repeats: int, seed: int = 0) -> dict[str, Any]:
    """One row of the table: shares over `repeats` data sets."""
    settings = Settings(n_permutations=99, n_boot=400)
    counts = dict.fromkeys(
        (
            "supported", "not_beyond", "underpowered", "null_beaten", "interval_off_half", "rows_split_beaten",
            "best_layer_beaten",
        ),
        0,
    )  # fmt: skip
    for repeat in range(repeats):
        data = plant(kind, n_games, strength, d_model=24, seed=seed + 1000 * repeat + n_games)
        found = evaluate(target_of(data), settings)
        if not isinstance(found, Evaluation):
            raise RuntimeError(f"a planted data set could not be evaluated: {found.reason}")
        found.adjusted_p = found.increment.p
        name = {"not beyond baseline": "not_beyond"}.get(found.verdict, found.verdict)
        counts[name] += 1
        counts["null_beaten"] += bool(found.null.p[0] <= 0.05)
        own = found.scores[0].auroc
        counts["interval_off_half"] += not own.low <= 0.5 <= own.high
        wrong = mistakes(data, repeat)
        bar = 0.5 + 1.96 * _hanley(int(data.y.sum()), int((1 - data.y).sum()))
        counts["rows_split_beaten"] += wrong["rows split at random"] > bar
        counts["best_layer_beaten"] += wrong["best layer on the test rows"] > bar
    shares = {key: value / repeats for key, value in counts.items()}
    return {"plant": kind, "n_games": n_games, "strength": strength, "repeats": repeats, **shares}


def _hanley(positive: int, negative: int) -> float:
    """Standard error of an AUROC of .5 over independent rows."""
    return float(np.sqrt((0.25 + (positive + negative - 2) * (1 / 3 - 0.25)) / (positive * negative)))


def main() -> None:
    """Computes the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument(
        "--null-repeats", type=int, default=200, help="where nothing is planted: rates near 5%% need more"
    )
    parser.add_argument("--games", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    rows = []
    with one_thread():
        for n_games in asked.games:
            for kind, strength in CASES:
                repeats = asked.repeats if strength else asked.null_repeats
                rows.append(case(kind, strength, n_games, repeats))
                sys.stdout.write(f"{rows[-1]}\n")
    pl.DataFrame(rows).write_json(asked.out)


if __name__ == "__main__":
    main()
