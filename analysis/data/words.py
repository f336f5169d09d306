"""Text features: of the lines about a subject, and of the speeches that a text monitor reads."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer

from analysis.data.targets import Target

MOST_WORDS = 400
"""Number of words and pairs of words that a text monitor counts."""


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


def masked(text: str, names: Collection[str]) -> str:
    """The text with players' names replaced by `player` and punctuation separated."""
    spaced = text.replace(".", " . ").replace(",", " , ").replace(":", " : ")
    return " ".join("player" if word in names else word for word in spaced.split())


def spoken_words() -> TfidfVectorizer:
    """Vectorizer of masked texts for a text monitor: single words and pairs that occur in at least three texts."""
    return TfidfVectorizer(
        ngram_range=(1, 2), min_df=3, max_features=MOST_WORDS, token_pattern=r"\w+|[^\w\s]", sublinear_tf=True
    )
