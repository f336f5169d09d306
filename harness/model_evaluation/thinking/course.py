"""A thinking model along its training: at each checkpoint the effect of thinking, the probed beliefs, and whether the
model uses what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from agents.hooks.model import load_hooked_model
from agents.models.small import unpack_checkpoints
from harness.atomic import replacing
from harness.model_evaluation.thinking.cells import Cell
from harness.model_evaluation.thinking.moments import Moment
from harness.model_evaluation.thinking.tables import Table, column, dose_slopes, plain_mean

ARMS = ("none", "filler", "short filler", "belief", "steps", "exact belief")
READ = {
    "before the thinking": ("question", "none"), "behind a belief": ("question", "belief"),
    "before its number in a belief": ("number", "belief"),
}  # fmt: skip
"""Where the probe reads: the place and the arm (`inside.PLACES`)."""
COURSE: dict[str, Any] = {
    "tokens": pl.Int64, "measure": pl.String, "arm": pl.String, "layer": pl.Int64, "value": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "n": pl.Int64,
}  # fmt: skip
"""One row a checkpoint and figure. measure: `bits`, `regret`, `read` (share of the lines that can be read), `r2` (arm:
one of `READ`, by layer), `vote a tenth` and `stated a tenth` (arm: `subject`, `another` or `difference`)."""


def course_tables(
    folder: Path,
    out: Path,
    found: Sequence[Moment],
    measure: Callable[..., Any],
) -> list[Table]:
    """The tables along training; their figures are written to `out/course.parquet` (`COURSE`).

    measure: of a model and the arms, what `evaluate.measure` gives. Raises FileNotFoundError where no
    checkpoint was kept, StorageError.
    """
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as scratch:
        for path in unpack_checkpoints(folder, Path(scratch)):
            m = measure(load_hooked_model(path, dtype="float32", device="cpu"), ARMS)
            rows += rows_of(int(path.name.removeprefix("tokens-")), m)
    table = pl.DataFrame(rows, schema=COURSE)
    with replacing(out / "course.parquet") as part:
        table.write_parquet(part)
    return tables_of(table)


def rows_of(tokens: int, m: Any) -> list[dict[str, Any]]:
    """`COURSE` of one checkpoint."""
    rows: list[dict[str, Any]] = []

    def add(measure: str, arm: str, cell: Cell, layer: int | None = None) -> None:
        rows.append({"tokens": tokens, "measure": measure, "arm": arm, "layer": layer} | cell._asdict())

    for arm in ARMS:
        questions, ballots = (x.filter(pl.col("arm") == arm) for x in (m.questions, m.ballots))
        add("bits", arm, column(questions, "bits"))
        add("regret", arm, column(ballots, "regret"))
        if arm in ("belief", "steps"):
            share = plain_mean(ballots, "read")
            add("read", arm, Cell(share, share, share, len(ballots)))
    for name in ("vote", "stated"):
        for edit, cell in zip(("subject", "another", "difference"), dose_slopes(m.edits, name), strict=True):
            add(f"{name} a tenth", edit, cell)
    for name, (place, arm) in READ.items():
        for row in m.layers.filter(place=place, arm=arm).iter_rows(named=True):
            add("r2", name, Cell(row["r2"], row["low"], row["high"], row["n"]), row["layer"])
    return rows


def tables_of(course: pl.DataFrame) -> list[Table]:
    """Bits, regret, form and effect of an edit by checkpoint, and the probe's R2 by checkpoint and layer."""
    marks = course["tokens"].unique(maintain_order=True).to_list()
    layers = course["layer"].drop_nulls().unique(maintain_order=True).to_list()
    made = []
    for name, title in (
        ("bits", "bits a question along training"),
        ("regret", "regret a ballot along training"),
    ):
        rows = tuple((f"{n:,}", *(_cell(course, n, name, arm) for arm in ARMS)) for n in marks)
        made.append(Table(title, ("tokens", *ARMS), rows))
    edits = [(f"{name} a tenth", arm) for name in ("vote", "stated") for arm in ("subject", "another")]
    rows = tuple(
        (f"{n:,}", *(_share(course, n, arm) for arm in ("belief", "steps")), *(_cell(course, n, *e) for e in edits))
        for n in marks
    )  # fmt: skip
    head = ("tokens", "belief read", "steps read", "P(vote) a tenth more", "of another", "stated P a tenth more",
            "of another")  # fmt: skip
    made.append(Table("lines and edits along training", head, rows))
    for name in READ:
        rows = tuple((f"{n:,}", *(_cell(course, n, "r2", name, layer) for layer in layers)) for n in marks)
        made.append(Table(f"R2 inside, {name}, by layer", ("tokens", *map(str, layers)), rows))
    return made


def _at(course: pl.DataFrame, tokens: int, measure: str, arm: str, layer: int | None = None) -> Cell | None:
    at = course.filter(tokens=tokens, measure=measure, arm=arm)
    at = at if layer is None else at.filter(layer=layer)
    return None if at.is_empty() else Cell(*at.row(0)[4:])


def _cell(course: pl.DataFrame, tokens: int, measure: str, arm: str, layer: int | None = None) -> str:
    cell = _at(course, tokens, measure, arm, layer)
    return "" if cell is None else str(cell)


def _share(course: pl.DataFrame, tokens: int, arm: str) -> str:
    cell = _at(course, tokens, "read", arm)
    return "" if cell is None else f"{cell.value:.0%}"
