"""What the experiments beside the runs say of cause: read once for the headline, rung 4 and the section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from analysis.behaviour.effects import Used, effect_table, used_in
from analysis.behaviour.outcomes import OUTCOMES, Experiment, experiments_of, read_experiment
from analysis.rungs.rungs import Causal, caused

INNER = ("direction", "patch")
"""Kinds of arms that change activations."""
Read = tuple[Experiment, pl.DataFrame | None]
"""An experiment and its table of effects; None where acts were played out in place of arms."""


def read_experiments(runs: Sequence[Path]) -> list[Read]:
    """The finished experiments in the runs' folders, and their tables."""
    found = [read_experiment(path) for run in runs for path in experiments_of(run)]
    return [(one, None if one.strategic else effect_table(one)) for one in found]


def caused_by(experiments: Sequence[Read]) -> Causal:
    """What the experiments that changed what is held of another player say: those whose moments are ballots and whose
    tested arms add, remove or exchange activations."""
    verdicts = []
    for one, table in experiments:
        inner = {arm["of"] for arm in one.arms if arm["kind"] in INNER}
        if table is not None and one.design["moments"]["kind"] == "ballot":
            verdicts += [used.verdict for used in used_in(one, table=table) if used.arm in inner]
    return caused(verdicts)


def causal_words(found: Sequence[Used]) -> str:
    """What the experiments beside the runs say of cause, in a sentence each."""
    if not found:
        return "No experiment was carried out on these games, so nothing here shows cause."
    said = []
    for used in found:
        i = used.contrast
        text = {
            "used": "changes what it does",
            "not beyond controls": "is not told from its controls, and an effect of interest would have been found",
            "underpowered": "is not shown to do more than its controls, nor excluded to",
        }[used.verdict]
        unit = OUTCOMES.get(used.outcome, used.outcome)
        said.append(
            f"In the experiment {used.experiment}, {used.arm} {text} ({unit} {i.value:+.3f} [{i.low:+.3f}, "
            f"{i.high:+.3f}] beyond controls, {used.n_moments:,} moments of {used.n_games:,} games)."
        )
    return " ".join(said)
