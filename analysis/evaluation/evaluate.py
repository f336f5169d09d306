"""One target, evaluated: the probe, every baseline on the same folds, the increment, the null, the audits,
a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.targets import Target
from analysis.evaluation.audits import leakage, learning_curve, selectivity, site_map
from analysis.evaluation.baselines import Baseline, baselines
from analysis.probes.permutation import LayerNull, layer_null, units_of
from analysis.probes.probes import ProbeResult, check_classes, is_grouped, probe
from analysis.stats.bootstrap import Interval, auroc_interval, bootstrap_auroc, interval
from analysis.stats.metrics import brier, ece, log_loss, recall_at_fpr
from analysis.stats.splits import Folds, game_folds

MARGIN = 0.05
"""The smallest increment in AUROC that matters here; an interval that reaches it is called underpowered,
not null.
"""
LEVEL = 0.05
MIN_GAMES = 15
MIN_ROWS = 20


@dataclass(frozen=True)
class Settings:
    """How an evaluation is done; printed in the methods paragraph."""

    n_folds: int = 5
    n_permutations: int = 500
    n_boot: int = 2000
    max_rows: int = 60_000
    seed: int = 0
    site: str | None = None
    """Where what is held of others is read: the headline's site, named before anything is looked at; None: the first of
    `analysis.data.captures.HEADLINE` that was captured."""


@dataclass
class Score:
    """One line of the headline table."""

    name: str
    what: str
    kind: str
    """`probe`, `baseline`, `ceiling` or `control`."""
    auroc: Interval
    """The p is that of AUROC = .5."""
    increment: Interval | None = None
    """Probe minus this, paired over games."""


@dataclass
class Evaluation:
    """Everything that the report says about one target."""

    target: Target
    folds: Folds
    probe: ProbeResult
    layers: tuple[str, ...]
    """Names of the probed layers."""
    scores: list[Score]
    absent: list[str]
    best: str
    """Name of the best baseline."""
    increment: Interval
    null: LayerNull
    quality: dict[str, float]
    """log-loss, Brier, ECE, recall at 1% false positives of the probe."""
    leakage: pl.DataFrame
    selectivity: pl.DataFrame
    sites: pl.DataFrame
    learning: pl.DataFrame
    baseline_scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    adjusted_p: float = float("nan")
    """Of the increment, over all targets of the report (Holm); set by `adjust`."""

    @property
    def detectable(self) -> float:
        """The increment that would be found with 80% power at the 5% level, before Holm: 2.8 standard errors."""
        return 2.8 * (self.increment.high - self.increment.low) / (2 * 1.96)

    @property
    def verdict(self) -> str:
        """supported / not beyond baseline / underpowered."""
        return verdict(self.increment, self.adjusted_p, float(self.null.p[0]), self.target.n_games)


@dataclass(frozen=True)
class Skipped:
    """A target that could not be evaluated, and why."""

    target: Target
    reason: str
    verdict: str = "underpowered"


def verdict(
    increment: Interval, adjusted_p: float, null_p: float, n_games: int, margin: float = MARGIN
) -> str:
    """The three-way verdict.

    `supported`: the whole interval of the increment over the best baseline lies above 0, its adjusted p and
    the permutation null over layers are below .05. `underpowered`: not supported, but an increment of
    `margin` cannot be excluded. `not beyond baseline`: not supported, and it can.
    """
    if n_games >= MIN_GAMES and increment.low > 0 and adjusted_p < LEVEL and null_p < LEVEL:
        return "supported"
    if n_games < MIN_GAMES or not np.isfinite(increment.high) or increment.high >= margin:
        return "underpowered"
    return "not beyond baseline"


def evaluate(target: Target, settings: Settings | None = None) -> Evaluation | Skipped:
    """All numbers of one target; `Skipped` with a reason where the data do not allow a nested, grouped
    evaluation.
    """
    settings = settings or Settings()
    if not target.readouts:
        return Skipped(target, target.missing or "no activations were captured for it", "not tested")
    if not len(target.y):
        return Skipped(target, "no row of this run asks this question", "not tested")
    fewest = int(min(target.y.sum(), (1 - target.y).sum()))
    if target.n_games < MIN_GAMES or fewest < MIN_ROWS:
        return Skipped(
            target,
            f"{len(target.y):,} rows of {target.n_games} games with {fewest} of the rarer kind; below {MIN_GAMES} "
            f"games or {MIN_ROWS} rows of either kind every number would mislead, so play more games",
        )
    try:
        folds = game_folds(target.games, min(settings.n_folds, target.n_games), settings.seed)
        check_classes(target.y, folds)
    except ValueError as error:
        return Skipped(target, str(error))
    main = target.readouts[0]
    x = [main.layer(i) for i in main.probed]
    found = probe(x, target.y, folds, target.games)
    if not is_grouped(folds, target.games):
        raise AssertionError("game_folds returned folds that split a game")
    rivals, absent = baselines(target, folds, settings.seed)
    unit, unit_games, first = units_of(target.games, target.member)
    null = layer_null(x, target.y[first], unit, unit_games, folds, settings.n_permutations, settings.seed)
    scores, best, increment = _compare(target, folds, found, rivals, settings)
    rate = float(target.y.mean())
    best_layer = int(np.bincount(found.chosen_layer).argmax())
    return Evaluation(
        target, folds, found, tuple(main.layers[i] for i in main.probed), scores, absent, best, increment, null,
        {
            "log-loss": log_loss(target.y, found.scores),
            "log-loss of the base rate": log_loss(target.y, np.full(len(target.y), rate)),
            "Brier": brier(target.y, found.scores), "ECE": ece(target.y, found.scores),
            "recall at 1% FPR": recall_at_fpr(target.y, found.scores), "base rate": rate,
        },
        leakage(target, x[best_layer], folds, found, settings.seed, main.probed[best_layer]),
        selectivity(target, x, folds, null.observed[0], settings.seed),
        site_map(target, folds),
        learning_curve(target, x[best_layer], folds, settings.seed),
        {rival.name: rival.scores for rival in rivals},
    )  # fmt: skip


def _compare(
    target: Target, folds: Folds, found: ProbeResult, rivals: Sequence[Baseline], settings: Settings
) -> tuple[list[Score], str, Interval]:
    scores = [found.scores, *(rival.scores for rival in rivals)]
    moved = [found.training, *(rival.training for rival in rivals)]
    n = target.n_games
    values, samples = bootstrap_auroc(
        target.y, scores, target.games, folds.fold, settings.n_boot, settings.seed, moved
    )
    rows = [
        Score(
            "probe",
            "logistic, layer and penalty chosen inside",
            "probe",
            auroc_interval(samples[0], values[0], n_games=n),
        )
    ]
    for i, rival in enumerate(rivals, start=1):
        gain = interval(samples[0] - samples[i], values[0] - values[i], n_games=n)
        own = auroc_interval(samples[i], values[i], n_games=n)
        rows.append(Score(rival.name, rival.what, rival.kind, own, gain))
    best = max((row for row in rows if row.kind == "baseline"), key=lambda row: row.auroc.value)
    if best.increment is None:
        raise AssertionError("a baseline without an increment")
    return rows, best.name, best.increment
