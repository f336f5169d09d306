"""What the experiments beside the runs say of cause: read once for the headline, rung 4 and the section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from analysis.behaviour.effects import Used, effect_table, used_in
from analysis.behaviour.outcomes import OUTCOMES, Experiment, experiments_of, read_experiment
from analysis.reasoning.watched import has_turns
from analysis.rungs.rungs import Causal, caused

VERDICTS = {
    "used": "changes what it does",
    "not beyond controls": "is not told from its controls, and an effect of interest would have been found",
    "underpowered": "is not shown to do more than its controls, nor excluded to",
}
INNER = ("direction", "patch")
"""Kinds of arms that change activations."""
Read = tuple[Experiment, pl.DataFrame | None]
"""An experiment and its table of effects; None where acts were played out in place of arms."""


def read_experiments(runs: Sequence[Path]) -> list[Read]:
    """The finished experiments in the runs' folders, and their tables."""
    found = [read_experiment(path) for run in runs for path in experiments_of(run) if not has_turns(path)]
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
    for name in dict.fromkeys(used.experiment for used in found):
        mine = [used for used in found if used.experiment == name]
        unit = OUTCOMES.get(mine[0].outcome, mine[0].outcome)
        arms = "; ".join(
            f"{used.change or used.arm} {VERDICTS[used.verdict]}{_size(used)} ({used.contrast.value:+.3f} "
            f"[{used.contrast.low:+.3f}, {used.contrast.high:+.3f}])"
            for used in mine
        )
        said.append(
            f"In the experiment {name} ({unit}, beyond controls; {max(used.n_moments for used in mine):,} moments of "
            f"{max(used.n_games for used in mine):,} games): {arms}."
        )
    return " ".join(said)


def _size(used: Used) -> str:
    """Where a change is used: whether it is as large as the design calls of interest."""
    low, high = sorted((abs(used.contrast.low), abs(used.contrast.high)))
    if used.verdict != "used" or not used.smallest:
        return ""
    if high < used.smallest:
        return f", by less than the {used.smallest:g} of interest"
    return "" if low < used.smallest else f", by more than the {used.smallest:g} of interest"
