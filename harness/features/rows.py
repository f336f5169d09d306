"""The training rows of a dictionary, streamed from a store in shuffled order, also where they exceed memory.

Games are split once by their ids: the held-out ones are never trained on, so that variance explained, dead latents
and every later test of the dictionary use unseen games.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.activations.store import Activations
from harness.features.dictionary import FeaturesError

STRETCH = 256
"""Contiguous rows of the store that are read together."""
BUFFER = 65_536
"""Most rows in memory at once; they are shuffled into batches."""
BUFFER_BYTES = 128 * 2**20
"""Most bytes of rows in memory, so that wide models buffer fewer rows."""


class Rows(msgspec.Struct, frozen=True):
    """The index lines of one site and layer, split by game."""

    store: Activations
    layer: str
    train: pl.DataFrame
    held_out: pl.DataFrame
    games: tuple[str, ...]
    """The held-out games."""

    def batches(self, size: int, seed: int, epoch: int) -> Iterator[NDArray[np.float32]]:
        """One epoch of training rows `(size, d_model)`, shuffled by seed and epoch. An incomplete last batch is
        dropped."""
        rng = np.random.default_rng([seed, 11, epoch])
        starts = rng.permutation(np.arange(0, self.train.height, STRETCH))
        at_once = max(1, min(BUFFER, BUFFER_BYTES // (4 * self.store.d_model)) // STRETCH)
        rest = np.zeros((0, self.store.d_model), dtype=np.float32)
        for first in range(0, len(starts), at_once):
            some = pl.concat([self.train.slice(int(at), STRETCH) for at in starts[first : first + at_once]])
            rows = self.store.read(some, self.layer)
            if len(rest):
                rows = np.concatenate([rest, rows])
            order = rng.permutation(len(rows))
            whole = len(rows) // size * size
            yield from (rows[order[at : at + size]] for at in range(0, whole, size))
            rest = rows[order[whole:]]
            del rows  # before the next ones are read

    def some(self, most: int, seed: int, held_out: bool = False) -> NDArray[np.float32]:
        """At most `most` rows `(n, d_model)`, drawn without replacement."""
        lines = self.held_out if held_out else self.train
        if lines.height > most:
            kept = np.sort(np.random.default_rng([seed, 12]).choice(lines.height, most, replace=False))
            lines = lines[kept]
        return self.store.read(lines, self.layer)


def rows_of(store: Activations, site: str, layer: str, hold_out: float, seed: int = 0) -> Rows:
    """The rows of a site and layer, a share of the games held out. Raises FeaturesError where there are too few."""
    lines = store.index(site=site)
    if not lines.height:
        raise FeaturesError(
            f"{store.path} has no rows at site {site!r} (captured: {', '.join(store.sites()) or 'nothing'}); "
            f"run: wolfscope capture RUN --site {site}"
        )
    games = lines["game_id"].unique(maintain_order=True).to_list()
    away = held_out_games(games, hold_out, seed)
    if not away or len(away) == len(games):
        raise FeaturesError(
            f"{len(games)} games with rows at {site}, of which {len(away)} would be held out: both sides need one; "
            "play more games or name another --hold-out"
        )
    apart = pl.col("game_id").is_in(away)
    return Rows(store, layer, lines.filter(~apart), lines.filter(apart), tuple(away))


def held_out_games(games: list[str], share: float, seed: int) -> list[str]:
    """The share of the games with the smallest hashes of seed and id, sorted: the same for every site and layer."""
    ranked = sorted(games, key=lambda game: blake2b(f"{seed}/{game}".encode(), digest_size=8).digest())
    return sorted(ranked[: round(share * len(games))])


def variance_about(x: NDArray[Any], mean: NDArray[Any]) -> float:
    """Mean squared distance of rows from a mean."""
    return float(((x - mean).astype(np.float64) ** 2).sum(axis=1).mean())
