"""Figures of reasoning: the commitment curve, and what thinking buys a model of few layers."""

from __future__ import annotations

import altair as alt
import polars as pl

from analysis.report.figures import BLUE, GOLD, INK, MUTED, ORANGE, Drawing, apart, data, svg, tenths


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


ARM_COLOURS = {"none": MUTED, "filler": GOLD, "belief": ORANGE, "steps": BLUE}


def thinking_depth(points: pl.DataFrame, label: str) -> str | Drawing:
    """Amortised against explicit: bits from the exact posterior against the depth of the model, a line a way of
    thinking, and against the tokens of thinking, a line a depth.

    Columns layers, arm, n_tokens, bits, bits_low, bits_high, as `train-thinking-model --depths` writes them.
    """
    arms = [arm for arm in ARM_COLOURS if arm in points["arm"]]
    top = float(points["bits_high"].to_numpy().max()) * 1.05
    scale = alt.Scale(domain=[0, top], nice=False)
    y = alt.Y("bits:Q", scale=scale, axis=alt.Axis(title="bits a question", format=".2f", tickCount=5))
    order = points["layers"].unique(maintain_order=True).sort().to_list()
    x = alt.X("layers:N", sort=order, axis=alt.Axis(title="layers of the model", labelAngle=0, grid=False))
    color = alt.Color(
        "arm:N", scale=alt.Scale(domain=arms, range=[ARM_COLOURS[arm] for arm in arms]),
        legend=alt.Legend(title=None, orient="top", symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    base = alt.Chart(data(points))
    offset = alt.XOffset("arm:N", sort=arms, scale=alt.Scale(paddingOuter=0.42))
    bars = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        x=x, xOffset=offset, y=alt.Y("bits_low:Q", scale=scale), y2="bits_high:Q", color=color
    )
    dots = base.mark_circle(size=60, opacity=1).encode(x=x, xOffset=offset, y=y, color=color)
    over = (bars + dots).properties(width=330, height=220)
    written = points.sort("layers", "n_tokens", maintain_order=True)
    along = alt.Chart(data(written))
    tokens = alt.X("n_tokens:Q", axis=alt.Axis(title="tokens of thinking before the decision", grid=False))
    thought = alt.Chart(data(written.filter(pl.col("arm") != "filler")))
    line = thought.mark_line(strokeWidth=1.3, color=MUTED).encode(x=tokens, y=y, detail="layers:N")
    marks = along.mark_circle(size=60, opacity=1).encode(x=tokens, y=y, color=color)
    ends = written.group_by("layers", maintain_order=True).last()
    ends = apart(ends.sort("bits", maintain_order=True), "bits", 14 / 220, top)
    plural = (
        pl.when(pl.col("layers") == 1).then(pl.lit("1 layer")).otherwise(pl.format("{} layers", "layers"))
    )
    names = (
        alt.Chart(data(ends.with_columns(name=plural)))
        .mark_text(align="left", dx=10, fontSize=11, color=INK)
        .encode(x=tokens, y=alt.Y("label_y:Q", scale=scale), text="name:N")
    )
    under = (line + marks + names).properties(width=330, height=220)
    # One above the other: side by side, their words are too small on a page of 420 pixels.
    return svg(alt.vconcat(over, under, spacing=28), label)
