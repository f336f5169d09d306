"""Does a probe that was fitted on one game hold in another, and for whom?

A probe learns to tell two kinds of rows of one game apart. It then scores every row of every game, rows of further
kinds among them (a good player who has to hide), and each contrast between kinds has an AUROC. In its own game each row
is scored by the fit that held its game out; layer and penalty are chosen on the training games alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.evaluation.evaluate import MIN_GAMES, MIN_ROWS, too_few
from analysis.probes.choice import Factorised
from analysis.probes.probes import ProbeResult, check_classes, probe
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc
from analysis.stats.metrics import cosine
from analysis.stats.moments import project
from analysis.stats.splits import Folds, game_folds

N_FOLDS = 5
ACROSS: dict[str, Any] = {
    "question": pl.String,
    "source": pl.String,  # what is read: the model's activations, an untrained model's, or public counts
    "train": pl.String,  # the game that the probe was fitted on
    "test": pl.String,  # the game that it is read in
    "positive": pl.String,  # the contrast: kind of rows with the higher score, where the probe holds
    "negative": pl.String,
    "auroc": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,  # of AUROC = .5, over games
    "cosine": pl.Float64,  # between the two games' differences of means at the layer; null in its own game
    "layer": pl.String,
    "n_rows": pl.Int64,  # of the contrast
    "n_games": pl.Int64,
}


@dataclass(frozen=True)
class Group:
    """The rows of one question in one game."""

    question: str
    source: str
    game: str
    layers: tuple[NDArray[Any], ...]
    """Each `(n_rows, d)`."""
    names: tuple[str, ...]
    """Of the layers."""
    kinds: NDArray[Any]
    """`(n_rows,)` what each row is, in words."""
    games: NDArray[Any]
    """`(n_rows,)` game ids."""
    learned: tuple[str, str]
    """The kinds that a probe learns to tell apart, the positive one first."""
    contrasts: tuple[tuple[str, str], ...] = ()
    """Further pairs of kinds whose scores are compared."""

    @property
    def y(self) -> NDArray[np.float64]:
        """`(n_rows,)`: 1 and 0 for the kinds that are learned, NaN for others."""
        positive, negative = self.learned
        return np.where(self.kinds == positive, 1.0, np.where(self.kinds == negative, 0.0, np.nan))

    def too_small(self) -> str:
        """Why no probe can be fitted, in words; empty where one can."""
        known = np.isfinite(self.y)
        if few := too_few(self.y[known], self.games[known]):
            return (
                f"{self.game}, {self.question} ({self.source}): {few}; at least {MIN_GAMES} games and {MIN_ROWS} rows "
                "are needed"
            )
        return ""


class Learned(NamedTuple):
    """The probe of one group."""

    group: Group
    found: ProbeResult
    folds: Folds
    """Of all rows of the group."""
    scores: NDArray[np.float64]
    """`(n_rows,)` of the group's own rows, each by a fit without its game."""
    w: NDArray[np.float64]
    b: NDArray[np.float64]
    """The fit on all rows, at `found.place`: `(d, 1)` and `(1,)`."""


def across(groups: Sequence[Group], n_boot: int = 1000, seed: int = 0) -> tuple[pl.DataFrame, list[str]]:
    """Every probe of the groups read in every group of the same question and source (schema `ACROSS`), and which
    groups are too small, in words.

    Raises ValueError where groups of one question and source have layers of other names or widths.
    """
    rows: list[dict[str, Any]] = []
    small: list[str] = []
    for question, source in dict.fromkeys((g.question, g.source) for g in groups):
        same = [g for g in groups if (g.question, g.source) == (question, source)]
        shapes = {tuple((n, x.shape[1]) for n, x in zip(g.names, g.layers, strict=True)) for g in same}
        if len(shapes) > 1:
            raise ValueError(
                f"{question} ({source}): the games' layers differ in name or width: {sorted(shapes)}"
            )
        usable = []
        for group in same:
            if why := group.too_small():
                small.append(why)
            else:
                usable.append(group)
        learned = [learn(group, seed) for group in usable]
        for trained in learned:
            for tested in learned:
                rows += _contrasts(trained, tested, n_boot, seed)
    return pl.DataFrame(rows, schema=ACROSS), small


def learn(group: Group, seed: int = 0) -> Learned:
    """The probe of a group and its own rows' scores. Raises ValueError where a training set would hold one class."""
    folds = game_folds(group.games, N_FOLDS, seed)
    known = np.isfinite(group.y)
    y = group.y[known]
    inner = replace(folds, fold=folds.fold[known])
    check_classes(y, inner)
    sets = Factorised([x[known] for x in group.layers], y, inner)
    found = probe(sets.layers, y, inner, group.games[known], "ridge", factorised=sets)
    scores = np.empty(len(group.kinds))
    for fold, (layer, penalty) in enumerate(zip(found.chosen_layer, found.chosen_penalty, strict=True)):
        rows = np.flatnonzero(folds.fold == fold)
        trained = sets.without(layer, fold)
        scores[rows] = project(group.layers[layer][rows], *trained.ridge(penalty * trained.n))[:, 0]
    trained = sets.without(found.place)
    return Learned(group, found, folds, scores, *trained.ridge(found.penalty * trained.n))


def _contrasts(trained: Learned, tested: Learned, n_boot: int, seed: int) -> list[dict[str, Any]]:
    group, own = tested.group, trained is tested
    x = group.layers[trained.found.place]
    scores = tested.scores if own else project(x, trained.w, trained.b)[:, 0]
    rows = []
    for positive, negative in dict.fromkeys((group.learned, *group.contrasts)):
        at = np.flatnonzero((group.kinds == positive) | (group.kinds == negative))
        truth = (group.kinds[at] == positive).astype(float)
        if not 0 < truth.sum() < len(truth):
            continue
        main = own and (positive, negative) == group.learned
        values, samples = bootstrap_auroc(
            truth, [scores[at]], group.games[at], tested.folds.fold[at] if own else None, n_boot, seed,
            [tested.found.training] if main else (),
        )  # fmt: skip
        n_games = len(np.unique(group.games[at]))
        i = auroc_interval(samples[0], values[0], n_games=n_games)
        turned = not own and (positive, negative) == group.learned and x.shape[1] > 1
        rows.append(
            {
                "question": group.question, "source": group.source, "train": trained.group.game, "test": group.game,
                "positive": positive, "negative": negative, "auroc": i.value, "low": i.low, "high": i.high, "p": i.p,
                "cosine": _cosine(trained, tested) if turned else None, "layer": group.names[trained.found.place],
                "n_rows": len(at), "n_games": n_games,
            }
        )  # fmt: skip
    return rows


def _cosine(trained: Learned, tested: Learned) -> float:
    """Between the differences of the means of the learned kinds, at the training group's layer."""
    a, b = (
        g.layers[trained.found.place][g.y == 1].mean(axis=0, dtype=np.float64)
        - g.layers[trained.found.place][g.y == 0].mean(axis=0, dtype=np.float64)
        for g in (trained.group, tested.group)
    )
    return cosine(a, b)


def lines(table: pl.DataFrame) -> list[str]:
    """The table in words, one line a contrast, by question and source."""
    found: list[str] = []
    for (question, source), part in table.group_by("question", "source", maintain_order=True):
        found += ["", f"{question} ({source})"]
        for r in part.iter_rows(named=True):
            where = "in its own game, held out" if r["train"] == r["test"] else f"read in {r['test']}"
            cosine = "" if r["cosine"] is None else f", cosine of the directions {r['cosine']:+.2f}"
            found.append(
                f"  probe of {r['train']}, {where}: {r['positive']} above {r['negative']} AUROC {r['auroc']:.3f} "
                f"[{r['low']:.3f}, {r['high']:.3f}] ({r['n_rows']:,} rows, {r['n_games']:,} games, layer {r['layer']}"
                f"{cosine})"
            )
    return found[1:]
