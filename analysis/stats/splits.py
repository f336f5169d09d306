"""Folds that never put one game on both sides.

Rows of one game share a deal, a table talk and an outcome, so a split of rows leaks the answer. Folds here
are of whole games; the folds other than the held-out one serve as the inner folds on which layer and
penalty are chosen, so that the choice is nested without a second split. A split by rows exists only to show
what it would claim: it is refused unless forced, and says of itself that it is ungrouped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


class UngroupedSplit(ValueError):
    """Raised when a split would put rows of one game on both sides."""


@dataclass(frozen=True)
class Folds:
    """A partition of the rows into held-out folds."""

    fold: NDArray[np.int64]
    """`(n_rows,)`, values 0..n_folds-1."""
    n_folds: int
    grouped: bool
    """Whether every game lies in one fold."""
    how: str
    """How it was made, in words; printed on whatever rests on it."""

    def require_grouped(self) -> Folds:
        """Itself, or `UngroupedSplit` where games are on both sides."""
        if not self.grouped:
            raise UngroupedSplit(
                f"this split is '{self.how}': rows of one game are on both sides; use game_folds"
            )
        return self


def game_folds(games: ArrayLike, n_folds: int = 5, seed: int = 0) -> Folds:
    """Whole games into `n_folds` folds of nearly equal numbers of games, at random from `seed`.

    `games` (n_rows,) are game ids of any type. Raises ValueError with fewer games than folds.
    """
    names, code = np.unique(np.asarray(games), return_inverse=True)
    if n_folds < 2 or len(names) < n_folds:
        raise ValueError(
            f"{n_folds} folds of whole games asked for, {len(names)} games present; "
            "use between 2 and as many folds as games, or play more games"
        )
    place = np.random.default_rng(seed).permutation(len(names)) % n_folds
    return Folds(place[code].astype(np.int64), n_folds, True, f"{n_folds} folds of whole games (seed {seed})")


def row_folds(games: ArrayLike, n_folds: int = 5, seed: int = 0, force: bool = False) -> Folds:
    """Rows into folds regardless of their game: the mistake, for the leakage audit only.

    Raises `UngroupedSplit` unless `force`; the result is stamped `grouped=False`.
    """
    code = np.asarray(games)
    if not force:
        raise UngroupedSplit(
            f"a split of {len(code)} rows that ignores their {len(np.unique(code))} games leaks the "
            "answer between train and test; use game_folds, or force=True to show the leak"
        )
    fold = np.random.default_rng(seed).permutation(len(code)) % n_folds
    return Folds(
        fold.astype(np.int64), n_folds, False, f"{n_folds} folds of ROWS, games on both sides (forced)"
    )


def check_folds(fold: ArrayLike, games: ArrayLike) -> bool:
    """Whether every game lies in exactly one fold."""
    pairs = np.unique(
        np.stack([np.unique(np.asarray(games), return_inverse=True)[1], np.asarray(fold)]), axis=1
    )
    return len(np.unique(pairs[0])) == pairs.shape[1]


def buckets(values: ArrayLike, n_buckets: int = 4, seed: int = 0) -> NDArray[np.int64]:
    """Distinct values (names, say) into `n_buckets` random buckets, `(n_rows,)`; for leave-names-out."""
    distinct, code = np.unique(np.asarray(values), return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(distinct)) % max(1, min(n_buckets, len(distinct)))
    return place[code].astype(np.int64)
