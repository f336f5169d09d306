"""Causal evidence from the experiments beside the runs: read once for the headline, rung 4 and the section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from analysis.effects.outcomes import OUTCOMES, Experiment, experiments_of, read_experiment
from analysis.effects.table import Used, effect_table, used_in
from analysis.reasoning.watched import has_turns
from analysis.rungs.rungs import Causal, caused

VERDICTS = {
    "used": "changes what it does",
    "not beyond controls": "is not told from its controls, and an effect of interest would have been found",
    "underpowered": "is not shown to do more than its controls, nor excluded to",
}
STRATEGIC = {
    "strategic": "says a thing the more the more it helps its side, beyond habit",
    "against its interest": "says a thing the less the more it helps its side, beyond habit",
    "not beyond habit": "does not choose what it says by what that gains, beyond habit",
    "underpowered": "is not shown to choose what it says by what that gains, nor excluded to",
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
    """The verdict of experiments that changed beliefs about another player: those whose moments are ballots and whose
    tested arms add, remove or exchange activations."""
    verdicts = []
    for one, table in experiments:
        inner = {arm["of"] for arm in one.arms if arm["kind"] in INNER}
        if table is not None and one.design["moments"]["kind"] == "ballot":
            verdicts += [used.verdict for used in used_in(one, table=table) if used.arm in inner]
    return caused(verdicts)


def causal_words(found: Sequence[Used], acts: pl.DataFrame | None = None) -> str:
    """The experiments' results in words: the experiment on most games in full, the number of used changes in the
    others, and whether players act strategically.

    acts: of experiments that played acts out (`analysis.behaviour.strategic.SLOPES`).
    """
    played = (
        [] if acts is None else [strategic_words(r) for r in acts.drop_nulls("slope").iter_rows(named=True)]
    )
    if not found:
        return (
            " ".join(played) or "No experiment was carried out on these games, so nothing here shows cause."
        )
    each = {
        name: [u for u in found if u.experiment == name]
        for name in dict.fromkeys(u.experiment for u in found)
    }
    first = max(each, key=lambda name: max(used.n_games for used in each[name]))
    mine = each.pop(first)
    unit = OUTCOMES.get(mine[0].outcome, mine[0].outcome)
    arms = "; ".join(
        f"{used.change or used.arm} {VERDICTS[used.verdict]}{_size(used)} ({used.contrast.value:+.3f} "
        f"[{used.contrast.low:+.3f}, {used.contrast.high:+.3f}])"
        for used in mine
    )
    moments, games = max(used.n_moments for used in mine), max(used.n_games for used in mine)
    drawn = f"{unit}, beyond controls; {moments:,} moments of {games:,} games"
    said = [f"In the experiment {first} ({drawn}): {arms}."]
    if each:
        counts = [f"{name} {sum(u.verdict == 'used' for u in us)} of {len(us)}" for name, us in each.items()]
        said.append(
            f"Changes that do something beyond their controls in other experiments: {', '.join(counts)}."
        )
    return " ".join([*said, *played])


def strategic_words(row: dict[str, Any]) -> str:
    """Whether one player acts strategically, from a row of `SLOPES` that has a slope."""
    lies = (
        f"; of its lies {row['helped']:.0%} help, {row['hurt']:.0%} hurt" if row["helped"] is not None else ""
    )
    return (
        f"As {row['faction']}, {row['agent']} {STRATEGIC[row['verdict']]} (slope {row['slope']:+.1f} "
        f"[{row['low']:+.1f}, {row['high']:+.1f}] log-odds for each unit of win probability{lies}; "
        f"{row['n_moments']:,} moments of {row['n_games']:,} games)."
    )


def _size(used: Used) -> str:
    """Where a change is used: whether it is as large as the design calls of interest."""
    low, high = sorted((abs(used.contrast.low), abs(used.contrast.high)))
    if used.verdict != "used" or not used.smallest:
        return ""
    if high < used.smallest:
        return f", by less than the {used.smallest:g} of interest"
    return "" if low < used.smallest else f", by more than the {used.smallest:g} of interest"
