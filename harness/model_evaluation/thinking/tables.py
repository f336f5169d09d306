"""The tables that a measurement prints and writes: each figure with its 95% interval over games."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from agents.werewolf.observer import RUNGS
from harness.model_evaluation.thinking.arms import AGAINST
from harness.model_evaluation.thinking.cells import Cell, mean, slopes
from harness.model_evaluation.thinking.inside import follows


class Table(msgspec.Struct, frozen=True):
    """One table with its title."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown; the title is the first column's head."""
        lines = [" | ".join(("", self.title, *self.head[1:], "")).strip()]
        lines.append("| " + " | ".join("---" for _ in self.head) + " |")
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in self.rows]) + "\n"

    def plain(self) -> str:
        """The table for a terminal."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
                 for row in (self.head, *self.rows)]  # fmt: skip
        return "\n".join([self.title, *(f"  {line}" for line in lines)])


def column(table: pl.DataFrame, name: str) -> Cell:
    """The mean of a column of `QUESTIONS`, `BALLOTS` or `EDITS`."""
    kept = table.filter(pl.col(name).is_not_null())
    return mean(kept[name].to_numpy().astype(float), kept["game"].to_numpy())


def paired(table: pl.DataFrame, name: str, arm: str, against: str, keys: Sequence[str]) -> Cell:
    """The mean difference of a column between two arms, on the rows that both have."""
    a, b = (table.filter(pl.col("arm") == x).select(*keys, "game", name) for x in (arm, against))
    both = a.join(b.drop("game"), on=list(keys), how="inner", suffix="_against", maintain_order="left")
    return mean((both[name] - both[f"{name}_against"]).to_numpy(), both["game"].to_numpy())


def arms_table(questions: pl.DataFrame, ballots: pl.DataFrame, arms: Sequence[str]) -> Table:
    """Bits from the exact posterior and ballot regret of each arm, and the differences from filler of equal length (of
    filler and none: from none)."""
    rows = []
    for arm in arms:
        q, b = questions.filter(pl.col("arm") == arm), ballots.filter(pl.col("arm") == arm)
        if not len(b):
            continue
        against = AGAINST.get(arm, "filler")
        rows.append((
            arm, str(len(b)), f"{plain_mean(b, 'n_tokens'):.0f}", str(column(q, "bits")), str(column(b, "regret")),
            str(column(b, "hit")), str(paired(questions, "bits", arm, against, ("moment", "subject"))),
            str(paired(ballots, "regret", arm, against, ("moment",))),
        ))  # fmt: skip
    head = ("arm", "ballots", "tokens", "bits a question", "regret a ballot", "P(vote hits)", "bits, less filler's",
            "regret, less filler's")  # fmt: skip
    return Table("thinking before the ballot", head, tuple(rows))


def rungs_table(
    frame: pl.DataFrame, name: str, title: str, arms: Sequence[str], keys: Sequence[str] = ()
) -> Table:
    """A column of `QUESTIONS` or `BALLOTS` by the rung of the evidence ladder that answers.

    keys: not the column itself, but by how much it is higher than behind filler of equal length, on the rows that have
    the same keys in both.
    """
    rows = []
    for rung in RUNGS:
        of = frame.filter(pl.col("rung") == rung)
        cells = [
            paired(of, name, arm, AGAINST.get(arm, "filler"), keys)
            if keys
            else column(of.filter(pl.col("arm") == arm), name)
            for arm in arms
        ]
        rows.append((rung, str(len(of.filter(pl.col("arm") == "none"))), *map(str, cells)))
    return Table(title, ("rung", "n", *arms), tuple(rows))


def words_table(questions: pl.DataFrame, ballots: pl.DataFrame, arms: Sequence[str]) -> Table:
    """The written lines: share that can be parsed, distance of the written tenths from the exact ones."""
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
    head = ("arm", "lines", "can be read", "written, off the exact", "stated behind it, off")
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


def doses_table(edits: pl.DataFrame) -> Table:
    """The dose-response as slopes: the effect of one more tenth for the subject on the vote for it and on its stated
    probability, against one more tenth for another player."""
    rows = []
    for name, text in (("vote", "P(vote for the subject)"), ("stated", "stated P(werewolf)")):
        rows.append((text, *map(str, dose_slopes(edits, name))))
    head = ("a tenth more", "of the subject", "of another", "difference")
    return Table("a tenth more in the line", head, tuple(rows))


def dose_slopes(edits: pl.DataFrame, name: str) -> tuple[Cell, Cell, Cell]:
    """The slope of a column of `EDITS` on the tenths of the subject, on those of another, and their difference."""
    of = edits.filter(pl.col(name).is_not_null())
    dose, games = of["dose"].to_numpy().astype(float), of["game"].to_numpy()
    subject = of["edit"].to_numpy() == "subject"
    y = of[name].to_numpy()
    own, others = slopes(np.stack([dose * subject, dose * ~subject], axis=1), y, games)
    return own, others, slopes(np.stack([dose * subject, dose], axis=1), y, games)[0]


PLACE_TITLES = {
    "question": "where the belief is asked for", "number": "before its number in the line",
    "offer": "among the names on offer", "ballot": "before the vote, within the decision",
}  # fmt: skip
"""What the table of each of `inside.PLACES` is called."""


def layers_tables(layers: pl.DataFrame) -> list[Table]:
    """R2 of the exact posterior inside: a table a place, by layer and arm."""
    made = []
    for place, title in PLACE_TITLES.items():
        of = layers.filter(pl.col("place") == place)
        arms = of["arm"].unique(maintain_order=True).to_list()
        rows = []
        for layer in of["layer"].unique(maintain_order=True).to_list():
            at = {row["arm"]: row for row in of.filter(pl.col("layer") == layer).iter_rows(named=True)}
            cells = [Cell(at[a]["r2"], at[a]["low"], at[a]["high"], at[a]["n"]) for a in arms]
            rows.append((str(layer), *map(str, cells)))
        if rows:
            made.append(Table(f"R2 inside, {title}", ("layer", *arms), tuple(rows)))
    return made


def conflicts_table(conflicts: pl.DataFrame) -> Table:
    """What the words say against what was inside before them, and which of the two the ballot goes with, by layer."""
    rows = []
    for layer in conflicts["layer"].unique(maintain_order=True).to_list():
        of = follows(conflicts.filter(pl.col("layer") == layer))
        rows.append((str(layer), *(str(of[name]) for name in ("said", "off", "words", "inside"))))
    head = ("layer", "share of the words that is read", "off the exact, words less inside",
            "nats of vote a nat of the words", "a nat of the inside")  # fmt: skip
    return Table("the words against the inside before them", head, tuple(rows))


def plain_mean(frame: pl.DataFrame, name: str) -> float:
    """The mean of a column of numbers or truths."""
    return float(frame[name].cast(pl.Float64).to_numpy().mean())
