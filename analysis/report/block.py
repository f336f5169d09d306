"""A section of the report: a heading with parts: tables, figures, cards, notes. What cannot be shown says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from analysis.report.page import Cards, Figure, Table


@dataclass
class Part:
    """One part of a block; the fields that are set are shown in this order."""

    note: str = ""
    table: Table | None = None
    figure: Figure | None = None
    cards: Cards | None = None
    fold: str = ""
    """Where set, the part is closed under this summary until a reader opens it."""
    kept: bool = False
    """Whether a note alone is a finding; else it says what is absent."""

    @property
    def shown(self) -> bool:
        """Whether it has more than a note."""
        return any(one is not None for one in (self.table, self.figure, self.cards))


@dataclass
class Block:
    """One section of the page."""

    id: str
    title: str
    parts: list[Part] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """What could not be shown, and why: listed once for the whole page."""

    def add(
        self,
        *,
        note: str = "",
        table: Table | None = None,
        figure: Figure | None = None,
        cards: Cards | None = None,
        fold: str = "",
        kept: bool = False,
    ) -> None:
        """Appends a part."""
        self.parts.append(Part(note, table, figure, cards, fold, kept))

    def add_found(self, name: str, question: str, found: Sequence[str]) -> None:
        """Appends what an experiment asked, and each thing that it found, as notes that stay in their section."""
        for sentence in (f"{name}. {question}", *found):
            self.add(note=sentence, kept=True)

    @property
    def empty(self) -> bool:
        """Whether it has only notes."""
        return not any(part.shown for part in self.parts)

    def take(self, other: Block, fold: str = "") -> None:
        """Appends another's parts, closed under `fold` where that is set; its notes count as absent where it
        is empty."""
        self.absent += other.absent
        if other.empty:
            self.absent += [part.note for part in other.parts]
            return
        for part in other.parts:
            if not part.shown and not part.kept:
                self.absent.append(part.note)
            else:
                self.parts.append(replace(part, fold="" if part.kept else fold or part.fold))
