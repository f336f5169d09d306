"""Targets, confounds and probes that researchers add from outside, each registered by one call.

A package names its modules in WOLFSCOPE_EXTENSIONS (`harness.extensions`), or a script imports them before it calls
`write_report`; each calls `register` on import. The report then treats them like its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from numpy.typing import NDArray

from analysis.stats.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.data.frames import Rows
    from analysis.data.targets import Target
    from analysis.stats.splits import Folds


@dataclass(frozen=True)
class NewBaseline:
    """Features of a row that do not come from the model's activations: a confound that the probe must add to."""

    name: str
    what: str
    """Its input, in words."""
    features: Callable[[Target], NDArray[Any]]
    """`(n_rows, d)` of a target's rows; a logistic fit on the same folds scores them."""


@dataclass(frozen=True)
class NewTarget:
    """A target added from outside."""

    name: str
    rows: Callable[[Rows, Rows, dict[str, pl.DataFrame]], Target]
    """From the rows about others, the rows about oneself (`analysis.data.frames.subject_rows`) and the label frames
    (`statements`, `speeches`, `ballots`) to the target, without activations."""
    own: bool = False
    """Whether the question is about the viewer's own words: probes then read where they begin, else where the subject
    is named."""


@dataclass(frozen=True)
class NewProbe:
    """Another probe of the same rows on the same folds, beside the headline's."""

    name: str
    what: str
    fit: Callable[[list[NDArray[Any]], NDArray[Any], Folds], NDArray[Any]]
    """Layers `(n_rows, d_model)` each, labels `(n_rows,)`, folds -> out-of-fold scores `(n_rows,)`."""


BASELINES: dict[str, NewBaseline] = {}
TARGETS: dict[str, NewTarget] = {}
PROBES: dict[str, NewProbe] = {}


def register(thing: NewBaseline | NewTarget | NewProbe) -> None:
    """Adds a baseline, target or probe. Raises AnalysisError for a name that is taken by another."""
    if isinstance(thing, NewBaseline):
        _add(BASELINES, thing)
    elif isinstance(thing, NewTarget):
        _add(TARGETS, thing)
    else:
        _add(PROBES, thing)


def _add(table: dict[str, Any], thing: NewBaseline | NewTarget | NewProbe) -> None:
    if table.get(thing.name, thing) != thing:
        raise AnalysisError(
            f"{thing.name!r} is registered already, as {table[thing.name]}; choose another name"
        )
    table[thing.name] = thing
