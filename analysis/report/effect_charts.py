"""Figures of experiments: effects with their controls, dose-response, one arm over settings."""

from __future__ import annotations

import altair as alt
import polars as pl

from analysis.report.figures import BLUE, INK, MUTED, ORANGE, SERIES, Drawing, data, svg

KINDS = {"arm": BLUE, "control": MUTED, "random": MUTED, "noise": ORANGE}


def effects(rows: pl.DataFrame, title: str, label: str) -> str | Drawing:
    """Effects as a forest. Columns name, kind (of `KINDS`), effect, low, high, in the order to be shown.

    Rows of one name and kind `random` are single directions without an interval: they are drawn as ticks.
    """
    names = rows["name"].unique(maintain_order=True).to_list()
    base = alt.Chart(data(rows))
    y = alt.Y("name:N", sort=names, axis=alt.Axis(title=None, grid=False, labelColor=INK, labelLimit=225))
    color = alt.Color("kind:N", legend=None, scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())))
    x = alt.X("effect:Q", axis=alt.Axis(title=title, tickCount=5))
    zero = alt.Chart(alt.Data(values=[{"z": 0}])).mark_rule(color=MUTED, strokeDash=[2, 3]).encode(x="z:Q")
    ticks = base.transform_filter(alt.datum.kind == "random").mark_tick(thickness=1.5, opacity=0.7, size=14)
    known = base.transform_filter(alt.datum.kind != "random")
    bars = known.mark_rule(strokeWidth=2.5).encode(y=y, x="low:Q", x2="high:Q", color=color)
    dots = known.mark_circle(size=75, opacity=1).encode(y=y, x=x, color=color)
    drawn = zero + ticks.encode(y=y, x=x, color=color) + bars + dots
    return svg(drawn.properties(width=300, height=24 * len(names)), label)


def doses(points: pl.DataFrame, title: str, label: str) -> str | Drawing:
    """F8: effect against strength with its interval. Columns scale, effect, low, high, arm."""
    base = alt.Chart(data(points))
    many = points["arm"].n_unique() > 1
    legend = alt.Legend(title=None, orient="top", labelColor=INK, labelLimit=300) if many else None
    x = alt.X("scale:Q", axis=alt.Axis(title="strength, multiples of the stream's own norm", grid=False))
    color = alt.Color("arm:N", legend=legend, scale=alt.Scale(range=list(SERIES)))
    y = alt.Y("effect:Q", axis=alt.Axis(title=title))
    zero = alt.Chart(alt.Data(values=[{"z": 0}])).mark_rule(color=MUTED, strokeDash=[2, 3]).encode(y="z:Q")
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, y="low:Q", y2="high:Q", color=color)
    drawn = base.mark_line(strokeWidth=2.2, point={"size": 40}).encode(x=x, y=y, color=color)
    return svg((zero + bars + drawn).properties(width=420, height=220), label)
