"""The fight: does a dictionary add anything to simple methods on the same rows?

For each target and regime a probe of every source is fitted on the same splits, with all choices made inside the
training games: the residual stream, the dictionary's reconstruction and its error, the best k latents, the best k
principal components and coordinates of a random rotation, the dictionary of an untrained model, words, length, public
counts. The verdict is the gain of all simple methods and the latents together over all simple methods alone, both
stacked on scores of inner folds (`analysis.rungs.nested`), resampled over games, and adjusted over targets (Holm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.features.readers import KS, Columns, Read, Split, read
from analysis.features.regimes import REGIMES, Plan, splits_of
from analysis.rungs.nested import weighed
from analysis.rungs.within import within_pairs
from analysis.stats.bootstrap import Interval, auroc_interval, bootstrap_auroc, holm, interval
from analysis.stats.codes import codes_of
from analysis.stats.metrics import auroc
from analysis.stats.moments import Doubles

LATENTS, PROBE = "best k latents", "probe on the stream"
SURFACE = ("bag of words", "length", "public events")
SIMPLE = (*SURFACE, PROBE, "best k principal components", "best k of a random rotation")
"""The simple methods that a dictionary has to add to."""
MARGIN = 0.01
"""Smallest gain that matters: where the whole interval lies below it, the verdict is `no gain`."""
LEVEL = 0.05
FIGHT: dict[str, Any] = {
    "target": pl.String,
    "regime": pl.String,
    "source": pl.String,
    "auroc": pl.Float64,  # over pairs of rows of one split
    "low": pl.Float64,
    "high": pl.Float64,
    "within": pl.Float64,  # over pairs of rows of one decision
    "k": pl.Float64,  # columns read, mean over splits; null where all are
    "n_rows": pl.Int64,  # tested
    "n_positive": pl.Int64,
    "n_games": pl.Int64,
}
BY_K: dict[str, Any] = {
    "target": pl.String, "regime": pl.String, "source": pl.String, "k": pl.Int64, "auroc": pl.Float64,
}  # fmt: skip
VERDICTS: dict[str, Any] = {
    "target": pl.String,
    "regime": pl.String,
    "added": pl.String,  # what is added: the latents, or the probe
    "over": pl.String,  # what it is added to: `simple methods`, or `the surface`
    "without": pl.Float64,  # AUROC of `over` alone
    "gain": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "adjusted": pl.Float64,  # p adjusted over the targets of the regime (Holm)
    "verdict": pl.String,  # gain | no gain | loss | unclear
}


@dataclass(frozen=True)
class Question:
    """One target with all its sources."""

    name: str
    y: Doubles
    """`(n_rows,)` 0/1."""
    games: NDArray[Any]
    decisions: NDArray[np.int64]
    """Codes of the decisions of the rows."""
    sources: Sequence[Columns]
    """The verdict compares the sources named in `SIMPLE` and `LATENTS`; others are only reported."""
    shift: NDArray[np.bool_] | None = None
    """Rows that the last regime, the shift, tests."""
    shifted: str = ""
    """What the shift is, in words."""


@dataclass
class Outcome:
    """The tables of a fight."""

    fight: pl.DataFrame
    """Schema `FIGHT`."""
    by_k: pl.DataFrame
    """Schema `BY_K`."""
    verdicts: pl.DataFrame
    """Schema `VERDICTS`."""
    chosen: dict[str, list[int]] = field(default_factory=dict)
    """Target -> latents that were chosen on training games with full data, the most often chosen first."""

    def naming(self, shifts: Mapping[str, str]) -> Outcome:
        """The tables with the last regime named after its shift. shifts: target -> the shift in words."""
        told = pl.lit("shift, ") + pl.col("target").replace_strict(shifts, default="", return_dtype=pl.String)
        named = (
            pl.when(pl.col("regime") == "shift").then(told.str.strip_chars(", ")).otherwise(pl.col("regime"))
        )
        fight, by_k, verdicts = (
            table.with_columns(regime=named) for table in (self.fight, self.by_k, self.verdicts)
        )
        return Outcome(fight, by_k, verdicts, self.chosen)

    def joined(self, other: Outcome) -> Outcome:
        """The tables of both, which are of different regimes."""
        return Outcome(
            pl.concat([self.fight, other.fight]), pl.concat([self.by_k, other.by_k]),
            pl.concat([self.verdicts, other.verdicts]), self.chosen | other.chosen,
        )  # fmt: skip


def fight(
    questions: Sequence[Question], plan: Plan | None = None, regimes: Sequence[str] = REGIMES, n_boot: int = 1000,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:  # fmt: skip
    """The fight for all targets in all regimes. A regime that a target's rows do not allow is left out for this
    target."""
    plan = plan or Plan()
    lines: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    chosen: dict[str, list[int]] = {}
    for question in questions:
        for regime in regimes:
            splits = splits_of(regime, question.y, question.games, plan, question.shift)
            if not splits:
                continue
            reads = {s.name: [read(s, split) for split in splits] for s in question.sources}
            told = _Scored(question, splits, n_boot, plan.seed)
            lines += told.lines(regime, reads)
            curves += told.curves(regime, reads)
            verdicts += told.verdicts(regime, reads)
            if regime == "full" and LATENTS in reads:
                chosen[question.name] = _often(reads[LATENTS])
            say(f"{question.name}, {regime}: {len(splits)} splits, {len(told.y):,} rows tested")
    told_apart = adjusted(pl.DataFrame(verdicts, schema=VERDICTS))
    return Outcome(pl.DataFrame(lines, schema=FIGHT), pl.DataFrame(curves, schema=BY_K), told_apart, chosen)


class _Scored:
    """The test rows of one target and regime, and the statistics of scores on them."""

    def __init__(self, question: Question, splits: Sequence[Split], n_boot: int, seed: int) -> None:
        self.question, self.splits, self.n_boot, self.seed = question, splits, n_boot, seed
        rows = np.concatenate([split.test for split in splits])
        self.strata = np.concatenate([np.full(len(split.test), i) for i, split in enumerate(splits)])
        self.y, self.games = question.y[rows], question.games[rows]
        self.game = codes_of(self.games)
        self.decision = codes_of(self.strata, question.decisions[rows])
        self.n_games = int(self.game.max()) + 1

    def compared(self, scores: Sequence[Doubles]) -> tuple[Any, Any]:
        """AUROCs and their samples, on the same resampled games."""
        return bootstrap_auroc(self.y, scores, self.games, self.strata, self.n_boot, self.seed)

    def lines(self, regime: str, reads: dict[str, list[Read]]) -> list[dict[str, Any]]:
        """Rows of `FIGHT`."""
        scores = [np.concatenate([r.outer for r in found]) for found in reads.values()]
        values, samples = self.compared(scores)
        ks = {s.name: bool(s.ks) for s in self.question.sources}
        rows = []
        for (name, found), score, value, drawn in zip(reads.items(), scores, values, samples):
            held = auroc_interval(drawn, value, n_games=self.n_games)
            won, pairs = within_pairs(self.y, score, self.decision, self.game)
            rows.append(
                {
                    "target": self.question.name, "regime": regime, "source": name, "auroc": held.value,
                    "low": held.low, "high": held.high,
                    "within": float(won.sum() / pairs.sum()) if pairs.sum() else None,
                    "k": float(np.mean([r.k for r in found])) if ks[name] else None, "n_rows": len(self.y),
                    "n_positive": int(self.y.sum()), "n_games": self.n_games,
                }
            )  # fmt: skip
        return rows

    def curves(self, regime: str, reads: dict[str, list[Read]]) -> list[dict[str, Any]]:
        """Rows of `BY_K`: AUROC at every k, the penalty chosen inside."""
        rows = []
        for name, found in reads.items():
            for k in sorted(set.intersection(*(set(r.by_k) for r in found))):
                score = np.concatenate([r.by_k[k] for r in found])
                value = float(auroc(self.y, score, strata=self.strata))
                rows.append(
                    {"target": self.question.name, "regime": regime, "source": name, "k": k, "auroc": value}
                )
        return rows

    def verdicts(self, regime: str, reads: dict[str, list[Read]]) -> list[dict[str, Any]]:
        """Rows of `VERDICTS`, not adjusted yet."""
        simple, surface = [[name for name in names if name in reads] for names in (SIMPLE, SURFACE)]
        asked = [
            (LATENTS, "simple methods", simple), (LATENTS, "the surface", surface), (PROBE, "the surface", surface),
        ]  # fmt: skip
        asked = [(added, over, base) for added, over, base in asked if added in reads and base]
        stacks: dict[tuple[str, ...], Doubles] = {}
        for added, _, base in asked:
            for names in (tuple(base), (*base, added)):
                if names not in stacks:
                    stacks[names] = self._stacked([reads[name] for name in names])
        if not asked:
            return []
        values, samples = self.compared(list(stacks.values()))
        place = {names: i for i, names in enumerate(stacks)}
        rows = []
        for added, over, base in asked:
            a, b = place[*base, added], place[tuple(base)]
            gain = interval(samples[a] - samples[b], values[a] - values[b], n_games=self.n_games)
            rows.append(
                {
                    "target": self.question.name, "regime": regime, "added": added, "over": over,
                    "without": float(values[b]), "gain": gain.value, "low": gain.low, "high": gain.high, "p": gain.p,
                    "adjusted": None, "verdict": None,
                }
            )  # fmt: skip
        return rows

    def _stacked(self, sources: Sequence[list[Read]]) -> Doubles:
        parts = []
        for i, split in enumerate(self.splits):
            inner = np.stack([found[i].inner for found in sources], axis=1)
            outer = np.stack([found[i].outer for found in sources], axis=1)
            parts.append(weighed(inner, split.y, outer))
        return np.concatenate(parts)


def adjusted(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The verdicts with p adjusted over the targets of a regime, and their words."""
    parts = []
    for _, part in verdicts.group_by("regime", "added", "over", maintain_order=True):
        p = holm(part["p"].to_numpy())
        words = [
            _verdict(Interval(gain, low, high, 0.0), own)
            for gain, low, high, own in zip(part["gain"], part["low"], part["high"], p, strict=True)
        ]
        parts.append(part.with_columns(adjusted=pl.Series(p), verdict=pl.Series(words)))
    return pl.concat(parts) if parts else verdicts


def _verdict(gain: Interval, p: float) -> str:
    if p <= LEVEL and gain.value > 0:
        return "gain"
    if p <= LEVEL and gain.value < 0:
        return "loss"
    return "no gain" if gain.high < MARGIN else "unclear"


def _often(found: Sequence[Read], most: int = 10) -> list[int]:
    """Columns in the order of how often, and how early, splits chose them."""
    points: dict[int, float] = {}
    for r in found:
        for place, column in enumerate(r.chosen[:50]):
            points[int(column)] = points.get(int(column), 0.0) + 1 / (1 + place)
    return sorted(points, key=lambda column: -points[column])[:most]


__all__ = [
    "BY_K",
    "FIGHT",
    "KS",
    "LATENTS",
    "PROBE",
    "SIMPLE",
    "SURFACE",
    "VERDICTS",
    "Outcome",
    "Question",
    "fight",
]
