"""Evaluates one target: the probe, its baselines on the same folds, the rungs, the null, the audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.targets import Target
from analysis.evaluation.audits import leakage, learning_curve, selectivity, site_map
from analysis.evaluation.baselines import Baseline, Confounds, beside, confounds, shuffled_roles
from analysis.probes.choice import Factorised
from analysis.probes.permutation import LayerNull, layer_null, units_of
from analysis.probes.probes import ProbeResult, check_classes, is_grouped, probe
from analysis.rungs.climb import climb
from analysis.rungs.nested import TREES
from analysis.rungs.rungs import LEVEL, MARGIN, NAMES, Evidence, Rung, alarmed, increment, reached, rungs_of
from analysis.rungs.within import Resamples, within_pairs
from analysis.stats.bootstrap import Interval, auroc_interval, bootstrap_auroc
from analysis.stats.codes import codes_of
from analysis.stats.metrics import brier, ece, log_loss, recall_at_fpr
from analysis.stats.power import findable
from analysis.stats.splits import Folds, game_folds

MIN_GAMES = 15
MIN_ROWS = 20


@dataclass(frozen=True)
class Settings:
    """Settings of an evaluation; the methods paragraph prints them."""

    n_folds: int = 5
    n_permutations: int = 500
    n_boot: int = 2000
    max_rows: int = 60_000
    seed: int = 0
    site: str | None = None
    """The headline's site for beliefs about others, fixed before looking at results; None: the first captured site of
    `analysis.data.captures.HEADLINE`."""
    trees: int = TREES
    """Trees of each boosted fit on public features."""
    audits: bool = True
    """Whether leaks, selectivity, sites and the learning curve are computed; planted data do not need them."""
    rung_games: int = 100
    """At most this many games of each model are followed by the observers of every rung of evidence; each rung costs a
    pass."""
    character: bool = True
    """Whether an observer under one character fitted on other games follows the games; planted data do not need it."""


@dataclass
class Score:
    """One line of the table of sources."""

    name: str
    what: str
    kind: str
    """`probe`, `confound`, `activation`, `surface` (all confounds together), `together` (those and the probe),
    `stated`, `ceiling` or `control`."""
    auroc: Interval
    """AUROC over pairs of rows of one held-out fold; p tests AUROC = .5."""
    within: Interval | None = None
    """AUROC over pairs of rows of one decision, where decisions have several."""


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
    evidence: Evidence
    null: LayerNull
    quality: dict[str, float]
    """log-loss, Brier, ECE, recall at 1% false positives of the probe."""
    leakage: pl.DataFrame
    selectivity: pl.DataFrame
    sites: pl.DataFrame
    learning: pl.DataFrame
    beside: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """The scores `(n_rows,)` of every baseline, by name."""
    factorised: Factorised | None = None
    """The probe's training sets, for other probes of the same rows."""
    features: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 0)))
    """`(n_rows, d)`: public and incidental features."""
    adjusted: dict[int, float] = field(default_factory=dict)
    """p of each rung over all targets of the report (Holm), set by the report."""

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The five rungs."""
        return rungs_of(self.evidence, self.adjusted)

    @property
    def verdict(self) -> str:
        """The highest rung that holds with all below it, in words; `more than public` where rung 5 gives alarm."""
        found = self.rungs
        if alarmed(found):
            return NAMES[5]
        top = reached(found)
        return NAMES[top] if top else "not present" if found[0].verdict == "no" else "unclear"

    @property
    def detectable(self) -> float:
        """The nested increment that would be found with 80% power at the 5% level, before Holm."""
        i = increment(self.evidence)
        return findable(i.low, i.high)


@dataclass(frozen=True)
class Skipped:
    """A target that could not be evaluated, and why."""

    target: Target
    reason: str
    verdict: str = "not tested"


@dataclass(frozen=True)
class Begun:
    """The part of a target's evaluation that needs no beliefs: it is computed while observers still follow the
    games."""

    target: Target
    folds: Folds
    sets: Factorised
    found: ProbeResult
    null: LayerNull
    best: int
    """Position of the layer that was chosen most often."""
    confounds: Confounds
    shuffled: NDArray[np.float64]
    leakage: pl.DataFrame
    selectivity: pl.DataFrame
    sites: pl.DataFrame
    learning: pl.DataFrame


def evaluate(target: Target, settings: Settings | None = None) -> Evaluation | Skipped:
    """All numbers of one target; `Skipped` with a reason where the data do not allow a nested, grouped
    evaluation.
    """
    settings = settings or Settings()
    begun = begin(target, settings)
    return begun if isinstance(begun, Skipped) else finish(begun, target, settings)


def too_few(y: NDArray[np.float64], games: NDArray[Any]) -> str:
    """Why rows with these 0/1 labels are too few to be evaluated, in words; empty where they are enough."""
    n_games, fewest = len(np.unique(games)), int(min(y.sum(), (1 - y).sum())) if len(y) else 0
    if n_games >= MIN_GAMES and fewest >= MIN_ROWS:
        return ""
    return f"{n_games} games with {fewest} rows of the rarer kind"


def folds_of(part: Target, settings: Settings) -> Folds | str:
    """Folds by game of rows that are enough to be evaluated, or why they are not."""
    if few := too_few(part.y, part.games):
        return few
    folds = game_folds(part.games, min(settings.n_folds, part.n_games), settings.seed)
    try:
        check_classes(part.y, folds)
    except ValueError as error:
        return str(error)
    return folds


def begin(target: Target, settings: Settings) -> Begun | Skipped:
    """The probe, the null, the audits, and the fits on public or incidental features; `Target.stated` is not used."""
    if not target.activations:
        return Skipped(target, target.missing or "no activations were captured for it")
    if not len(target.y):
        return Skipped(target, "no row of this run asks this question")
    fewest = int(min(target.y.sum(), (1 - target.y).sum()))
    if target.n_games < MIN_GAMES or fewest < MIN_ROWS:
        return Skipped(
            target,
            f"{len(target.y):,} rows of {target.n_games} games with {fewest} of the rarer kind; below {MIN_GAMES} "
            f"games or {MIN_ROWS} rows of either kind every number would mislead, so play more games",
            "too few games",
        )
    try:
        folds = game_folds(target.games, min(settings.n_folds, target.n_games), settings.seed)
        check_classes(target.y, folds)
    except ValueError as error:
        return Skipped(target, str(error), "too few games")
    main = target.activations[0]
    x = [main.layer(i) for i in main.probed]
    sets = Factorised(x, target.y, folds)
    found = probe(x, target.y, folds, target.games, factorised=sets)
    if not is_grouped(folds, target.games):
        raise AssertionError("game_folds returned folds that split a game")
    unit, unit_games, first = units_of(target.games, target.member)
    null = layer_null(x, target.y[first], unit, unit_games, folds, settings.n_permutations, settings.seed)
    best = found.place
    audits, empty = settings.audits, pl.DataFrame()
    return Begun(
        target, folds, sets, found, null, best, confounds(target, folds, settings.seed, trees=settings.trees),
        shuffled_roles(target, folds, x[best], settings.seed),
        leakage(target, x[best], folds, found, settings.seed, main.probed[best]) if audits else empty,
        selectivity(target, x, folds, null.observed[0], settings.seed) if audits else empty,
        site_map(target, folds) if audits else empty,
        learning_curve(target, x[best], folds, settings.seed) if audits else empty,
    )  # fmt: skip


def finish(begun: Begun, target: Target, settings: Settings) -> Evaluation:
    """Completes the evaluation. `target` has the same rows as in `begin`, now with the beliefs of all sources."""
    folds, found, null = begun.folds, begun.found, begun.null
    main, shown = target.activations[0], beside(target, begun.confounds)
    evidence = climb(
        target.y, target.games, target.decisions, folds, begun.sets.layers[begun.best], found, shown.sources,
        float(null.p[0]), settings.n_boot, settings.seed,
    )  # fmt: skip
    rate = float(target.y.mean())
    return Evaluation(
        target, folds, found, tuple(main.layers[i] for i in main.probed),
        _compare(target, folds, found, shown.baselines, evidence, begun.shuffled, settings), shown.absent, evidence,
        null,
        {
            "log-loss": log_loss(target.y, found.scores),
            "log-loss of the base rate": log_loss(target.y, np.full(len(target.y), rate)),
            "Brier": brier(target.y, found.scores), "ECE": ece(target.y, found.scores),
            "recall at 1% FPR": recall_at_fpr(target.y, found.scores), "base rate": rate,
        },
        begun.leakage, begun.selectivity, begun.sites, begun.learning,
        {b.name: b.scores for b in shown.baselines}, begun.sets, begun.confounds.features,
    )  # fmt: skip


def _compare(
    target: Target, folds: Folds, found: ProbeResult, rivals: Sequence[Baseline], evidence: Evidence,
    shuffled: NDArray[np.float64], settings: Settings,
) -> list[Score]:  # fmt: skip
    """The table of sources, each pooled and within a decision."""
    scores = [found.scores, *(rival.scores for rival in rivals)]
    moved = [found.training, *(rival.training for rival in rivals)]
    n = target.n_games
    values, samples = bootstrap_auroc(
        target.y, scores, target.games, folds.fold, settings.n_boot, settings.seed, moved
    )
    game, decision = codes_of(target.games), target.decisions
    draw = Resamples(n, settings.n_boot, settings.seed)

    def within(score: NDArray[np.float64]) -> Interval | None:
        if not evidence.within_decisions:
            return None
        value, drawn = draw.ratio(*within_pairs(target.y, score, decision, game))
        return draw.interval(drawn, value, 0.5)

    heads = [("probe", "logistic, layer and penalty chosen inside", "probe")]
    heads += [(rival.name, rival.what, rival.kind) for rival in rivals]
    rows = [
        Score(*head, auroc_interval(samples[i], values[i], n_games=n), within(scores[i]))
        for i, head in enumerate(heads)
    ]
    low, high = np.quantile(shuffled, [0.025, 0.975])
    spread = Interval(float(shuffled.mean()), float(low), float(high), float("nan"))
    what = f"the probe trained on labels permuted within each game: mean of {len(shuffled)}, 95% of them in between"
    rows.append(Score("shuffled roles", what, "control", spread))
    return rows


__all__ = [
    "LEVEL",
    "MARGIN",
    "MIN_GAMES",
    "MIN_ROWS",
    "Begun",
    "Evaluation",
    "Score",
    "Settings",
    "Skipped",
    "begin",
    "evaluate",
    "finish",
]
