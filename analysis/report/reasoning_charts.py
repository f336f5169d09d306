"""Figures of reasoning: the commitment curve."""

from __future__ import annotations

import altair as alt
import polars as pl

from analysis.report.figures import BLUE, MUTED, ORANGE, Drawing, data, svg, tenths


def commitment(points: pl.DataFrame, label: str) -> str | Drawing:
    """Distance from the final decision against the share of the reasoning that is written, with its band; beside it the
    probability of the option that is taken in the end. Columns share, value, low, high, p_final."""
    unit = alt.Scale(domain=[0, 1])
    x = alt.X("share:Q", scale=unit, axis=tenths("share of the reasoning that is written", grid=False))
    y = alt.Y("value:Q", scale=unit, axis=tenths("total variation, probability"))
    base = alt.Chart(data(points))
    band = base.mark_area(opacity=0.18, color=BLUE).encode(x=x, y=alt.Y("low:Q", scale=unit), y2="high:Q")
    far = base.mark_line(strokeWidth=2.4, color=BLUE, point={"size": 36, "color": BLUE}).encode(x=x, y=y)
    likely = base.mark_line(strokeWidth=2, color=ORANGE, strokeDash=[5, 3]).encode(
        x=x, y=alt.Y("p_final:Q", scale=unit)
    )
    first = points["p_final"][0]
    names = pl.DataFrame(
        {
            "share": [0.02, 0.02],
            "at": [min(0.97, points["value"][0] + 0.06), max(0.04, first - 0.06)],
            "name": ["distance from the final decision", "probability of the final option"],
        }
    )
    if abs(names["at"][0] - names["at"][1]) < 0.08:
        names = names.with_columns(at=pl.Series([0.95, 0.87]))
    text = (
        alt.Chart(data(names))
        .mark_text(align="left", fontSize=12)
        .encode(
            x="share:Q", y="at:Q", text="name:N",
            color=alt.Color(
                "name:N", legend=None, scale=alt.Scale(domain=names["name"].to_list(), range=[BLUE, ORANGE])
            ),
        )
    )  # fmt: skip
    rule = alt.Chart(alt.Data(values=[{"z": 0}])).mark_rule(color=MUTED, strokeDash=[2, 3]).encode(y="z:Q")
    return svg((rule + band + likely + far + text).properties(width=420, height=230), label)
