"""Finds models that failed to answer so often that their games are not evidence about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import polars as pl

from agents.replies import BACKEND_ERROR

LIMIT = 0.05
"""Value of `run.max_backend_errors` for configurations of older versions, which lack it."""


class Failing(msgspec.Struct, frozen=True):
    """One agent whose backend failed beyond the limit."""

    agent: str
    model: str
    n: int
    """Decisions that are fallbacks because the backend failed."""
    decisions: int
    limit: float
    """`run.max_backend_errors`."""

    def __str__(self) -> str:
        return (
            f"{self.n:,} of {self.decisions:,} decisions of {self.agent} ({self.model}) are fallbacks because its "
            f"backend failed: {self.n / self.decisions:.0%}, more than run.max_backend_errors = {self.limit:g} allows; "
            "these games are not the model's. The decisions' `sampling` holds what the backend said"
        )


def failing(decisions: pl.LazyFrame, config: Mapping[str, Any]) -> list[Failing]:
    """The agents whose share of fallbacks by backend errors is above the limit of a run's configuration, worst first.

    decisions: the run's table.
    """
    limit = float(config.get("run", {}).get("max_backend_errors", LIMIT))
    lost = (pl.col("fallback") == BACKEND_ERROR).fill_null(False)
    counts = (
        decisions.filter(pl.col("model").is_not_null() | lost)
        .group_by("agent", pl.col("model").fill_null("no model"), maintain_order=True)
        .agg(n=lost.sum(), decisions=pl.len())
        .filter(pl.col("n") > limit * pl.col("decisions"))
        .sort(
            (pl.col("n") / pl.col("decisions")),
            "agent",
            "model",
            descending=[True, False, False],
            maintain_order=True,
        )
        .collect()
    )
    return [Failing(agent, model, n, whole, limit) for agent, model, n, whole in counts.iter_rows()]
