"""A section of the report: a heading with parts, each a table, a figure or a note. What cannot be shown says why."""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.report.page import Figure, Table


@dataclass
class Part:
    """One thing of a block; the fields that are set are shown in this order."""

    note: str = ""
    table: Table | None = None
    figure: Figure | None = None


@dataclass
class Block:
    """One section of the page."""

    id: str
    title: str
    parts: list[Part] = field(default_factory=list)

    def add(self, *, note: str = "", table: Table | None = None, figure: Figure | None = None) -> None:
        """Appends a part."""
        self.parts.append(Part(note, table, figure))
