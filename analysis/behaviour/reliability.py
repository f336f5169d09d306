"""How often players gave no usable reply, by kind; every figure about the players depends on it."""

from __future__ import annotations

import polars as pl

from harness.run.folder import Run

NONE = "none"
"""The kind of a decision that the agent made itself."""


def fallback_counts(run: Run) -> pl.DataFrame:
    """One row for each agent, model and kind of fallback (`none` for own decisions).

    Columns: agent, model (null for agents without one), fallback, n, decisions (of the agent and model), share.
    """
    return (
        run.decisions.group_by("agent", "model", pl.col("fallback").fill_null(NONE), maintain_order=True)
        .agg(n=pl.len())
        .with_columns(decisions=pl.col("n").sum().over("agent", "model"))
        .with_columns(share=pl.col("n") / pl.col("decisions"))
        .sort("agent", "model", "fallback", nulls_last=True, maintain_order=True)
        .collect()
    )


def own_decisions(run: Run) -> pl.LazyFrame:
    """The decisions that the agents made themselves: all but the fallbacks."""
    return run.decisions.filter(pl.col("fallback").is_null())


def reliability_lines(run: Run) -> list[str]:
    """For each agent with a model or with fallbacks: how many decisions were fallbacks, and why."""
    lines = []
    for (agent, model), rows in fallback_counts(run).group_by("agent", "model", maintain_order=True):
        lost = rows.filter(pl.col("fallback") != NONE)
        total = rows["decisions"][0]
        if model is None and not len(lost):
            continue
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in lost.select("fallback", "n").iter_rows())
        who = f"{agent} ({model})" if model else str(agent)
        n_lost = int(lost["n"].sum())
        lines.append(
            f"{who}: {n_lost:,} of {total:,} decisions are fallbacks ({n_lost / total:.1%})"
            + (f": {kinds}" if kinds else "")
        )
    return lines
