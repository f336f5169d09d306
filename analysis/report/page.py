"""The parts of a page: tables, figures, the numbers behind them, and the format of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from analysis.stats.bootstrap import Interval

TITLES = {
    "subject_is_werewolf": "Another player is a werewolf",
    "subject_is_seer": "Another player is the seer",
    "own_lie_within_werewolves": "A werewolf is about to lie",
    "subject_is_evil": "Another player is evil",
    "subject_is_merlin": "Another player is Merlin",
    "own_lie_within_evil_players": "An evil player is about to lie",
    "own_next_team_fails": "The team that is voted on will fail",
}


@dataclass(frozen=True)
class Table:
    """A table of the page: text cells, `numeric` columns aligned right, a CSS class for each row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()
    classes: Sequence[str] = ()
    id: str = ""
    """Used once on the page; the page numbers what has none within its section."""
    question: str = ""
    caption: str = ""
    """n, the interval's kind and the verdict."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page."""

    id: str
    name: str
    question: str
    svg: object
    """The drawing; its text is the SVG."""
    caption: str


@dataclass(frozen=True)
class Card:
    """One of several things that are shown side by side."""

    title: str
    facts: Sequence[str]
    """Lines of text."""
    lists: Sequence[tuple[str, Sequence[str]]] = ()
    """(what it is, items)."""


@dataclass(frozen=True)
class Cards:
    """Cards of the page."""

    id: str
    question: str
    cards: Sequence[Card]
    caption: str


@dataclass
class Numbers:
    """The frames behind tables and figures, by file name; written as parquet."""

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    drawn: dict[str, str] = field(default_factory=dict)
    """Figures by identifier, as SVG."""

    def keep(self, figure: Figure) -> str:
        """Notes a figure that is shown; its identifier. Raises ValueError where that is taken."""
        text = str(figure.svg)
        if self.drawn.get(figure.id, text) != text:
            raise ValueError(f"two figures of the page are called {figure.id}")
        self.drawn[figure.id] = text
        return figure.id

    def add(self, name: str, frame: pl.DataFrame, **columns: Any) -> None:
        """Appends rows to a frame, with constant columns in front."""
        more = frame.select([pl.lit(value).alias(key) for key, value in columns.items()] + [pl.all()])
        self.frames[name] = pl.concat([self.frames[name], more]) if name in self.frames else more


def title_of(name: str) -> str:
    """A target's name in words."""
    return TITLES.get(name, name.replace("_", " "))


def within(i: Interval, signed: bool = False) -> str:
    """`.62 [.58, .66]`."""
    form = "{:+.3f}" if signed else "{:.3f}"
    return f"{form.format(i.value)} [{form.format(i.low)}, {form.format(i.high)}]"


def p_text(p: float | None) -> str:
    """`< .001` or two digits; nothing where there is none."""
    return "" if p is None or not np.isfinite(p) else "< .001" if p < 0.001 else f"{p:.3f}"


def tokens_text(tokens: int) -> str:
    """`234k`, `28M`: a number of tokens as an axis tells it."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{unit}"
    return str(tokens)


def commands(text: str) -> Markup:
    """Text for the page, what stands between backticks as code."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))


def grouped(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The rows with the first cell empty where it repeats that of the row above."""
    return [["", *row[1:]] if i and row[0] == rows[i - 1][0] else list(row) for i, row in enumerate(rows)]


def share(value: float | None) -> str:
    """A share in per cent; empty where there is none."""
    return "" if value is None else f"{value:.1%}"
