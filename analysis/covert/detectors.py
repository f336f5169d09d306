"""Would a reader of single speeches notice a code? A text classifier, a language model of honest speech, own
surprisal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from analysis.data.frames import GameLog
from analysis.stats.bootstrap import auroc_interval, bootstrap_auroc
from analysis.stats.splits import game_folds
from analysis.stats.threads import one_thread
from games.records import Decision

DETECTORS: dict[str, Any] = {
    "detector": pl.String,
    "games": pl.Int64,
    "n": pl.Int64,  # speeches
    "auroc": pl.Float64,  # of "the speaker is a werewolf", among the speeches of a game
    "low": pl.Float64,
    "high": pl.Float64,
}
CLASSIFIER, HONEST, OWN = (
    "text classifier",
    "surprise to an honest speaker",
    "surprise to the speaker's own model",
)


def speeches_of(logs: Iterable[GameLog]) -> pl.DataFrame:
    """Public speeches: game, text with names replaced by `name`, whether the speaker is guilty (has a role of the
    game's first belief target), own log-probability (mean nats a token, or null)."""
    rows = []
    for log in logs:
        facts = log.game.seats(log.config, log.records)
        names = {fact.name.lower() for fact in facts}
        for record in log.records:
            if isinstance(record, Decision) and record.kind == "speech":
                words = (
                    record.action.text.lower()
                    .replace(".", " . ")
                    .replace("!", " ! ")
                    .replace("?", " ? ")
                    .split()
                )
                probs = () if record.trace is None else record.trace.logprobs
                rows.append(
                    {
                        "game": log.game_id,
                        "text": " ".join("name" if w in names else w for w in words) or "silence",
                        "guilty": facts[record.seat].role in log.game.belief_targets[0].roles,
                        "own": float(np.mean(probs)) if probs else None,
                    }
                )
    schema = {"game": pl.String, "text": pl.String, "guilty": pl.Boolean, "own": pl.Float64}
    return pl.DataFrame(rows, schema=schema)


def detectors(logs: Iterable[GameLog], n_boot: int = 1000, seed: int = 0) -> pl.DataFrame:
    """AUROC of each detector within games (schema `DETECTORS`); none with fewer than ten games or one kind of speaker.

    The classifier (TF-IDF of words and pairs, logistic) is fitted on other games; the model of honest speech is a
    bigram model with add-one smoothing on villagers' speeches of other games, and its detector is the mean surprisal a
    word.
    """
    speeches = speeches_of(logs)
    y = speeches["guilty"].to_numpy().astype(float)
    games = speeches["game"].to_numpy()
    if speeches["game"].n_unique() < 10 or len(set(y.tolist())) < 2:
        return pl.DataFrame(schema=DETECTORS)
    texts = speeches["text"].to_list()
    with one_thread():
        folds = game_folds(games, 5, seed).require_grouped().fold
        scores = {CLASSIFIER: _classifier(texts, y, folds), HONEST: _honest(texts, y, folds)}
        rows = [_row(name, y, score, games, n_boot, seed) for name, score in scores.items()]
        known = speeches["own"].is_not_null().to_numpy()
        if known.any() and 0 < y[known].sum() < known.sum():
            own = -speeches["own"].drop_nulls().to_numpy()
            rows.append(_row(OWN, y[known], own, games[known], n_boot, seed))
    return pl.DataFrame(rows, schema=DETECTORS)


def _row(
    name: str, y: NDArray[Any], score: NDArray[Any], games: NDArray[Any], n_boot: int, seed: int
) -> dict[str, Any]:
    values, samples = bootstrap_auroc(y, [score], games, games, n_boot, seed)
    found = auroc_interval(samples[0], float(values[0]), n_games=len(set(games.tolist())))
    return {
        "detector": name, "games": len(set(games.tolist())), "n": len(y), "auroc": found.value, "low": found.low,
        "high": found.high,
    }  # fmt: skip


def _classifier(texts: Sequence[str], y: NDArray[Any], folds: NDArray[Any]) -> NDArray[np.float64]:
    out = np.zeros(len(y))
    words = np.asarray(texts, dtype=object)
    for k in sorted(set(folds.tolist())):
        train, test = folds != k, folds == k
        made = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        x = made.fit_transform(words[train])
        model = LogisticRegression(class_weight="balanced", max_iter=500).fit(x, y[train])
        out[test] = model.decision_function(made.transform(words[test]))
    return out


def _honest(texts: Sequence[str], y: NDArray[Any], folds: NDArray[Any]) -> NDArray[np.float64]:
    out = np.zeros(len(y))
    pairs = [list(zip(["", *words], [*words, ""])) for words in (text.split() for text in texts)]
    vocabulary = len({word for row in pairs for _, word in row}) + 1
    for k in sorted(set(folds.tolist())):
        both: Counter[tuple[str, str]] = Counter()
        first: Counter[str] = Counter()
        for i in np.flatnonzero((folds != k) & (y == 0)):
            both.update(pairs[i])
            first.update(a for a, _ in pairs[i])
        for i in np.flatnonzero(folds == k):
            nats = [-math.log((both[a, b] + 1) / (first[a] + vocabulary)) for a, b in pairs[i]]
            out[i] = float(np.mean(nats))
    return out


def detector_lines(table: pl.DataFrame) -> list[str]:
    """The table for a terminal."""
    if table.is_empty():
        return ["detectors: fewer than ten games, or only one kind of speaker"]
    return [
        f"{r['detector']:<38} AUROC {r['auroc']:.3f} [{r['low']:.3f}, {r['high']:.3f}] over {r['n']:,} speeches"
        for r in table.to_dicts()
    ]
