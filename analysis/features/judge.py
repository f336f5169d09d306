"""Compares a dictionary with the truth of the games: which latent detects a known concept, and what it misses.

Latents are chosen on one half of the held-out games and scored on the other. False negatives count: a latent that is on
only where a werewolf is named, but off for most werewolves, is not a werewolf latent. Splitting: how many latents a
probe of the best k needs before more add less than `STEP` of F1 (Karvonen et al. 2025). Absorption (Chanin et al.
2024): of the rows of a concept that a probe on the stream recognises, the share where none of the concept's latents is
on and another carries at least `CARRIES` of the probe's score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from analysis.features.descriptions import halves
from analysis.features.readers import Columns, Split, read
from analysis.features.regimes import Plan
from analysis.stats.codes import codes_of
from analysis.stats.splits import game_folds

STEP = 0.03
CARRIES = 0.4
SHOWN = 3
"""Number of latents shown for each concept."""
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
TRUTH: dict[str, Any] = {
    "concept": pl.String,
    "atom": pl.String,
    "place": pl.Int32,  # 1: the best on the choosing half
    "latent": pl.Int32,
    "f1": pl.Float64,
    "precision": pl.Float64,
    "recall": pl.Float64,
    "false_negatives": pl.Int64,
    "false_positives": pl.Int64,
    "n_true": pl.Int64,
    "n_rows": pl.Int64,
}
CONCEPT: dict[str, Any] = {
    "concept": pl.String,
    "splitting": pl.Int32,  # number of latents that the concept is split over; null where no probe of 16 suffices
    "f1_one": pl.Float64,  # of a probe of the best latent
    "f1_sixteen": pl.Float64,
    "f1_probe": pl.Float64,  # of a probe on the stream
    "absorption": pl.Float64,  # null where the probe recognises too few rows
    "n_recognised": pl.Int64,
}


def judge(
    concepts: Mapping[str, tuple[str, NDArray[np.bool_]]], x: NDArray[Any], codes: sparse.csr_matrix,
    directions: NDArray[Any], games: NDArray[Any], seed: int = 0,
) -> tuple[pl.DataFrame, pl.DataFrame]:  # fmt: skip
    """(`TRUTH`, `CONCEPT`).

    `concepts` are name -> (atom, `(n_rows,)` truth); `x` is `(n_rows, d)`, `codes` `(n_rows, width)`, `directions`
    `(width, d)` what one unit of each latent adds to a row; `games` are ids. A concept whose rows are all of one class
    is left out.
    """
    half = halves(games, seed)
    look, check = np.flatnonzero(~half), np.flatnonzero(half)
    on = sparse.csr_matrix((codes > 0).astype(np.float32))
    truths, found = [], []
    for name, (atom, truth) in concepts.items():
        fewest = min(truth[look].sum(), (~truth[look]).sum(), truth[check].sum(), (~truth[check]).sum())
        if fewest < 20:
            continue
        truths += _truths(name, atom, truth, on, look, check)
        found.append(_spread(name, truth, x, codes, directions, games, look, check, seed))
    return pl.DataFrame(truths, schema=TRUTH), pl.DataFrame(found, schema=CONCEPT)


def _truths(
    name: str, atom: str, truth: NDArray[np.bool_], on: sparse.csr_matrix, look: NDArray[np.int64],
    check: NDArray[np.int64],
) -> list[dict[str, Any]]:  # fmt: skip
    hit = np.asarray(on[look].T @ truth[look].astype(np.float32)).ravel()
    fired = np.asarray(on[look].sum(axis=0)).ravel()
    f1 = 2 * hit / np.maximum(1, fired + truth[look].sum())
    rows = []
    for place, latent in enumerate(np.argsort(-f1, kind="stable")[:SHOWN], start=1):
        lit = np.asarray(on[check][:, int(latent)].todense()).ravel() > 0
        own = truth[check]
        both, n_on, n_true = int((lit & own).sum()), int(lit.sum()), int(own.sum())
        rows.append(
            {
                "concept": name, "atom": atom, "place": place, "latent": int(latent),
                "f1": 2 * both / max(1, n_on + n_true), "precision": both / max(1, n_on), "recall": both / n_true,
                "false_negatives": n_true - both, "false_positives": n_on - both, "n_true": n_true, "n_rows": len(own),
            }
        )  # fmt: skip
    return rows


def _spread(
    name: str, truth: NDArray[np.bool_], x: NDArray[Any], codes: sparse.csr_matrix, directions: NDArray[Any],
    games: NDArray[Any], look: NDArray[np.int64], check: NDArray[np.int64], seed: int,
) -> dict[str, Any]:  # fmt: skip
    y = truth.astype(np.float64)
    n_inner = min(Plan().n_inner, len(np.unique(games[look])))
    split = Split(look, y[look], game_folds(codes_of(games[look]), n_inner, seed).fold, check)
    latents, probe = read(Columns("latents", codes, SPLITS), split), read(Columns("probe", x), split)
    share = float(y[look].mean())
    own = truth[check]
    heights = {k: _f1(own, scores, share) for k, scores in latents.by_k.items()}
    ks = sorted(heights)
    spread = next((a for a, b in pairwise(ks) if heights[b] - heights[a] < STEP), None)
    main = set(latents.chosen[: spread or ks[-1]].tolist())
    absorbed, n = _absorption(own, probe.outer, share, codes[check], x, y, directions, look, main)
    return {
        "concept": name, "splitting": spread, "f1_one": heights[ks[0]], "f1_sixteen": heights[ks[-1]],
        "f1_probe": _f1(own, probe.outer, share), "absorption": absorbed, "n_recognised": n,
    }  # fmt: skip


def _f1(truth: NDArray[np.bool_], scores: NDArray[Any], share: float) -> float:
    """F1 at the threshold that calls the training share of rows true."""
    said = _called(scores, share)
    both = int((said & truth).sum())
    return 2 * both / max(1, int(said.sum()) + int(truth.sum()))


def _called(scores: NDArray[Any], share: float) -> NDArray[np.bool_]:
    return np.asarray(scores > np.quantile(scores, 1 - share))


def _absorption(
    own: NDArray[np.bool_], scores: NDArray[Any], share: float, codes: sparse.csr_matrix, x: NDArray[Any],
    y: NDArray[np.float64], directions: NDArray[Any], look: NDArray[np.int64], main: set[int],
) -> tuple[float | None, int]:  # fmt: skip
    """(share of recognised rows that are absorbed, recognised rows)."""
    up, down = x[look][y[look] > 0].mean(axis=0), x[look][y[look] <= 0].mean(axis=0)
    towards = (up - down) / max(1e-12, float(np.linalg.norm(up - down)))
    along = directions @ towards  # (width,): what a unit of each latent adds to the concept's direction
    recognised = np.flatnonzero(own & _called(scores, share))
    if len(recognised) < 20:
        return None, len(recognised)
    some = codes[recognised]
    off = np.asarray((some[:, sorted(main)] > 0).sum(axis=1)).ravel() == 0
    parts = some.multiply(along[None, :]).tocsr()
    others = np.setdiff1d(np.arange(codes.shape[1]), np.array(sorted(main)))
    largest = np.asarray(parts[:, others].max(axis=1).todense()).ravel()
    positive = parts.maximum(0)
    whole = np.asarray(positive.sum(axis=1)).ravel()
    carried = largest >= CARRIES * np.maximum(whole, 1e-12)
    return float((off & carried & (largest > 0)).mean()), len(recognised)


def known(
    words: Sequence[str], atoms: NDArray[np.bool_], concepts: Mapping[str, str]
) -> dict[str, tuple[str, Any]]:
    """The concepts whose atoms exist in these rows."""
    place = {word: i for i, word in enumerate(words)}
    return {name: (atom, atoms[:, place[atom]]) for name, atom in concepts.items() if atom in place}
