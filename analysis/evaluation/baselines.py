"""Baselines of a probe: scores of the same rows on the same folds.

`confound`: fits on public or incidental features, each with its penalty chosen inside, as the probe's is; together they
are the surface that a probe must add to. `activation`: the token embeddings and an untrained model, which are confounds
too. `stated`: what the model answers when asked. `ceiling`: ideal readers, which a probe is compared with and not meant
to beat. `control`: the probe on permuted roles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.data.frames import counts_in
from analysis.data.targets import Target
from analysis.data.words import word_features
from analysis.evaluation.registry import BASELINES
from analysis.probes.permutation import NULL_PENALTY, permute_within_games, units_of
from analysis.probes.probes import Nested, probe
from analysis.rungs.climb import Sources
from analysis.rungs.nested import TREES, boosted, log_odds
from analysis.stats.codes import codes_of
from analysis.stats.logistic import probabilities
from analysis.stats.metrics import auroc
from analysis.stats.moments import Moments, project
from analysis.stats.remember import remembered
from analysis.stats.splits import Folds

CEILINGS = ("exact", "scripted policies", "fitted")
"""Sources of belief that infer as an ideal reader would, the best informed first."""
STATED = ("stated", "stated_words")
NAMES = {
    "exact": "exact posterior",
    "scripted policies": "scripted-policy posterior",
    "fitted": "fitted observer",
    "rules": "rules observer",
    "stated": "stated belief",
    "stated_words": "stated belief, in words",
}
"""Names of the sources of belief in the tables."""
PERMUTATIONS = 60
"""Number of permuted role assignments that the control is averaged over."""


@dataclass(frozen=True)
class Baseline:
    """One source's out-of-fold scores."""

    name: str
    scores: NDArray[np.float64]
    """`(n_rows,)`."""
    what: str
    """Its input, in words."""
    kind: str
    """`confound`, `activation`, `stated`, `ceiling`."""
    nested: Nested
    training: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    """Deviations of its AUROC when training games are redrawn (`training_variance.training_draws`)."""


@dataclass(frozen=True)
class Beside:
    """All baselines of one target's probe."""

    baselines: list[Baseline]
    absent: list[str]
    """Baselines that are missing, and why."""
    sources: Sources


@dataclass(frozen=True)
class Confounds:
    """The fits on public or incidental features."""

    found: list[Baseline]
    read: list[Baseline]
    """The token embeddings and an untrained model, where they were captured."""
    absent: list[str]
    features: NDArray[Any]
    coded: NDArray[Any]
    """The features of the fits, as in `Sources`."""
    n_folds: int
    trees: int


def confounds(
    target: Target, folds: Folds, seed: int = 0, max_words: int = 600, trees: int = TREES
) -> Confounds:
    """All confounds that the target has data for, those registered from outside among them."""
    frame, y, k = target.frame, target.y, folds.n_folds
    absent: list[str] = []
    turn = np.hstack(
        [_one_hot(frame["day"]), _one_hot(frame["kind"]), frame.select("turn", "n_living").to_numpy()]
    )
    length = frame.select("length", pl.col("length").log1p().alias("log")).to_numpy()
    public = np.hstack([frame.select(counts_in(frame)).to_numpy(), turn])
    seat, name, rules = _one_hot(frame["subject"]), _one_hot(frame["name"]), target.p_rules
    everything = np.hstack([public, seat, name, length, log_odds(rules)[:, None]]).astype(np.float32)
    codes = [
        codes_of(frame[column].to_numpy())
        for column in ("day", "kind", "turn", "n_living", "subject", "name")
    ]
    coded = np.column_stack(
        [frame.select(counts_in(frame)).to_numpy(), *codes, frame["length"].to_numpy(), rules]
    )
    by_trees = boosted(coded, y, folds, seed, trees=trees)
    given = Nested.given(log_odds(rules), k)
    found = [
        _fitted(target, folds, "seat", seat, "the subject's seat"),
        _fitted(target, folds, "name", name, "the subject's name"),
        _fitted(target, folds, "turn", turn, "day, kind of decision, decisions made, number of living players"),
        _fitted(target, folds, "length", length, "how many records the viewer has read"),
        _fitted(
            target, folds, "public events", public,
            "counts of accusations, defences, ballots, claims, reports, reveals",
        ),
        Baseline(
            "public events, boosted", probabilities(by_trees.outer), "the same with seat, name, turn, length, in trees",
            "confound", by_trees,
        ),
        Baseline(
            "rules posterior", rules, "own card, private results and reveals, counted; no behaviour", "confound", given
        ),
    ]  # fmt: skip
    words = word_features(target, max_words)
    if words is None:
        absent.append("TF-IDF: fewer than three lines speak of a subject")
    else:
        found.append(
            _fitted(
                target,
                folds,
                "TF-IDF",
                words,
                "words and word pairs of the lines about the subject it had read",
            )
        )
    for key, add in BASELINES.items():
        found.append(_fitted(target, folds, key, np.asarray(add.features(target)), add.what))
    return Confounds(found, _read(target, folds, absent), absent, everything, coded, k, trees)


def beside(target: Target, given: Confounds) -> Beside:
    """All baselines of the target's probe: the confounds and the beliefs of all sources."""
    absent = list(given.absent)
    beliefs = _beliefs(target, given.n_folds, absent)
    ceilings = sorted((b for b in beliefs if b.kind == "ceiling"), key=_place)
    stated = next((b for b in beliefs if b.kind == "stated"), None)
    sources = Sources(
        [b.nested for b in (*given.found, *given.read) if np.ptp(b.nested.outer) > 0], given.features, given.coded,
        next((b.scores for b in given.read if b.name == "untrained model"), None),
        tuple((b.name, b.scores) for b in ceilings), bool(ceilings) and ceilings[0].name == NAMES["exact"],
        None if stated is None else stated.scores,
        target.note or ("no ideal reader follows this question" if not target.role else "no game could be followed"),
        target.chose, target.no_use, target.choices, given.trees,
    )  # fmt: skip
    return Beside([*given.found, *given.read, *beliefs], absent, sources)


def _place(b: Baseline) -> int:
    return [NAMES[source] for source in CEILINGS].index(b.name)


def _fitted(target: Target, folds: Folds, name: str, features: NDArray[Any], what: str) -> Baseline:
    fit = remembered(probe)(features.astype(np.float32), target.y, folds, target.games, "logistic")
    return Baseline(name, fit.scores, what, "confound", fit.nested, fit.training)


def _beliefs(target: Target, n_folds: int, absent: list[str]) -> list[Baseline]:
    """The sources of belief that cover at least half of the rows; the rules' belief fills their gaps."""
    found = []
    for source, p in target.stated.items():
        covered = float(np.isfinite(p).mean())
        if covered < 0.5:
            absent.append(f"belief '{source}': covers {covered:.0%} of the rows, at least half are needed")
            continue
        filled = np.where(np.isfinite(p), p, target.p_rules)
        kind = "ceiling" if source in CEILINGS else "stated"
        what = f"source '{source}', covering {covered:.0%} of the rows"
        if source in CEILINGS and target.prior:
            what += f", prior over characters: {target.prior}"
        nested = Nested.given(log_odds(filled), n_folds)
        found.append(Baseline(NAMES.get(source, f"{source} belief"), filled, what, kind, nested))
    if not set(STATED) & set(target.stated) and target.role:
        absent.append("stated belief: none was asked for in this run")
    if target.note:
        absent.append(f"posterior of known policies: {target.note}")
    return found


def _read(target: Target, folds: Folds, absent: list[str]) -> list[Baseline]:
    """The token embeddings and an untrained model, where they were captured."""
    found: list[Baseline] = []
    if not target.activations:
        return found
    main, y, games = target.activations[0], target.y, target.games

    def read(name: str, layers: list[NDArray[Any]], what: str) -> None:
        fit = probe(layers, y, folds, games)
        found.append(Baseline(name, fit.scores, what, "activation", fit.nested, fit.training))

    if "embed" in main.layers:
        read(
            "embedding layer",
            [main.layer(main.layers.index("embed"))],
            f"the token embeddings at site {main.site}",
        )
    else:
        absent.append("embedding layer: not among the captured layers")
    untrained = next((r for r in target.activations if r.variant == "untrained"), None)
    if untrained is None or (untrained.at < 0).any():
        absent.append("untrained model: no second capture with re-initialised weights of all these rows")
    else:
        layers = [untrained.layer(i) for i in untrained.probed]
        read("untrained model", layers, "the same architecture with random weights, best layer inside")
    return found


def shuffled_roles(target: Target, folds: Folds, x: NDArray[Any], seed: int = 0) -> NDArray[np.float64]:
    """AUROC `(PERMUTATIONS,)` on the true labels of probes trained on roles permuted within each game.

    One permutation says little: by chance its probe may correlate positively or negatively with the true one. `x`
    (n_rows, d_model).
    """
    unit, unit_games, first = units_of(target.games, target.member)
    y = permute_within_games(target.y[first].astype(np.uint8), unit_games, PERMUTATIONS, seed)[unit].astype(
        float
    )
    moments = Moments(folds.n_folds, x.shape[1], PERMUTATIONS).add(x, folds.fold, y)
    scores = np.empty(y.shape, dtype=np.float32)
    for f in range(folds.n_folds):
        fit = moments.ridge((c for c in range(folds.n_folds) if c != f), NULL_PENALTY)
        rows = folds.fold == f
        scores[rows] = project(x[rows], *fit)
    truth = np.broadcast_to(target.y[:, None], scores.shape)
    return np.asarray(auroc(truth, scores, strata=folds.fold))


def _one_hot(values: pl.Series) -> NDArray[np.float64]:
    return values.to_frame().to_dummies().to_numpy().astype(np.float64)


__all__ = [
    "NAMES",
    "STATED",
    "Baseline",
    "Beside",
    "Confounds",
    "beside",
    "confounds",
    "shuffled_roles",
    "word_features",
]
