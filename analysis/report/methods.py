"""The methods paragraph and the list of what is absent, written from what was actually done."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from analysis.evaluation.evaluate import MARGIN, Evaluation, Settings, Skipped
from analysis.stats.ridge import PENALTIES


def methods(done: Sequence[Evaluation], settings: Settings) -> list[str]:
    """Paragraphs: splits and fits, uncertainty, rows, software."""
    if not done:
        return [
            "No target could be evaluated, so no method was applied; the tables above are counts of the log."
        ]
    folds, sites = done[0].folds, {e.target.activations[0].site for e in done}
    one_fold = all(e.probe.grouped for e in done)
    rows = max(len(e.target.y) for e in done)
    splits = [
        f"Splits: {folds.how}; {'every game lies in one fold' if one_fold else 'UNGROUPED: claims nothing'}.",
        f"Layer and penalty ({', '.join(f'{p:g}' for p in PENALTIES)} per row) were chosen with",
        "ridge on the other",
        "folds alone, each held out in turn: the penalty by squared error, the layer by AUROC. The",
        "headline is a",
        "logistic probe of the chosen layer with the penalty of equal shrinkage; features are",
        "standardised on training rows.",
        "No PCA. AUROC compares rows of one held-out fold only and averages over pairs.",
    ]
    uncertainty = [
        f"Uncertainty: bootstrap over games, {settings.n_boot:,} resamples, expanded percentiles (Hesterberg 2015),",
        "paired for increments; the games tested are drawn anew, and apart from them the games trained on (one Newton",
        "step from each fit, all folds at one of the layers that they chose); two-sided p-values of the increments",
        f"adjusted by Holm over {len(done)} targets. Null: labels permuted among the players of each game,",
        f"{settings.n_permutations:,} times, everything refitted, the maximum over layers kept; where the label varies",
        "by speech, speeches are permuted within a game instead.",
    ]
    seen = [
        "Rows: living subjects whose role was neither told to the viewer nor follows from what it",
        "was told, so that",
        "viewers are of the village. An increment is over baselines that count everything public",
        "up to the decision.",
    ]
    if "belief_mention" in sites:
        seen.append(
            "At site belief_mention the probe is one direction for all subjects, at the subject's name in the "
            "question what its role is, asked on a fork of the context that never entered the game."
        )
    if "mention" in sites:
        seen.append(
            "At site mention the probe is one direction for all subjects, where the subject's name was read last: "
            "it can have seen less than the baselines."
        )
    if rows > 0.95 * settings.max_rows:
        seen.append(
            f"At most about {settings.max_rows:,} rows a target: decisions were dropped at random, "
            "the same share of each game."
        )
    packages = ("wolfscope", "numpy", "scikit-learn", "polars")
    software = f"Software: {', '.join(f'{name} {version(name)}' for name in packages)}; seed {settings.seed}."
    return [" ".join(splits), " ".join(uncertainty), " ".join(seen), software]


def missing(evaluations: Sequence[Evaluation | Skipped]) -> list[str]:
    """What a reader may look for and will not find, and why."""
    absent = dict.fromkeys(text for e in evaluations if isinstance(e, Evaluation) for text in e.absent)
    skipped = [f"{e.target.name}: {e.reason}" for e in evaluations if isinstance(e, Skipped)]
    partial = [
        f"{e.target.name}: {e.target.missing}"
        for e in evaluations
        if isinstance(e, Evaluation) and e.target.missing
    ]
    return [
        *skipped,
        *partial,
        *absent,
        *_unchanged(evaluations),
        f"claims about increments below {MARGIN} AUROC: too small to matter here",
    ]


def _unchanged(evaluations: Sequence[Evaluation | Skipped]) -> list[str]:
    have = {r.variant for e in evaluations for r in e.target.activations} - {"original", "untrained"}
    return [] if have else ["the role line removed or swapped: no capture with changed contexts in this run"]


def version(package: str) -> str:
    """The installed version, or that there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
