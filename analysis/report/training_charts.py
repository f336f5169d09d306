"""Figures of the report that follow a model along its training."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from analysis.report.figures import BLUE, MUTED, ORANGE, SERIES, Drawing, apart, data, svg


def checkpoints(points: pl.DataFrame, label: str) -> str | Drawing:
    """F11: values with bands by step of training, a panel a measure. Columns step, what, measure, value, low, high."""
    steps = points["step"].unique(maintain_order=True).to_list()
    names = points["what"].unique(maintain_order=True).to_list()
    x = alt.X("step:N", sort=steps, axis=alt.Axis(title="tokens trained", grid=False, labelAngle=0))
    color = alt.Color(
        "what:N", scale=alt.Scale(domain=names, range=list(SERIES[: len(names)])),
        legend=alt.Legend(title=None, orient="top", labelLimit=240, symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    panels = []
    for measure in points["measure"].unique(maintain_order=True):
        base = alt.Chart(data(points.filter(pl.col("measure") == measure)))
        scale = alt.Scale(zero=False)
        y = alt.Y("value:Q", scale=scale, axis=alt.Axis(title=measure, format=".2f", tickCount=5))
        band = base.mark_area(opacity=0.18).encode(
            x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color
        )
        line = base.mark_line(strokeWidth=2.2, point={"size": 34}).encode(x=x, y=y, color=color)
        nothing = (
            alt.Chart(alt.Data(values=[{"z": 0.5 if measure == "AUROC" else 0.0}]))
            .mark_rule(color=MUTED, strokeDash=[2, 3])
            .encode(y=alt.Y("z:Q", scale=scale))
        )
        panels.append((band + nothing + line).properties(width=310, height=210))
    return svg(alt.hconcat(*panels, spacing=40), label)


def ladder(points: pl.DataFrame, rungs: Sequence[str], label: str) -> str | Drawing:
    """F12: the rungs as grey lines named at their ends, stated and represented in colour with bands, by step.

    Columns step, source (a rung, stated, represented), auroc, low, high.
    """
    steps = points["step"].unique(maintain_order=True).to_list()
    x = alt.X("step:N", sort=steps, axis=alt.Axis(title="tokens trained", grid=False, labelAngle=0))
    low, high = points["low"].to_numpy().min(), points["high"].to_numpy().max()
    scale = alt.Scale(domain=[float(low) - 0.01, float(high) + 0.01], nice=False)
    y = alt.Y("auroc:Q", scale=scale, axis=alt.Axis(title="AUROC", format=".2f", tickCount=6))
    rung = alt.Chart(data(points.filter(pl.col("source").is_in(list(rungs)))))
    grey = rung.mark_line(color=MUTED, strokeWidth=1.2, strokeDash=[4, 3]).encode(x=x, y=y, detail="source:N")
    ends = apart(points.filter(pl.col("step") == steps[-1]), "auroc", 15 / 300, float(high - low) + 0.02)
    names = (
        alt.Chart(data(ends))
        .mark_text(align="left", dx=10, fontSize=11)
        .encode(
            x=x, y=alt.Y("label_y:Q", scale=scale), text="source:N",
            color=alt.Color("source:N", legend=None, scale=_of_sources(rungs)),
        )
    )  # fmt: skip
    own = alt.Chart(data(points.filter(~pl.col("source").is_in(list(rungs)))))
    color = alt.Color("source:N", legend=None, scale=_of_sources(rungs))
    bars = own.mark_rule(strokeWidth=2, opacity=0.5).encode(
        x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color
    )
    line = own.mark_line(strokeWidth=2.5, point={"size": 45}).encode(x=x, y=y, color=color)
    return svg((grey + bars + line + names).properties(width=560, height=300), label)


def _of_sources(rungs: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=["represented", "stated", *rungs], range=[BLUE, ORANGE, *[MUTED] * len(rungs)])
