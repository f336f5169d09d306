"""The words of the lines about a subject, as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from analysis.data.targets import Target


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
