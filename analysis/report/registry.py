"""Sections that researchers add to the report from outside: one call of `register_section`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.data.frames import Logs
from analysis.evaluation.evaluate import Evaluation, Settings, Skipped
from analysis.evaluation.prepare import Prepared
from analysis.report.block import Block
from analysis.report.page import Numbers
from analysis.stats.errors import AnalysisError


@dataclass(frozen=True)
class Material:
    """The material of a section."""

    evaluations: Sequence[Evaluation | Skipped]
    prepared: Prepared
    logs: Logs
    runs: Sequence[tuple[str, Any]]
    """(prefix of the game ids, run)."""
    settings: Settings
    numbers: Numbers
    """Frames added here are written as parquet beside the page."""


SECTIONS: dict[str, Callable[[Material], Block]] = {}


def register_section(name: str, make: Callable[[Material], Block]) -> None:
    """Adds a section, shown after the report's own. Raises AnalysisError for a name that is taken by another."""
    if SECTIONS.get(name, make) is not make:
        raise AnalysisError(f"a section {name!r} is registered already; choose another name")
    SECTIONS[name] = make
