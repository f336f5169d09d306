"""The report's figures: static SVG, drawn with altair, coloured by the page's CSS variables so that dark
mode works.

Charts are drawn in marker colours that `svg` replaces by `var(--...)` of the page. Every function takes the
numbers that are also written as parquet, and returns the SVG as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import vl_convert

INK, MUTED, GRID, BAND = "#010203", "#010204", "#010205", "#010206"
BLUE, ORANGE, TEAL, PINK, GOLD = "#010207", "#010208", "#010209", "#01020a", "#01020b"
VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--grid", BAND: "--band", BLUE: "--blue", ORANGE: "--orange",
    TEAL: "--teal", PINK: "--pink", GOLD: "--gold",
}  # fmt: skip
LIGHT = {
    "--ink": "#1b1f24", "--muted": "#646c76", "--grid": "#e4e5e2", "--band": "#e9e8e1", "--blue": "#1f62b5",
    "--orange": "#b8530f", "--teal": "#14807a", "--pink": "#a8397c", "--gold": "#8a6a00", "--good": "#1d7a46",
    "--good-bg": "#e2f3e8", "--no": "#5d636b", "--no-bg": "#ececea", "--weak": "#8a5a00", "--weak-bg": "#faefd6",
}  # fmt: skip
"""The page's colours in light mode, for figures that stand alone."""
TENTHS = [i / 10 for i in range(11)]
SERIES = (BLUE, ORANGE, TEAL, PINK, GOLD)
COLOURS = {
    "probe": BLUE, "represented": BLUE, "stated belief": ORANGE, "stated": ORANGE, "exact posterior": TEAL,
    "scripted-policy posterior": TEAL, "public events, boosted": PINK, "rules posterior": GOLD,
}  # fmt: skip
"""Sources that recur have one colour in all figures."""
SMALL = 560
"""Pixels: figures no wider than this are shrunk to a telephone's screen, wider ones are moved about on it."""
CHECKED = False
"""Whether altair validates a figure against its schema, which takes as long as drawing it; tests do."""
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "titleColor": MUTED, "titleFontWeight": "normal", "titleFontSize": 12, "labelFontSize": 12,
        "gridColor": GRID, "domain": False, "ticks": False, "labelPadding": 6, "titlePadding": 10,
    },
    "header": {"labelColor": INK, "labelFontSize": 13, "labelFontWeight": 600, "labelAnchor": "start"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "labelColor": INK, "titleColor": MUTED},
    "text": {"color": INK, "fontSize": 12},
}  # fmt: skip


def svg(chart: alt.TopLevelMixin, label: str) -> str | Drawing:
    """The chart as an inline SVG without script, scalable, with `label` for screen readers; drawn by `aside` where that
    is entered."""
    spec = chart.configure(**CONFIG).to_dict(validate=CHECKED)
    pool = _pool.get()
    return _draw(spec, label) if pool is None else Drawing(pool.submit(_draw, spec, label))


class Drawing:
    """An SVG that is being drawn on another thread; its text waits for it."""

    def __init__(self, coming: Future[str]) -> None:
        self._coming = coming

    def __str__(self) -> str:
        return self._coming.result()

    __html__ = __str__


_pool: ContextVar[ThreadPoolExecutor | None] = ContextVar("pool", default=None)


@contextmanager
def aside() -> Iterator[None]:
    """Inside this context, figures are drawn on a separate thread, whose engine starts at once, and their parts are
    validated against the schema only where `CHECKED`."""
    with alt.utils.schemapi.debug_mode(CHECKED), ThreadPoolExecutor(1, "figures") as pool:
        pool.submit(vl_convert.vegalite_to_svg, {"mark": "point", "data": {"values": []}, "encoding": {}})
        token = _pool.set(pool)
        try:
            yield
        finally:
            _pool.reset(token)


def _draw(spec: dict[str, Any], label: str) -> str:
    text = vl_convert.vegalite_to_svg(spec)
    for marker, variable in VARIABLES.items():
        text = text.replace(marker, f"var({variable})")
    width = re.search(r'width="([\d.]+)"', text)
    # The view box scales with the page; the natural size is the largest.
    text = re.sub(r' (?:width|height)="[\d.]+"', "", text, count=2)
    size = float(width[1]) if width else 900.0
    if size <= SMALL:
        text = text.replace('class="marks"', 'class="marks small"', 1)
    text = text.replace("<svg ", f'<svg style="max-width:{size:g}px" ', 1)
    safe = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{safe}" ', 1)


def standalone(drawing: str) -> str:
    """An SVG of the page as a file of its own: with a name space and the colours of light mode."""
    colours = "".join(f"{name}:{value};" for name, value in LIGHT.items())
    if "xmlns=" not in drawing.split(">", 1)[0]:
        drawing = drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, _, rest = drawing.partition(">")
    return f"{head}><style>:root{{{colours}}}</style>{rest}"


def palette(names: Sequence[str]) -> list[str]:
    """A colour for each series: its own where it has one, else the next that is free."""
    kept = {COLOURS[name] for name in names if name in COLOURS}
    free = iter([c for c in SERIES if c not in kept] + list(SERIES))
    return [COLOURS.get(name) or next(free) for name in names]


def data(frame: pl.DataFrame) -> alt.Data:
    """A frame's rows as JSON text, which altair neither copies nor checks value by value."""
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    return alt.Data(
        values=frame.with_columns(pl.col(numbers).fill_nan(None)).write_json(),
        format=alt.DataFormat(type="json"),
    )


def _least(values: pl.Series) -> float:
    known = values.drop_nulls().drop_nans().to_numpy()
    return float(known.min()) if len(known) else 0.5


def _auroc_axis(low: float = 0.4, high: float = 1.0) -> alt.Scale:
    return alt.Scale(domain=[low, high], nice=False)


def forest(scores: pl.DataFrame, label: str) -> str | Drawing:
    """AUROC of the probe and of its baselines, intervals over games.

    Columns: name, kind, auroc, low, high, ordered as they are to be shown.
    """
    low = max(0.0, min(0.4, _least(scores["low"]) - 0.02))
    base = alt.Chart(data(scores))
    y = alt.Y("name:N", sort=None, axis=alt.Axis(title=None, grid=False, labelColor=INK, labelLimit=180))
    color = alt.Color(
        "kind:N", legend=None,
        scale=alt.Scale(
            domain=["probe", "confound", "activation", "surface", "together", "ceiling", "control", "stated",
            "baseline"],
            range=[BLUE, MUTED, MUTED, ORANGE, ORANGE, TEAL, MUTED, PINK, MUTED],
        ),
    )  # fmt: skip
    x = alt.X(
        "auroc:Q",
        scale=_auroc_axis(low),
        axis=alt.Axis(title="AUROC, 95% interval over games", format=".1f", values=TENTHS),
    )
    bars = base.mark_rule(strokeWidth=2.5).encode(
        y=y, x=alt.X("low:Q", scale=_auroc_axis(low)), x2="high:Q", color=color
    )
    dots = base.mark_circle(size=75, opacity=1).encode(y=y, x=x, color=color)
    text = base.mark_text(align="left", dx=7, fontSize=11).encode(
        y=y, x=alt.X("high:Q", scale=_auroc_axis(low)), text=alt.Text("auroc:Q", format=".2f"), color=color
    )
    chance = (
        alt.Chart(alt.Data(values=[{"x": 0.5}]))
        .mark_rule(color=MUTED, strokeDash=[2, 3])
        .encode(x=alt.X("x:Q", scale=_auroc_axis(low)))
    )
    rival = (
        alt.Chart(data(scores.filter(pl.col("kind") == "surface")))
        .mark_rule(color=ORANGE, strokeDash=[5, 4], opacity=0.8)
        .encode(x=alt.X("auroc:Q", scale=_auroc_axis(low)))
    )
    return svg((chance + rival + bars + dots + text).properties(width=330, height=26 * len(scores)), label)


def layers(curves: pl.DataFrame, bands: pl.DataFrame, label: str) -> str | Drawing:
    """F1: AUROC by layer and target; the band is the permutation null's best layer, the dashes the best
    baseline.

    `curves`: target, layer, position, auroc. `bands`: target, null_low, null_high, baseline, baseline_name.
    """
    top = 0.04 + max(
        0.75, -_least(-curves["auroc"]), -_least(-bands["null_high"]), -_least(-bands["baseline"])
    )
    bottom = max(0.0, min(0.45, _least(curves["auroc"]) - 0.03))
    scale = _auroc_axis(bottom, min(1.0, top))
    order = curves.sort("position", maintain_order=True)["layer"].unique(maintain_order=True).to_list()
    last = order[-1]
    marks = curves.join(bands, on="target", maintain_order="left")
    base = alt.Chart(data(marks.with_columns(last=pl.lit(last), first=pl.lit(order[0]))))
    x = alt.X(
        "layer:N",
        sort=order,
        axis=alt.Axis(title="layer", labelAngle=0, grid=False),
        scale=alt.Scale(padding=0.3),
    )
    y = alt.Y("auroc:Q", scale=scale, axis=alt.Axis(title="AUROC", format=".1f", values=TENTHS))
    band = base.mark_rect(color=BAND, opacity=0.9).encode(
        y=alt.Y("null_low:Q", scale=scale), y2="null_high:Q", x=alt.value(0), x2=alt.value("width")
    )
    dash = base.mark_rule(color=ORANGE, strokeDash=[5, 4]).encode(y=alt.Y("baseline:Q", scale=scale))
    name = base.transform_filter(alt.datum.layer == order[0]).mark_text(
        align="left", dy=-7, fontSize=11, color=ORANGE
    ).encode(y=alt.Y("baseline:Q", scale=scale), text="baseline_name:N", x=alt.value(4))  # fmt: skip
    null = base.transform_filter(alt.datum.layer == order[0]).mark_text(
        align="right", dy=10, fontSize=11, color=MUTED, baseline="middle"
    ).encode(y=alt.Y("null_low:Q", scale=scale), text=alt.value("best layer by chance"), x=alt.value("width")
    )  # fmt: skip
    line = base.mark_line(color=BLUE, strokeWidth=2.5, point={"size": 45, "color": BLUE}).encode(x=x, y=y)
    n = marks["target"].n_unique()
    width = 250 if n > 2 else 330
    return svg(
        alt.layer(band, dash, line, name, null)
        .properties(width=width, height=220)
        .facet(
            facet=alt.Facet(
                "target:N", sort=curves["target"].unique(maintain_order=True).to_list(), title=None
            ),
            columns=3,
            spacing=34,
        ),
        label,
    )


def heat(cells: pl.DataFrame, label: str) -> str | Drawing:
    """F2: AUROC by site and layer. Columns: site, layer, auroc."""
    order = cells["layer"].unique(maintain_order=True).to_list()
    base = alt.Chart(data(cells.drop_nulls().with_columns(strength=(2 * (pl.col("auroc") - 0.5)).clip(0, 1))))
    x = alt.X("layer:N", sort=order, axis=alt.Axis(title="layer", labelAngle=0, orient="top"))
    y = alt.Y("site:N", sort=None, axis=alt.Axis(title=None, labelColor=INK, labelLimit=260))
    tiles = base.mark_rect(color=BLUE, stroke=GRID, strokeWidth=1, cornerRadius=3).encode(
        x=x,
        y=y,
        fillOpacity=alt.FillOpacity(
            "strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.0, 0.75]), legend=None
        ),
    )
    text = base.mark_text(fontSize=12).encode(x=x, y=y, text=alt.Text("auroc:Q", format=".2f"))
    return svg((tiles + text).properties(width=58 * len(order), height=38 * cells["site"].n_unique()), label)


def apart(ends: pl.DataFrame, column: str, room: float, span: float | None = None) -> pl.DataFrame:
    """The rows with `label_y`: `column`, pushed down where two labels would be nearer than `room` of the axis.

    `span` is what the axis holds; by default what the column does. Highest first.
    """
    values = ends.sort(column, descending=True, maintain_order=True)
    held = float(np.ptp(values[column].to_numpy())) if span is None else span
    placed: list[float] = []
    for value in values[column]:
        placed.append(min(value, placed[-1] - room * held) if placed else value)
    return values.with_columns(label_y=pl.Series(placed, dtype=pl.Float64))


def lines(
    points: pl.DataFrame,
    x: str,
    series: str,
    label: str,
    *,
    x_title: str,
    width: int = 330,
    height: int = 220,
) -> str | Drawing:
    """AUROC as lines over `x`, a direct label at the end of each, chance as a dotted line.

    Columns: `x` (integers), `series` (in the order of the colours), `auroc`.
    """
    names = points[series].unique(maintain_order=True).to_list()
    low = max(0.0, min(0.45, _least(points["auroc"]) - 0.02))
    high = min(1.0, max(0.75, 0.03 - _least(-points["auroc"])))
    ends = points.sort(x, maintain_order=True).group_by(series, maintain_order=True).last()
    placed = apart(ends, "auroc", 15 / height, high - low)
    ticks = sorted(set(points[x].to_list()))
    axis = alt.Axis(
        title=x_title, grid=False, format="d", values=ticks if len(ticks) <= 12 else alt.Undefined
    )
    scale_x, scale = alt.Scale(zero=False, nice=False, padding=8), alt.Scale(domain=[low, high], nice=False)
    color = alt.Color(f"{series}:N", legend=None, scale=alt.Scale(domain=names, range=palette(names)))
    drawn = (
        alt.Chart(data(points))
        .mark_line(strokeWidth=2.5, point={"size": 40})
        .encode(
            x=alt.X(f"{x}:Q", axis=axis, scale=scale_x),
            y=alt.Y("auroc:Q", axis=alt.Axis(title="AUROC", values=TENTHS, format=".1f"), scale=scale),
            color=color,
        )
    )
    text = (
        alt.Chart(data(placed))
        .mark_text(align="left", dx=9)
        .encode(
            x=alt.X(f"{x}:Q", axis=axis, scale=scale_x),
            y=alt.Y("label_y:Q", scale=scale),
            text=f"{series}:N",
            color=color,
        )
    )
    chance = (
        alt.Chart(alt.Data(values=[{"z": 0.5}]))
        .mark_rule(color=MUTED, strokeDash=[2, 3])
        .encode(y=alt.Y("z:Q", scale=scale))
    )
    chart = chance + drawn + text if len(names) > 1 else chance + drawn
    return svg(chart.properties(width=width, height=height), label)


def tenths(title: str, grid: bool = True) -> alt.Axis:
    """An axis from 0 to 1 with a tick at every second tenth, labels under their ticks."""
    return alt.Axis(title=title, grid=grid, format=".1f", values=TENTHS[::2], labelFlush=False)


def reliability(points: pl.DataFrame, label: str) -> str | Drawing:
    """F7: observed share against predicted probability, in bins of equal count. Columns: predicted, observed, low, high
    (of the observed), n.
    """
    axis = alt.Scale(domain=[0, 1])
    base = alt.Chart(data(points))
    diagonal = alt.Chart(alt.Data(values=[{"p": 0, "o": 0}, {"p": 1, "o": 1}])).mark_line(
        color=MUTED, strokeDash=[2, 3], strokeWidth=1
    ).encode(x=alt.X("p:Q", scale=axis), y=alt.Y("o:Q", scale=axis))  # fmt: skip
    x = alt.X("predicted:Q", scale=axis, axis=tenths("probe's probability", grid=False))
    y = alt.Y("observed:Q", scale=axis, axis=tenths("share that is so"))
    bars = base.mark_rule(color=BLUE, strokeWidth=1.5, opacity=0.6).encode(
        x=x, y=alt.Y("low:Q", scale=axis), y2="high:Q"
    )
    drawn = bars + base.mark_circle(color=BLUE, size=50, opacity=1).encode(x=x, y=y)
    return svg((diagonal + drawn).properties(width=330, height=220), label)
