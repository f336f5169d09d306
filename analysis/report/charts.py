"""More of the report's figures, in the manner of `analysis.report.figures`: matrices, curves, the belief
simplex."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from analysis.report.figures import BLUE, GRID, INK, MUTED, ORANGE, TEAL, Drawing, data, palette, svg, tenths


def matrix(cells: pl.DataFrame, label: str) -> str | Drawing:
    """F6: AUROC of every training group (rows) on every test group. Columns train, test, auroc."""
    order = cells["train"].unique(maintain_order=True).to_list()
    base = alt.Chart(
        data(
            cells.with_columns(
                strength=(2 * (pl.col("auroc") - 0.5)).clip(0, 1), own=pl.col("train") == pl.col("test")
            )
        )
    )
    x = alt.X(
        "test:N", sort=order, axis=alt.Axis(title="tested on", labelAngle=-20, orient="top", labelLimit=150)
    )
    y = alt.Y("train:N", sort=order, axis=alt.Axis(title="trained on", labelColor=INK, labelLimit=200))
    opacity = alt.FillOpacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.0, 0.75]), legend=None)
    tiles = base.mark_rect(color=BLUE, stroke=GRID, cornerRadius=3).encode(x=x, y=y, fillOpacity=opacity)
    frame = base.transform_filter(alt.datum.own).mark_rect(
        filled=False, stroke=ORANGE, strokeWidth=2, cornerRadius=3
    ).encode(x=x, y=y)  # fmt: skip
    text = base.mark_text(fontSize=12).encode(x=x, y=y, text=alt.Text("auroc:Q", format=".2f"))
    return svg((tiles + frame + text).properties(width=90 * len(order), height=44 * len(order)), label)


def curves(
    points: pl.DataFrame, x: str, y: str, series: str, label: str, *, x_title: str, y_title: str,
    diagonal: bool = True, width: int = 330, height: int = 240,
) -> str | Drawing:  # fmt: skip
    """Lines by series with a legend above; the diagonal dotted; bars where there are columns low and high. ROC and
    calibration."""
    names = points[series].unique(maintain_order=True).to_list()
    legend = (
        alt.Legend(title=None, orient="top", labelColor=INK, symbolType="stroke") if len(names) > 1 else None
    )
    color = alt.Color(f"{series}:N", legend=legend, scale=alt.Scale(domain=names, range=palette(names)))
    unit = alt.Scale(domain=[0, 1])
    drawn = (
        alt.Chart(data(points))
        .mark_line(strokeWidth=2.2)
        .encode(
            x=alt.X(f"{x}:Q", scale=unit, axis=tenths(x_title, grid=False)),
            y=alt.Y(f"{y}:Q", scale=unit, axis=tenths(y_title)),
            color=color, order=alt.Order(f"{x}:Q"),
        )
    )  # fmt: skip
    chart: Any = drawn
    if {"low", "high"} <= set(points.columns):
        bars = alt.Chart(data(points)).mark_rule(strokeWidth=1.4, opacity=0.6).encode(
            x=alt.X(f"{x}:Q", scale=unit), y=alt.Y("low:Q", scale=unit), y2="high:Q", color=color
        )  # fmt: skip
        chart = drawn + bars
    if diagonal:
        line = alt.Chart(alt.Data(values=[{"a": 0, "b": 0}, {"a": 1, "b": 1}])).mark_line(
            color=MUTED, strokeDash=[2, 3], strokeWidth=1
        ).encode(x=alt.X("a:Q", scale=unit), y=alt.Y("b:Q", scale=unit))  # fmt: skip
        chart = line + chart
    return svg(chart.properties(width=width, height=height), label)


def simplex(points: pl.DataFrame, corners: tuple[str, str], label: str) -> str | Drawing:
    """F4: beliefs in the triangle of two roles and neither, exact on the left, predicted on the right.

    Columns x, y, px, py, role (one of the corners, or `other`); every row is drawn, so give at most some hundreds.
    """
    both = pl.concat(
        [
            points.select("x", "y", "role", panel=pl.lit("the ideal reader's posterior")),
            points.select(x="px", y="py", role="role", panel=pl.lit("read from the activations")),
        ]
    )
    one, two = corners
    places = [(0.0, 0.0, one), (1.0, 0.0, two), (0.5, 0.866, "neither"), (0.0, 0.0, "")]
    edge = pl.DataFrame(
        [
            {"cx": a, "cy": b, "ty": b + (0.07 if b else -0.07), "corner": c, "place": i}
            for i, (a, b, c) in enumerate(places)
        ]
    )
    panels = pl.DataFrame({"panel": both["panel"].unique(maintain_order=True)})
    merged = pl.concat([both, edge.join(panels, how="cross")], how="diagonal")
    scale_x, scale_y = alt.Scale(domain=[-0.12, 1.12]), alt.Scale(domain=[-0.14, 1.0])
    base = alt.Chart(data(merged))
    side = base.transform_filter("isValid(datum.cx)").mark_line(color=MUTED, strokeWidth=1).encode(
        x=alt.X("cx:Q", scale=scale_x, axis=None), y=alt.Y("cy:Q", scale=scale_y, axis=None),
        order=alt.Order("place:Q"),
    )  # fmt: skip
    names = base.transform_filter("isValid(datum.cx)").mark_text(fontSize=11, color=MUTED).encode(
        x=alt.X("cx:Q", scale=scale_x, axis=None), y=alt.Y("ty:Q", scale=scale_y, axis=None), text="corner:N"
    )  # fmt: skip
    color = alt.Color(
        "role:N", scale=alt.Scale(domain=[one, two, "other"], range=[ORANGE, TEAL, MUTED]),
        legend=alt.Legend(title="truth", orient="bottom", labelColor=INK, titleColor=MUTED),
    )  # fmt: skip
    dots = base.transform_filter("isValid(datum.x)").mark_circle(size=22, opacity=0.55, clip=True).encode(
        x=alt.X("x:Q", scale=scale_x, axis=None), y=alt.Y("y:Q", scale=scale_y, axis=None), color=color
    )  # fmt: skip
    layered = alt.layer(side, dots, names).properties(width=330, height=270)
    facet = alt.Facet("panel:N", title=None, sort=panels["panel"].to_list())
    return svg(layered.facet(facet=facet, columns=2, spacing=40), label)


def courses(points: pl.DataFrame, label: str, what: str) -> str | Drawing:
    """F3: mean belief around events. Columns event, offset, source, is_werewolf (bool), belief. what: the subject is
    asked to be, `a werewolf`."""
    sources = points["source"].unique(maintain_order=True).to_list()
    named = points.with_columns(
        truth=pl.when(pl.col("is_werewolf")).then(pl.lit(f"is {what}")).otherwise(pl.lit("is not"))
    )
    chart = (
        alt.Chart(data(named))
        .mark_line(strokeWidth=2.2, point={"size": 28})
        .encode(
            x=alt.X(
                "offset:Q",
                axis=alt.Axis(
                    title="viewer's decisions since the event", format="d", grid=False, values=[-2, -1, 0, 1, 2, 3]
                ),
            ),
            y=alt.Y(
                "belief:Q", axis=alt.Axis(title=f"mean P({what.removeprefix('a ')})", format=".1f", tickCount=5),
                scale=alt.Scale(zero=False),
            ),
            color=alt.Color(
                "source:N", scale=alt.Scale(domain=sources, range=palette(sources)),
                legend=alt.Legend(title=None, orient="top", labelColor=INK, labelLimit=220),
            ),
            strokeDash=alt.StrokeDash(
                "truth:N", scale=alt.Scale(domain=[f"is {what}", "is not"], range=[[1, 0], [4, 3]]),
                legend=None,
            ),
        )
        .properties(width=300, height=170)
        .facet(facet=alt.Facet("event:N", title=None), columns=2, spacing=30)
    )  # fmt: skip
    return svg(chart, label)


def strip(tokens: pl.DataFrame, label: str) -> str | Drawing:
    """F10: every token of some speeches, coloured by its score, its share of attention as a bar below.

    Columns seq, name, lie, place, token_index, text, score, attention.
    """
    words = pl.coalesce(pl.col("text").str.strip_chars(), pl.col("token_index").cast(pl.String))
    size = float(tokens["score"].abs().quantile(0.95) or 1.0) or 1.0
    drawn = tokens.with_columns(
        word=words,
        row=pl.col("name") + pl.when("lie").then(pl.lit(", a lie")).otherwise(pl.lit(", true")),
        strength=(pl.col("score").abs() / size).clip(0, 1) * 0.75,
        sign=pl.when(pl.col("score") > 0).then(pl.lit("lie")).otherwise(pl.lit("truth")),
    ).with_columns(width=pl.col("word").str.len_chars() * 7.4 + 9)
    drawn = drawn.with_columns(x2=pl.col("width").cum_sum().over("seq")).with_columns(
        x=pl.col("x2") - pl.col("width")
    )
    drawn = drawn.with_columns(
        middle=(pl.col("x") + pl.col("x2")) / 2, bar=pl.col("x") + (pl.col("width") - 4) * pl.col("attention")
    )
    base = alt.Chart(data(drawn))
    order = drawn["seq"].unique(maintain_order=True).to_list()
    names = dict(drawn.select("seq", "row").unique(maintain_order=True).iter_rows())
    y = alt.Y(
        "seq:O", sort=order,
        axis=alt.Axis(
            title=None, grid=False, labelColor=INK, labelLimit=200,
            labelExpr=" ".join(f"datum.value == {seq} ? '{_plain(names[seq])}' :" for seq in order) + " ''",
        ),
    )  # fmt: skip
    scale = alt.Scale(domain=[0, float(drawn["x2"].to_numpy().max())], nice=False)
    color = alt.Color("sign:N", scale=alt.Scale(domain=["lie", "truth"], range=[ORANGE, BLUE]), legend=None)
    opacity = alt.FillOpacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None)
    tiles = base.mark_rect(height=20, cornerRadius=3, yOffset=-2).encode(
        x=alt.X("x:Q", scale=scale, axis=None), x2="x2:Q", y=y, color=color, fillOpacity=opacity
    )
    text = base.mark_text(fontSize=12, yOffset=-2).encode(
        x=alt.X("middle:Q", scale=scale), y=y, text="word:N"
    )
    bars = base.mark_rect(height=3, yOffset=12, color=MUTED).encode(
        x=alt.X("x:Q", scale=scale), x2="bar:Q", y=y
    )
    return svg((tiles + text + bars).properties(width=700, height=36 * len(order)), label)


def _plain(text: str) -> str:
    """Text escaped for a Vega expression."""
    return "".join(c for c in text if c.isalnum() or c in " ,_-.")
