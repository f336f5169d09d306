"""The rungs of the headline target for each level of a factor, to show what pooling would hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.data.levels import OF_PLAYERS, levels_of
from analysis.evaluation.evaluate import Evaluation, Settings, Skipped, evaluate
from analysis.evaluation.prepare import Prepared
from analysis.stats.errors import AnalysisError


def by_factor(
    prepared: Prepared, runs: Sequence[tuple[str, Any]], factor: str, settings: Settings
) -> list[tuple[str, Evaluation | Skipped]]:
    """(level, its evaluation without audits), levels sorted. Raises AnalysisError for a factor that does not exist."""
    if not prepared.targets:
        raise AnalysisError(f"no question could be asked of these games, so none by {factor}")
    target = prepared.targets[0]
    if factor in OF_PLAYERS:
        labels = target.frame[factor].fill_null("none").to_numpy()
    else:
        by_game = levels_of(runs, factor)
        labels = np.array([by_game[str(game)] for game in target.games], dtype=object)
    quick = replace(settings, audits=False)
    found = []
    for level in sorted(set(labels.tolist())):
        part = target.take(np.flatnonzero(labels == level))
        found.append((str(level), evaluate(part, quick)))
    return found
