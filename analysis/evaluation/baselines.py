"""What a read-out must beat: scores of the same rows on the same folds without the model's inner states.

Each baseline with parameters is a logistic fit with its penalty chosen inside, just like the probe; only
the features differ. `everything public` puts them all together. A read-out is credited with its increment
over the best of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from analysis.data.public_features import PUBLIC
from analysis.data.targets import Target
from analysis.probes.permutation import permute_within_games, units_of
from analysis.probes.probes import probe
from analysis.stats.splits import Folds

CEILING = ("exact", "scripted policies")
"""Sources of belief that know what no reader of the table talk knows (the players' policies): shown, not to
be beaten.
"""


NAMES = {
    "exact": "exact posterior",
    "scripted policies": "scripted-policy posterior",
    "fitted": "fitted observer",
    "rules": "rules observer",
}
"""How a source of belief is called in the tables."""


@dataclass(frozen=True)
class Baseline:
    """One baseline's out-of-fold scores."""

    name: str
    scores: NDArray[np.float64]
    """`(n_rows,)`."""
    what: str
    """What it sees, in words."""
    training: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    """By how much its AUROC moves with the games that it was trained on; see `refits.training_draws`."""
    kind: str = "baseline"
    """`baseline` is to be beaten; `ceiling` and `control` are shown for comparison."""


def baselines(
    target: Target, folds: Folds, seed: int = 0, max_words: int = 600
) -> tuple[list[Baseline], list[str]]:
    """All baselines that the target has data for, and in words which are absent and why."""
    frame, y, games = target.frame, target.y, target.games
    absent: list[str] = []

    def fitted(name: str, features: NDArray[Any], what: str) -> Baseline:
        found = probe(features.astype(np.float32), y, folds, games, "logistic")
        return Baseline(name, found.scores, what, found.training)

    turn = np.hstack(
        [_one_hot(frame["day"]), _one_hot(frame["kind"]), frame.select("turn", "n_living").to_numpy()]
    )
    length = frame.select("length", pl.col("length").log1p().alias("log")).to_numpy()
    public = np.hstack([frame.select(PUBLIC).to_numpy(), turn])
    seat, name = _one_hot(frame["subject"]), _one_hot(frame["name"])
    rules = target.p_rules
    found = [
        Baseline("prior", np.full(len(y), 0.5), "the same score for every row"),
        fitted("seat", seat, "the subject's seat"),
        fitted("name", name, "the subject's name"),
        fitted("turn", turn, "day, kind of decision, decisions made, number of living players"),
        fitted("length", length, "how many records the viewer has read"),
        fitted("public events", public, "counts of accusations, defences, ballots, claims, reports, reveals"),
        Baseline("rules posterior", rules, "own card, private results and reveals, counted; no behaviour"),
    ]
    words = word_features(target, max_words)
    if words is None:
        absent.append("TF-IDF: fewer than three lines speak of a subject")
    else:
        found.append(
            fitted("TF-IDF", words, "words and word pairs of the lines about the subject it had read")
        )
    together = [public, seat, name, length, rules[:, None]]
    for source, p in target.stated.items():
        covered = float(np.isfinite(p).mean())
        if covered < 0.5:
            absent.append(f"belief '{source}': covers {covered:.0%} of the rows, at least half are needed")
            continue
        filled = np.where(np.isfinite(p), p, rules)
        kind = "ceiling" if source in CEILING else "baseline"
        label = NAMES.get(source, "stated belief" if source == "stated" else f"{source} belief")
        what = f"source '{source}', covering {covered:.0%} of the rows"
        found.append(Baseline(label, filled, what, kind=kind))
        if kind == "baseline":
            together.append(filled[:, None])
    if not {"stated", "stated_words"} & set(target.stated) and target.role:
        absent.append("stated belief: none was asked for in this run")
    if target.note:
        absent.append(f"posterior of known policies: {target.note}")
    if words is not None:
        together.append(words)
    found.append(fitted("everything public", np.hstack(together), "all of the above in one fit"))
    found += _activation_baselines(target, folds, seed, absent)
    return found, absent


def _activation_baselines(target: Target, folds: Folds, seed: int, absent: list[str]) -> list[Baseline]:
    found: list[Baseline] = []
    if not target.readouts:
        return found
    main, y, games = target.readouts[0], target.y, target.games

    def read(
        name: str, layers: list[NDArray[Any]], labels: NDArray[Any], what: str, kind: str = "baseline"
    ) -> None:
        result = probe(layers, labels, folds, games)
        found.append(Baseline(name, result.scores, what, result.training, kind))

    if "embed" in main.layers:
        embedded = [main.layer(main.layers.index("embed"))]
        read("embedding layer", embedded, y, f"the token embeddings at site {main.site}")
    else:
        absent.append("embedding layer: not among the captured layers")
    untrained = next((r for r in target.readouts if r.variant == "untrained"), None)
    if untrained is None or (untrained.at < 0).any():
        absent.append("untrained model: no second capture with re-initialised weights of all these rows")
    else:
        layers = [untrained.layer(i) for i in untrained.probed]
        read("untrained model", layers, y, "the same architecture with random weights, best layer inside")
    unit, unit_games, first = units_of(games, target.member)
    shuffled = permute_within_games(y[first].astype(np.uint8), unit_games, 1, seed)[:, 0][unit].astype(float)
    what = "the probe itself, trained on labels permuted within each game"
    read("shuffled roles", [main.layer(i) for i in main.probed], shuffled, what, "control")
    return found


def word_features(target: Target, max_words: int = 600) -> NDArray[np.float32] | None:
    """TF-IDF of words and word pairs of the lines about the subject, `(n_rows, <= max_words)`; None without
    text.

    Vocabulary and document frequencies use no labels and are shared over the folds.
    """
    used = np.flatnonzero(np.asarray(target.reads.sum(axis=0)).ravel() > 0)
    if len(used) < 3:
        return None
    vectorizer = CountVectorizer(
        ngram_range=(1, 2), min_df=3, max_features=max_words, token_pattern=r"\w+|[^\w\s]"
    )
    try:
        per_line = vectorizer.fit_transform([target.lines[i] for i in used])
    except ValueError:  # no word occurs in three lines
        return None
    counts = sparse.csr_matrix(target.reads[:, used] @ per_line)
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    return np.asarray(weighted.toarray(), dtype=np.float32)


def _one_hot(values: pl.Series) -> NDArray[np.float64]:
    return values.to_frame().to_dummies().to_numpy().astype(np.float64)
