"""The tables of an experiment's `[reasoning]`, as `wolfscope experiment` writes them
(`harness.experiment.reasoning.tables` says what is in them)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.stats.errors import AnalysisError
from harness.seals import hold

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reasonings:
    """The tables about the reasoning behind some decisions."""

    path: Path
    moments: pl.DataFrame
    steps: pl.DataFrame
    """One row a moment and prefix, with `game`, `faction`, `n_steps` and `share`, of the reasoning's tokens that are
    written there."""
    rollouts: pl.DataFrame


def has_reasoning(folder: str | Path) -> bool:
    """Whether a folder holds the tables."""
    return (Path(folder) / "reasoning-moments.parquet").is_file()


def read_reasonings(folder: str | Path) -> Reasonings:
    """The tables in an experiment's folder. Raises AnalysisError where it has none."""
    path = Path(folder)
    if not has_reasoning(path):
        raise AnalysisError(
            f"{path} holds no reading of reasoning; a design with a [reasoning] table makes it: "
            "`wolfscope experiment thinking-steps RUN`"
        )
    hold(path, *(f"reasoning-{name}.parquet" for name in ("moments", "steps", "rollouts")))
    moments, steps, rollouts = (
        pl.read_parquet(path / f"reasoning-{name}.parquet") for name in ("moments", "steps", "rollouts")
    )
    facts = moments.select(
        "moment", "game", "faction", "n_steps", "n_tokens", "options", "seats", "subject", "chosen"
    )
    first = steps.filter(pl.col("k") == 0).select("moment", first="start")
    steps = (
        steps.join(facts, on="moment", maintain_order="left")
        .join(first, on="moment", maintain_order="left")
        .with_columns(share=((pl.col("end") - pl.col("first")) / pl.col("n_tokens")).clip(0, 1))
    )
    return Reasonings(path, moments, steps, rollouts)


def judge_agreement(r: Reasonings) -> tuple[float, float, int] | None:
    """(share of steps to which rules and judge give the same category, Cohen's kappa, steps); None without a judge."""
    both = r.steps.filter(pl.col("judged").is_not_null(), pl.col("category").is_not_null())
    if not len(both):
        return None
    rule, judged = both["category"].to_list(), both["judged"].to_list()
    same = float(np.mean([a == b for a, b in zip(rule, judged, strict=True)]))
    chance = sum(rule.count(c) * judged.count(c) for c in set(rule)) / len(rule) ** 2
    return same, (same - chance) / (1 - chance) if chance < 1 else 1.0, len(rule)


def shares_of(logprobs: Sequence[float]) -> Floats:
    """Log-probabilities of the legal options as probabilities that add up to 1."""
    x = np.asarray(logprobs, dtype=float)
    p = np.exp(x - x.max())
    return np.asarray(p / p.sum())


def distance(a: Floats, b: Floats) -> float:
    """Total variation distance."""
    return float(0.5 * np.abs(a - b).sum())


def bits(p: Floats) -> float:
    """Entropy."""
    return float(-(p * np.log2(np.maximum(p, 1e-300))).sum())
