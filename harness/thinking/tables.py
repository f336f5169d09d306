"""The tables that a measurement prints and writes: each figure with its 95% interval over games."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from agents.werewolf.observer import RUNGS
from analysis.stats.bootstrap import mean_interval


class Cell(msgspec.Struct, frozen=True):
    """One figure."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """The figure with its interval."""
        return "" if self.n == 0 else f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Table(msgspec.Struct, frozen=True):
    """One table with its title."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As docs show it; the title is the first column's head."""
        lines = [" | ".join(("", self.title, *self.head[1:], "")).strip()]
        lines.append("| " + " | ".join("---" for _ in self.head) + " |")
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in self.rows]) + "\n"

    def plain(self) -> str:
        """As a terminal shows it."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
                 for row in (self.head, *self.rows)]  # fmt: skip
        return "\n".join([self.title, *(f"  {line}" for line in lines)])


def mean(values: np.ndarray, games: np.ndarray) -> Cell:
    """A mean over rows, its interval under resampling of games."""
    found = mean_interval(values, games)
    return Cell(found.value, found.low, found.high, len(values))


def column(table: pl.DataFrame, name: str) -> Cell:
    """The mean of a column of `QUESTIONS`, `BALLOTS` or `EDITS`."""
    kept = table.filter(pl.col(name).is_not_null())
    return mean(kept[name].to_numpy().astype(float), kept["game"].to_numpy())


def paired(table: pl.DataFrame, name: str, arm: str, against: str, keys: Sequence[str]) -> Cell:
    """How much higher a column is in one arm than in another, on the rows that both have."""
    a, b = (table.filter(pl.col("arm") == x).select(*keys, "game", name) for x in (arm, against))
    both = a.join(b.drop("game"), on=list(keys), how="inner", suffix="_against", maintain_order="left")
    return mean((both[name] - both[f"{name}_against"]).to_numpy(), both["game"].to_numpy())


def arms_table(questions: pl.DataFrame, ballots: pl.DataFrame, arms: Sequence[str]) -> Table:
    """Bits from the exact posterior and ballot regret of each arm, and the differences from filler of equal length."""
    rows = []
    for arm in arms:
        q, b = questions.filter(pl.col("arm") == arm), ballots.filter(pl.col("arm") == arm)
        if not len(b):
            continue
        against = "filler" if arm != "filler" else "none"
        rows.append((
            arm, str(len(b)), f"{plain_mean(b, 'n_tokens'):.0f}", str(column(q, "bits")), str(column(b, "regret")),
            str(column(b, "hit")), str(paired(questions, "bits", arm, against, ("moment", "subject"))),
            str(paired(ballots, "regret", arm, against, ("moment",))),
        ))  # fmt: skip
    head = ("arm", "ballots", "tokens", "bits a question", "regret a ballot", "P(vote hits)", "bits, less filler's",
            "regret, less filler's")  # fmt: skip
    return Table("thinking before the ballot", head, tuple(rows))


def rungs_table(questions: pl.DataFrame, arms: Sequence[str]) -> Table:
    """Bits a question by the rung of the evidence ladder that answers it."""
    rows = []
    for rung in RUNGS:
        of = questions.filter(pl.col("rung") == rung)
        n = len(of.filter(pl.col("arm") == arms[0]))
        rows.append((rung, str(n), *(str(column(of.filter(pl.col("arm") == arm), "bits")) for arm in arms)))
    return Table("bits a question by the rung that answers it", ("rung", "questions", *arms), tuple(rows))


def words_table(questions: pl.DataFrame, ballots: pl.DataFrame, arms: Sequence[str]) -> Table:
    """What the lines themselves say: share that can be read, distance of the written tenths from the exact ones."""
    rows = []
    for arm in arms:
        q = questions.filter((pl.col("arm") == arm) & pl.col("written").is_not_null())
        b = ballots.filter(pl.col("arm") == arm)
        if len(b):
            off = q.with_columns((pl.col("written") / 10 - pl.col("exact")).abs().alias("off"))
            off = off.with_columns((pl.col("stated") - pl.col("exact")).abs().alias("stated_off"))
            rows.append(
                (
                    arm,
                    str(len(b)),
                    f"{plain_mean(b, 'read'):.1%}",
                    str(column(off, "off")),
                    str(column(off, "stated_off")),
                )
            )
    head = ("arm", "lines", "can be read", "|written - exact|", "|stated behind it - exact|")
    return Table("what the lines say", head, tuple(rows))


def edits_table(edits: pl.DataFrame) -> Table:
    """The dose-response, by what was edited and by how much."""
    rows = []
    for edit in ("subject", "another", "dead"):
        of = edits.filter(pl.col("edit") == edit)
        for low, high in ((-10, -5), (-4, -1), (1, 4), (5, 10)):
            part = of.filter(pl.col("dose").is_between(low, high))
            if len(part):
                rows.append((
                    edit, f"{plain_mean(part, 'dose'):+.1f}", str(len(part)), str(column(part, "vote")),
                    str(column(part, "moved")), str(column(part, "stated")),
                ))  # fmt: skip
    head = ("edit", "mean dose", "edits", "P(vote for the subject)", "ballot moved", "stated P(werewolf)")
    return Table("one written number is edited", head, tuple(rows))


def layers_table(layers: pl.DataFrame) -> Table:
    """R2 of a probe of the exact posterior by place and layer."""
    places = layers["place"].unique(maintain_order=True).to_list()
    rows = []
    for layer in layers["layer"].unique(maintain_order=True).to_list():
        at = {row["place"]: row for row in layers.filter(pl.col("layer") == layer).iter_rows(named=True)}
        cells = [Cell(at[p]["r2"], at[p]["low"], at[p]["high"], at[p]["n"]) for p in places]
        rows.append((str(layer), *map(str, cells)))
    return Table("R2 of a probe inside", ("layer", *places), tuple(rows))


def plain_mean(frame: pl.DataFrame, name: str) -> float:
    """The mean of a column of numbers or truths."""
    return float(frame[name].cast(pl.Float64).to_numpy().mean())
