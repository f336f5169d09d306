"""Analysis of run folders: what players know, say and represent, compared with the truth.

    import analysis
    from harness import load_run

    run = load_run("runs/demo-1")
    analysis.labels(run)["speeches"]       # one row a speech: lies, honest mistakes, what was withheld
    analysis.subject_rows(run).frame       # one row a (viewer, decision, subject): truth, public counts, text
    analysis.targets(run)                  # the report's questions, with activations and everybody's beliefs
    analysis.evaluate(analysis.targets(run)[0]).rungs

These are the frames that the report is made of. `register` and `register_section` add a target, confound, probe or
section of one's own to it (docs/extending.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from analysis.data.frames import Rows
    from analysis.data.targets import Target
    from analysis.evaluation.evaluate import Evaluation, Settings, Skipped
    from analysis.evaluation.registry import NewBaseline, NewProbe, NewTarget
    from analysis.report.block import Block
    from analysis.report.registry import Material


def labels(run: Any) -> dict[str, pl.DataFrame]:
    """`statements`, `speeches` and `ballots` of all ended games (schemas in `analysis.data.labels`)."""
    from analysis.data.frames import logs_of
    from analysis.data.labels import label

    return label(logs_of(run))


def subject_rows(run: Any, about: str = "others", models_only: bool = True) -> Rows:
    """One row a viewer, decision and subject (schema `analysis.data.frames.ROWS`) with the lines it had read.

    about: `others`, or `self` for one row a decision. models_only: decisions of models alone, where there are any.
    """
    from analysis.data.frames import logs_of
    from analysis.data.frames import subject_rows as rows_of

    return rows_of(logs_of(run), models_only, "self" if about == "self" else "others")


def targets(run: Any, settings: Settings | None = None) -> list[Target]:
    """The report's questions about a run, with its activations and every source's beliefs, registered ones included."""
    from analysis.data.frames import Logs
    from analysis.evaluation.evaluate import Settings
    from analysis.evaluation.prepare import prepare
    from analysis.stats.threads import one_thread

    with one_thread():
        return prepare(Logs([("", run)]), settings or Settings()).targets


def evaluate(target: Target, settings: Settings | None = None) -> Evaluation | Skipped:
    """The probe, its baselines, and the five rungs of one target."""
    from analysis.evaluation.evaluate import evaluate as evaluate_one
    from analysis.stats.threads import one_thread

    with one_thread():
        return evaluate_one(target, settings)


def register(thing: NewBaseline | NewTarget | NewProbe) -> None:
    """Adds a target, confound or probe to every report of this process (`analysis.evaluation.registry`)."""
    from analysis.evaluation.registry import register as add

    add(thing)


def register_section(name: str, make: Callable[[Material], Block]) -> None:
    """Adds a section to every report of this process (`analysis.report.registry`)."""
    from analysis.report.registry import register_section as add

    add(name, make)


__all__ = ["evaluate", "labels", "register", "register_section", "subject_rows", "targets"]
