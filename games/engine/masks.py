"""Sets of seats of many games at once, as bit masks, and the draws on them.

Seat i is the bit `1 << i`; with n seats the bit `1 << n` stands for nobody.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from games.chance import GOLDEN, stream_id
from games.records import NOBODY

Array = np.ndarray


def mix(x: Array) -> Array:
    """`games.chance.mix` of uint64 arrays."""
    x = x + np.uint64(GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def deal(deck: Array, seeds: Array) -> Array:
    """(n_games, n_seats): for each of the uint64 seeds the deck as `games.chance.shuffled` orders it for the deal."""
    out = np.tile(deck, (seeds.size, 1))
    k, row = mix(seeds ^ np.uint64(stream_id("deal"))), np.arange(seeds.size)
    for i in range(deck.size - 1, 0, -1):
        j = (k % np.uint64(i + 1)).astype(np.int64)
        k = k // np.uint64(i + 1)
        moved = out[row, j]
        out[row, j] = out[:, i]
        out[:, i] = moved
    return out


def mask_of(seats: Array) -> Array:
    """(n_games,) int32: the mask of each row's different seats."""
    return (np.int32(1) << seats.astype(np.int32)).sum(axis=1, dtype=np.int32)


@cache
def _tables(n_bits: int) -> tuple[Array, Array]:
    """(2**n_bits,) int8: how many bits a mask has; (2**n_bits, n_bits) int8: its k-th lowest, the last as NOBODY."""
    masks = np.arange(1 << n_bits)
    bits = (masks[:, None] >> np.arange(n_bits)) & 1
    place = np.cumsum(bits, axis=1) - 1
    kth = np.full((1 << n_bits, n_bits), NOBODY, dtype=np.int8)
    rows, columns = np.nonzero(bits)
    kth[rows, place[rows, columns]] = np.where(columns == n_bits - 1, NOBODY, columns)
    return bits.sum(axis=1).astype(np.int8), kth


class SeatMasks:
    """What can be read from masks of `n_seats` seats, by look-up.

    count: (2 ** (n_seats + 1),) int8, how many bits each mask has.
    """

    def __init__(self, n_seats: int) -> None:
        self.n_seats = n_seats
        self.count, kth = _tables(n_seats + 1)
        self._kth = kth.ravel()

    def nth(self, masks: Array, k: Array | int) -> Array:
        """The k-th lowest seat of each mask; NOBODY for the bit of nobody and past the last."""
        return self._kth.take(masks * (self.n_seats + 1) + k)

    def leaders(self, votes: Array) -> tuple[Array, Array]:
        """Mask of the most chosen seats and how often they were chosen, of (n_games, n_voters) choices."""
        n, g = self.n_seats, len(votes)
        flat = (votes.T.astype(np.int64) + 1) * g + np.arange(g)
        # Games are the inner axis: numpy is slow over short rows.
        counts = np.bincount(flat.ravel(), minlength=(n + 1) * g).reshape(n + 1, g)[1:]
        top = counts.max(axis=0)
        tied = np.zeros(g, dtype=np.int32)
        for seat in range(n):
            tied |= (counts[seat] == top).astype(np.int32) << seat
        return np.where(top > 0, tied, 0), top
