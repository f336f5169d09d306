"""Linear probes of a model's activations for the exact observer's beliefs: fitted on some games, measured on others.

Everything that is chosen (site, layer, penalty) is chosen by cross-validation inside the fitting games.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analysis.stats.bootstrap import Interval, auroc_interval, bootstrap_auroc, r2_interval
from analysis.stats.ridge import Ridge, chosen_ridge
from analysis.stats.splits import game_folds

N_BOOT = 1000
N_FOLDS = 4
FEWEST = 50
"""Inquiries below which a character is left out."""


class Probed(msgspec.Struct, frozen=True):
    """How well one source predicts a target, on held-out games."""

    source: str
    chosen: str
    """Site and layer, where they were chosen."""
    value: float
    """R2, or AUROC."""
    low: float
    """Bounds of its 95% interval over the measured games (`analysis.stats.bootstrap`)."""
    high: float


def auroc_of(truth: np.ndarray, scores: Sequence[np.ndarray], games: np.ndarray) -> list[Interval]:
    """The AUROC of each score on the same rows `(n,)`, with its interval over games."""
    values, samples = bootstrap_auroc(truth, scores, games, n_boot=N_BOOT)
    n = len(np.unique(games))
    return [
        auroc_interval(drawn, float(value), n_games=n) for value, drawn in zip(values, samples, strict=True)
    ]


class Chosen(msgspec.Struct, frozen=True):
    """A probe at the site and layer that were best inside the games that it is fitted on."""

    site: int
    fit: Ridge
    """Its `layer` is a position of `layers`."""
    layers: tuple[int, ...]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The targets of rows `(n, n_sites, n_layers + 1, hidden)` that have the site, `(n, n_targets)`."""
        return self.fit.predict(x[:, self.site, self.layers[self.fit.layer]])

    def words(self, sites: Sequence[str]) -> str:
        """The probe's site and layer, in words."""
        return f"{sites[self.site]}, layer {self.layers[self.fit.layer]}"


def probe(x: np.ndarray, y: np.ndarray, games: np.ndarray, n_sites: int, layers: Sequence[int]) -> Chosen:
    """The ridge to `y` `(n, n_targets)` from one of the first `n_sites` sites, of those that nine tenths of the rows
    have. x: `(n, n_sites, n_layers + 1, hidden)`, NaN where a row lacks a site."""
    best: Chosen | None = None
    for site in range(min(n_sites, x.shape[1])):
        rows = np.flatnonzero(~np.isnan(x[:, site, 0, 0]))
        if len(rows) < 0.9 * len(x):
            continue
        fit = _ridge([x[rows, site, layer] for layer in layers], y[rows], games[rows])
        if best is None or fit.error < best.fit.error:
            best = Chosen(site, fit, tuple(layers))
    if best is None:
        raise ValueError("no site is there in nine tenths of the rows, so nothing can be probed")
    return best


def _ridge(layers: Sequence[np.ndarray], y: np.ndarray, games: np.ndarray) -> Ridge:
    return chosen_ridge(layers, y, game_folds(games, min(N_FOLDS, len(np.unique(games)))))


def best_probe(
    x: np.ndarray, target: np.ndarray, games: np.ndarray, sites: Sequence[str], layers: Sequence[int]
) -> tuple[str, np.ndarray, np.ndarray]:
    """Predictions on odd-numbered games by a probe fitted on even-numbered ones.

    x: `(n, n_sites, n_layers + 1, hidden)`; `sites` names the first of its sites, and one of those is chosen. Returns
    the site and layer in words, which rows were measured `(n,)`, and their predictions.
    """
    fit = games % 2 == 0
    chosen = probe(x[fit], target[fit, None], games[fit], len(sites), layers)
    measured = ~fit & ~np.isnan(x[:, chosen.site, 0, 0])
    return chosen.words(sites), measured, chosen.predict(x[measured])[:, 0]


def represented(
    activations: Mapping[str, np.ndarray],
    target: np.ndarray,
    counts: np.ndarray,
    texts: Sequence[str],
    games: np.ndarray,
    sites: Sequence[str],
) -> list[Probed]:
    """R2 of the target, read from each model's activations and from baselines.

    activations: name -> `(n, n_sites, n_layers + 1, hidden)`; of the first one the embedding layer is also a baseline.
    target: `(n,)`. counts: `(n, n_counts)`. Games with an even number are for fitting, the others for measuring.
    """
    fit, rest = games % 2 == 0, games % 2 == 1
    found = []

    def add(source: str, chosen: str, guess: np.ndarray, there: np.ndarray) -> None:
        r2 = r2_interval(target[there], guess, games[there], N_BOOT)
        found.append(Probed(source, chosen, r2.value, r2.low, r2.high))

    for n, (name, x) in enumerate(activations.items()):
        ranges = {name: range(1, x.shape[2])} | ({f"{name}, embedding": range(1)} if n == 0 else {})
        for source, layers in ranges.items():
            chosen, measured, guess = best_probe(x, target, games, sites, layers)
            add(source, chosen, guess, measured)
    linear = _ridge([counts[fit]], target[fit, None], games[fit])
    add("event counts, linear", "", linear.predict(counts[rest])[:, 0], rest)
    boosted = HistGradientBoostingRegressor(random_state=0, max_iter=150).fit(counts[fit], target[fit])
    add("event counts, boosted", "", boosted.predict(counts[rest]), rest)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=5, sublinear_tf=True, token_pattern=r"[A-Za-z]+")
    bag = words.fit_transform([texts[i] for i in np.flatnonzero(fit)])
    tfidf = RidgeCV((0.1, 1.0, 10.0)).fit(bag, target[fit])
    read = words.transform([texts[i] for i in np.flatnonzero(rest)])
    add("TF-IDF of the text", "", tfidf.predict(read), rest)
    return found


def characters(
    x: np.ndarray,
    counts: np.ndarray,
    exact: np.ndarray,
    labels: np.ndarray,
    games: np.ndarray,
    sites: Sequence[str],
    stated: np.ndarray,
) -> list[Probed]:
    """AUROC (one against the rest, averaged over characters) of the subject's hidden character.

    x: `(n, n_sites, n_layers + 1, hidden)`. exact: the exact observer's probabilities `(n, n_characters)`, the ceiling;
    stated: the model's, NaN where it has no words for them. labels: `(n,)`. Characters with fewer than `FEWEST`
    inquiries are left out. Site and layer are chosen by a ridge to the one-hot labels; the probe is a multinomial
    logistic regression there.
    """
    common = np.flatnonzero(np.bincount(labels) >= FEWEST)
    kept = np.isin(labels, common)
    fit, rest = (games % 2 == 0) & kept, (games % 2 == 1) & kept
    one_hot = (labels[:, None] == common).astype(float)
    found = []

    def measure(source: str, chosen: str, rows: np.ndarray, guess: np.ndarray) -> None:
        each = [
            bootstrap_auroc(labels[rows] == c, [guess[:, k]], games[rows], n_boot=N_BOOT)
            for k, c in enumerate(common)
        ]
        value = float(np.nanmean([values[0] for values, _ in each]))
        drawn = np.nanmean([samples[0] for _, samples in each], axis=0)
        i = auroc_interval(drawn, value, n_games=len(np.unique(games[rows])))
        found.append(Probed(source, chosen, i.value, i.low, i.high))

    chosen = probe(x[fit], one_hot[fit], games[fit], len(sites), range(1, x.shape[2]))
    there = rest & ~np.isnan(x[:, chosen.site, 0, 0])
    place = x[:, chosen.site, chosen.layers[chosen.fit.layer]]
    for source, words, values, rows in (
        ("small model", chosen.words(sites), place, there),
        ("event counts, linear", "", counts, rest),
    ):
        logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        known = fit & ~np.isnan(values).any(axis=1)
        measure(source, words, rows, logistic.fit(values[known], labels[known]).predict_proba(values[rows]))
    trees = HistGradientBoostingClassifier(random_state=0, max_iter=60, max_leaf_nodes=8)
    trees.fit(counts[fit], labels[fit])
    measure("event counts, boosted", "", rest, trees.predict_proba(counts[rest]))
    for source, p in (("stated", stated), ("exact observer", exact)):
        guess = p[rest][:, common]
        if not np.isnan(guess).any():
            measure(source, "", rest, guess)
    return found
