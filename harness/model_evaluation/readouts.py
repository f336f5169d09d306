"""Linear probes of what a model represents, against the exact observer: fitted on some games, measured on others.

Everything that is chosen (site, layer, penalty) is chosen by cross-validation inside the fitting games.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

CLIP = 0.01
"""Posteriors are clipped to [CLIP, 1 - CLIP] before their log-odds are taken."""
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
N_BOOT = 1000
N_FOLDS = 4


class ReadOut(msgspec.Struct, frozen=True):
    """How much of a target one source tells, on games that it was not fitted on."""

    source: str
    chosen: str
    """Site and layer, where they were chosen."""
    value: float
    """R2, or AUROC."""
    low: float
    """Percentile interval of a bootstrap over the measured games, 95%."""
    high: float


def log_odds(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of clipped probabilities."""
    p = np.clip(p, CLIP, 1.0 - CLIP)
    return np.asarray(np.log(p) - np.log1p(-p))


def auroc(truth: np.ndarray, guess: np.ndarray) -> float:
    """Probability that a true one `(n,)` is guessed higher than a false one, ties counting one half (the Mann-Whitney
    statistic); NaN where all are true or none is.

    A bootstrap calls it thousands of times, and ranks alone take a fraction of what a whole curve takes.
    """
    truth = truth.astype(bool)
    n_true = int(truth.sum())
    n_pairs = n_true * (len(truth) - n_true)
    return float((rankdata(guess)[truth].sum() - n_true * (n_true + 1) / 2) / n_pairs) if n_pairs else np.nan


def ridge() -> object:
    """Standardised ridge regression, its penalty chosen within the fitting games."""
    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))


def interval(metric: object, truth: np.ndarray, guess: np.ndarray, games: np.ndarray) -> tuple[float, float]:
    """95% interval of `metric(truth, guess)` under resampling of games, seeded."""
    rng = np.random.default_rng(0)
    numbers, group = np.unique(games, return_inverse=True)
    rows = [np.flatnonzero(group == g) for g in range(len(numbers))]
    found = []
    for _ in range(N_BOOT):
        pick = np.concatenate([rows[g] for g in rng.integers(0, len(rows), len(rows))])
        value = metric(truth[pick], guess[pick])  # type: ignore[operator]
        found.append(value)
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


def read_out(
    source: str, chosen: str, metric: object, truth: np.ndarray, guess: np.ndarray, games: np.ndarray
) -> ReadOut:
    """What `metric(truth, guess)` comes to on some rows, with its interval."""
    low, high = interval(metric, truth, guess, games)
    return ReadOut(source, chosen, float(metric(truth, guess)), low, high)  # type: ignore[operator]


def best_site(
    x: np.ndarray, layers: Sequence[int], score: Callable[[np.ndarray, np.ndarray], float]
) -> tuple[int, int]:
    """The site and layer with the highest `score(values, rows)`, of the sites that nine tenths of the rows have.

    x: `(n, n_sites, n_layers, hidden)`, NaN where a row lacks a site. values: what is there `(n_rows, hidden)`; rows:
    their numbers `(n_rows,)`.
    """
    best, found = -np.inf, (0, layers[0])
    for site in range(x.shape[1]):
        rows = np.flatnonzero(~np.isnan(x[:, site, 0, 0]))
        if len(rows) < 0.9 * len(x):
            continue
        for layer in layers:
            value = score(x[rows, site, layer], rows)
            if value > best:
                best, found = value, (site, layer)
    return found


def best_read_out(
    x: np.ndarray, target: np.ndarray, games: np.ndarray, sites: Sequence[str], layers: Sequence[int]
) -> tuple[str, np.ndarray, np.ndarray]:
    """What a ridge on the best site and layer of the games with an even number says of the others'.

    x: `(n, n_sites, n_layers, hidden)`; `sites` names the first of its sites, and one of those is chosen. Returns the
    site and layer in words, which rows were measured `(n,)`, and their predictions.
    """
    fit, rest = games % 2 == 0, games % 2 == 1

    def r2(values: np.ndarray, rows: np.ndarray) -> float:
        folds, y = GroupKFold(N_FOLDS), target[fit][rows]
        found = cross_val_score(ridge(), values, y, groups=games[fit][rows], cv=folds, scoring="r2")
        return float(found.mean())

    site, layer = best_site(x[fit, : len(sites)], layers, r2)
    there = ~np.isnan(x[:, site, layer, 0])
    model = ridge().fit(x[fit & there, site, layer], target[fit & there])  # type: ignore[attr-defined]
    return f"{sites[site]}, layer {layer}", rest & there, model.predict(x[rest & there, site, layer])


def represented(
    activations: Mapping[str, np.ndarray],
    target: np.ndarray,
    counts: np.ndarray,
    texts: Sequence[str],
    games: np.ndarray,
    sites: Sequence[str],
) -> list[ReadOut]:
    """R2 of the target, read from each model's activations and from baselines.

    activations: name -> `(n, n_sites, n_layers + 1, hidden)`; of the first one the embedding layer is also a baseline.
    target: `(n,)`. counts: `(n, n_counts)`. Games with an even number are for fitting, the others for measuring.
    """
    fit, rest = games % 2 == 0, games % 2 == 1
    found = []

    def add(source: str, chosen: str, guess: np.ndarray, there: np.ndarray) -> None:
        found.append(read_out(source, chosen, r2_score, target[there], guess, games[there]))

    for n, (name, x) in enumerate(activations.items()):
        ranges = {name: range(1, x.shape[2])} | ({f"{name}, embedding": range(1)} if n == 0 else {})
        for source, layers in ranges.items():
            chosen, measured, guess = best_read_out(x, target, games, sites, layers)
            add(source, chosen, guess, measured)
    linear = ridge().fit(counts[fit], target[fit])  # type: ignore[attr-defined]
    add("event counts, linear", "", linear.predict(counts[rest]), rest)
    boosted = HistGradientBoostingRegressor(random_state=0, max_iter=150).fit(counts[fit], target[fit])
    add("event counts, boosted", "", boosted.predict(counts[rest]), rest)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=5, sublinear_tf=True, token_pattern=r"[A-Za-z]+")
    bag = words.fit_transform([texts[i] for i in np.flatnonzero(fit)])
    tfidf = RidgeCV((0.1, 1.0, 10.0)).fit(bag, target[fit])
    add(
        "TF-IDF of the text",
        "",
        tfidf.predict(words.transform([texts[i] for i in np.flatnonzero(rest)])),
        rest,
    )
    return found


def characters(
    x: np.ndarray,
    counts: np.ndarray,
    exact: np.ndarray,
    labels: np.ndarray,
    games: np.ndarray,
    sites: Sequence[str],
    stated: np.ndarray,
) -> list[ReadOut]:
    """AUROC (one against the rest, averaged over characters) of the subject's hidden character.

    x: `(n, n_sites, n_layers + 1, hidden)`. exact: the exact observer's probabilities `(n, n_characters)`, the ceiling;
    stated: the model's, NaN where it has no words for them. labels: `(n,)`. Characters with fewer than 50 inquiries are
    left out.
    """
    common = np.flatnonzero(np.bincount(labels) >= 50)
    kept = np.isin(labels, common)
    fit, rest = (games % 2 == 0) & kept, (games % 2 == 1) & kept
    found = []

    def averaged(truth: np.ndarray, guess: np.ndarray) -> float:
        return float(np.nanmean([auroc(truth == c, guess[:, k]) for k, c in enumerate(common)]))

    def measure(source: str, chosen: str, rows: np.ndarray, guess: np.ndarray) -> None:
        found.append(read_out(source, chosen, averaged, labels[rows], guess, games[rows]))

    def add(source: str, chosen: str, model: object, values: np.ndarray) -> None:
        there = ~np.isnan(values[:, 0])
        model.fit(values[fit & there], labels[fit & there])  # type: ignore[attr-defined]
        guess = model.predict_proba(values[rest & there])  # type: ignore[attr-defined]
        measure(source, chosen, rest & there, guess)

    def logistic() -> object:
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))

    def cross_validated(values: np.ndarray, rows: np.ndarray) -> float:
        """How well a ridge on one-hot labels, which is cheap, reads them inside `fit`."""
        truth, folds = labels[fit][rows], GroupKFold(N_FOLDS)
        one_hot = (truth[:, None] == common).astype(float)
        return averaged(truth, cross_val_predict(ridge(), values, one_hot, groups=games[fit][rows], cv=folds))

    site, layer = best_site(x[fit, : len(sites)], range(1, x.shape[2]), cross_validated)
    add("small model", f"{sites[site]}, layer {layer}", logistic(), x[:, site, layer])
    add("event counts, linear", "", logistic(), counts)
    add(
        "event counts, boosted",
        "",
        HistGradientBoostingClassifier(random_state=0, max_iter=60, max_leaf_nodes=8),
        counts,
    )
    for source, p in (("stated", stated), ("exact observer", exact)):
        guess = p[rest][:, common]
        if not np.isnan(guess).any():
            measure(source, "", rest, guess)
    return found
