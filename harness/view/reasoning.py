"""Reasoning that experiments on a run have measured after every step, for the run's pages.

For each decision the newest experiment counts. `i` of a step is its importance: by resampling, beyond the split-half
null, where `wolfscope effects` has computed it (`reasoning-importance.parquet`), else how far the demanded answer moves
with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from harness.run.derived import read_table
from harness.seals import hold


def reasoning_of(run: Path) -> dict[str, dict[str, Any]]:
    """game id -> seq of a decision -> its measurements; empty where no experiment has any."""
    found: dict[str, dict[str, Any]] = {}
    files = sorted(run.glob("experiment-*/reasoning-moments.parquet"), key=lambda p: (p.stat().st_mtime, p))
    for path in files:
        hold(path.parent, path.name, *(f"reasoning-{name}.parquet" for name in ("steps", "importance")))
        steps = {
            key[0]: part.sort("k", maintain_order=True).to_dicts()
            for key, part in read_table(path.with_name("reasoning-steps.parquet"))
            .partition_by("moment", as_dict=True, maintain_order=True)
            .items()
        }
        known = _importance(path.with_name("reasoning-importance.parquet"))
        for m in read_table(path).iter_rows(named=True):
            read = steps.get(m["moment"])
            if read:
                found.setdefault(m["game_id"], {})[str(m["seq"])] = _decision(m, read, known)
    return found


def _importance(path: Path) -> dict[tuple[int, int], float]:
    """(moment, prefix after the step) -> nats beyond the null."""
    if not path.is_file():
        return {}
    frame = read_table(path).filter(pl.col("beyond").is_not_null())
    return {(m, step): beyond for m, step, beyond in frame.select("moment", "step", "beyond").iter_rows()}


def _decision(
    moment: dict[str, Any], read: list[dict[str, Any]], known: dict[tuple[int, int], float]
) -> dict[str, Any]:
    shares = [_shares(row["logprobs"]) for row in read]
    options = moment["options"]
    top = max(range(len(options)), key=lambda i: shares[-1][i])
    at = moment["seats"].index(options[top]) if options[top] in moment["seats"] else None
    steps = []
    for i, row in enumerate(read[1:], 1):
        forced = 0.5 * sum(abs(a - b) for a, b in zip(shares[i], shares[i - 1], strict=True))
        value = known.get((moment["moment"], read[i - 1]["k"])) if known else forced
        steps.append(
            {
                "t": row["text"], "c": row["category"] or "", "f": round(forced, 4),
                "i": None if value is None else round(value, 4),
                "u": "nats beyond the null" if known else "total variation",
            }
        )  # fmt: skip
    first, n = read[0]["end"], max(1, moment["n_tokens"])
    return {
        "to": options[top],
        "p": [round(p[top], 4) for p in shares],
        "share": [round(min(1.0, (row["end"] - first) / n), 4) for row in read],
        "belief": [
            None if at is None or row["beliefs"][at] is None else round(row["beliefs"][at], 4) for row in read
        ],
        "steps": steps,
    }


def _shares(logprobs: Sequence[float]) -> list[float]:
    top = max(logprobs)
    p = [math.exp(x - top) for x in logprobs]
    return [x / sum(p) for x in p]
