"""Figures of the report that compare two models."""

from __future__ import annotations

import altair as alt
import polars as pl

from analysis.report.figures import BLUE, INK, MUTED, ORANGE, SERIES, TEAL, Drawing, data, svg


def words(points: pl.DataFrame, label: str) -> str | Drawing:
    """D1: a bar a word. Columns text, kl, n, gain."""
    named = points.with_columns(
        word=pl.col("text").str.replace_all("\n", "(line end)", literal=True).str.strip_chars(),
        sign=pl.when(pl.col("gain") >= 0)
        .then(pl.lit("B expected it more"))
        .otherwise(pl.lit("B expected it less")),
    )
    signs = ["B expected it more", "B expected it less"]
    color = alt.Color(
        "sign:N", legend=alt.Legend(title=None, orient="top", labelColor=INK),
        scale=alt.Scale(domain=signs, range=[TEAL, ORANGE]),
    )  # fmt: skip
    chart = alt.Chart(data(named)).mark_bar(height=13, cornerRadius=2).encode(
        x=alt.X("kl:Q", axis=alt.Axis(title="mean KL, nats", tickCount=5)),
        y=alt.Y("word:N", sort=None, axis=alt.Axis(title=None, grid=False, labelColor=INK, labelLimit=200)),
        color=color,
    )  # fmt: skip
    return svg(chart.properties(width=420, height=22 * len(named)), label)


def differences(points: pl.DataFrame, label: str) -> str | Drawing:
    """D2: after minus before with intervals, a row a measure and role.

    Columns row, difference, low, high, verdict.
    """
    kinds = ["changed", "not shown to change"]
    color = alt.Color(
        "verdict:N", scale=alt.Scale(domain=kinds, range=[ORANGE, MUTED]),
        legend=alt.Legend(title=None, orient="top", labelColor=INK),
    )  # fmt: skip
    base = alt.Chart(data(points))
    y = alt.Y("row:N", sort=None, axis=alt.Axis(title=None, grid=False, labelColor=INK, labelLimit=260))
    x = alt.X("low:Q", axis=alt.Axis(title="after minus before", format="+.0%", tickCount=6))
    bars = base.mark_rule(strokeWidth=2).encode(y=y, x=x, x2="high:Q", color=color)
    dots = base.mark_point(filled=True, size=55, opacity=1).encode(y=y, x="difference:Q", color=color)
    zero = alt.Chart(alt.Data(values=[{"z": 0.0}])).mark_rule(color=MUTED, strokeDash=[2, 3]).encode(x="z:Q")
    return svg((zero + bars + dots).properties(width=430, height=20 * len(points)), label)


def carried(points: pl.DataFrame, label: str) -> str | Drawing:
    """D3: share of the change by layer, a line an arm, a panel a way. Columns layer, name, share, low, high, way."""
    names = points["name"].unique(maintain_order=True).to_list()
    order = points["layer"].unique(maintain_order=True).to_list()
    color = alt.Color(
        "name:N", scale=alt.Scale(domain=names, range=[BLUE, TEAL, ORANGE, SERIES[3], MUTED][: len(names)]),
        legend=alt.Legend(title=None, orient="top", columns=3, labelLimit=240, symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    scale = alt.Scale(domain=[-0.25, 1.05], clamp=True)
    panels = []
    for way, title in (("bring", "brought into A"), ("take", "taken out of B")):
        base = alt.Chart(data(points.filter(way=way)))
        x = alt.X("layer:N", sort=order, axis=alt.Axis(title="layer", grid=False, labelAngle=0))
        y = alt.Y("share:Q", scale=scale, axis=alt.Axis(title=f"share of the change {title}", format=".0%"))
        bars = base.mark_rule(strokeWidth=2, opacity=0.4).encode(
            x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color
        )
        line = base.mark_line(strokeWidth=2, point={"size": 32}).encode(x=x, y=y, color=color)
        panels.append((bars + line).properties(width=300, height=210))
    return svg(alt.hconcat(*panels, spacing=36), label)


def course(points: pl.DataFrame, label: str) -> str | Drawing:
    """D4: rates over checkpoints, a line a measure and role. Columns step, name, value, low, high."""
    names = points["name"].unique(maintain_order=True).to_list()
    steps = points["step"].unique(maintain_order=True).to_list()
    color = alt.Color(
        "name:N", scale=alt.Scale(domain=names, range=[SERIES[i % len(SERIES)] for i in range(len(names))]),
        legend=alt.Legend(title=None, orient="top", columns=3, labelLimit=240, symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    base = alt.Chart(data(points))
    x = alt.X("step:N", sort=steps, axis=alt.Axis(title=None, grid=False, labelAngle=0, labelLimit=140))
    y = alt.Y("value:Q", axis=alt.Axis(title="rate", format=".0%"))
    bars = base.mark_rule(strokeWidth=2, opacity=0.4).encode(x=x, y="low:Q", y2="high:Q", color=color)
    line = base.mark_line(strokeWidth=2, point={"size": 32}).encode(x=x, y=y, color=color)
    return svg((bars + line).properties(width=560, height=240), label)
