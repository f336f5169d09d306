"""All possible deals of a game's cards: the role assignments that an observer has beliefs over."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from math import factorial, prod

import numpy as np

from games.werewolf.config import WerewolfConfig
from games.werewolf.roles import faction_of

MAX_ASSIGNMENTS = 200_000
"""More assignments than this are refused: each public event would cost tenths of a second and more."""


class TooLarge(ValueError):
    """A game with more hidden states than an observer can hold; the message says how many and what would fit."""


class Worlds:
    """The role assignments of one deck, enumerated once and shared by all games with that deck.

    `roles[r]` names role r (in the order of `config.roles`); `assignments` is int8 `(n_worlds, n_seats)` of role
    indices, `onehot` float64 `(n_worlds, n_seats * n_roles)`. Sets of seats are bit masks: bit i is seat i.
    """

    def __init__(self, deck: tuple[tuple[str, int], ...]) -> None:
        self.roles = tuple(role for role, _ in deck)
        counts = [count for _, count in deck]
        self.n = sum(counts)
        self.counts = dict(deck)
        size = factorial(self.n) // prod(map(factorial, counts))
        if size > MAX_ASSIGNMENTS:
            raise TooLarge(
                f"{dict(deck)} can be dealt in {size:,} ways; an observer that enumerates them holds at most "
                f"{MAX_ASSIGNMENTS:,}: use fewer seats or fewer different roles"
            )
        self.assignments = np.array(list(_deals(tuple(counts))), dtype=np.int8)
        index = np.arange(len(self.roles), dtype=np.int8)
        self.onehot = (
            (self.assignments[:, :, None] == index).reshape(len(self.assignments), -1).astype(np.float64)
        )
        bits = 1 << np.arange(self.n, dtype=np.int64)
        self.bits = bits
        self.mask_of = {role: ((self.assignments == r) * bits).sum(1) for r, role in enumerate(self.roles)}
        """role -> int64 `(n_worlds,)`, the seats that have it."""
        self.faction_mask = {
            side: np.asarray(
                sum(self.mask_of[r] for r in self.roles if faction_of(r) == side)
                + np.zeros(len(self.assignments), dtype=np.int64)
            )
            for side in ("village", "werewolf", "jester")
        }
        self.packs, self.pack_of = _groups(self.mask_of["werewolf"], self.n)
        """Seats of each possible set of werewolves `(n_packs, k)`, and each world's pack `(n_worlds,)`."""
        self.place_in_pack = (self.packs[:, None, :] == np.arange(self.n)[:, None]).argmax(-1)
        """`(n_packs, n_seats)`: which of its pack's werewolves a seat is; of no meaning for seats outside."""
        self.lodges = np.zeros((0, 0), dtype=np.int64)
        self.lodge_of = np.zeros(len(self.assignments), dtype=np.int64)
        if "mason" in self.counts:
            self.lodges, self.lodge_of = _groups(self.mask_of["mason"], self.n)
        """The same for the masons."""

    def seats_of(self, role: str) -> np.ndarray:
        """int64 `(n_worlds, count)`: the seats that have a role, in seat order."""
        r = self.roles.index(role)
        return np.nonzero(self.assignments == r)[1].reshape(len(self.assignments), self.counts[role])


def _deals(counts: tuple[int, ...]) -> Iterator[list[int]]:
    """Every distinct deal of `counts[r]` cards of role r."""
    n = sum(counts)
    deal = [-1] * n

    def place(r: int, free: tuple[int, ...]) -> Iterator[list[int]]:
        if r == len(counts):
            yield list(deal)
            return
        for seats in combinations(free, counts[r]):
            for i in seats:
                deal[i] = r
            yield from place(r + 1, tuple(i for i in free if i not in seats))

    yield from place(0, tuple(range(n)))


def _groups(masks: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct seat sets among bit masks as rows of seats, and the row of each mask."""
    distinct, index = np.unique(masks, return_inverse=True)
    rows = [[i for i in range(n) if mask >> i & 1] for mask in distinct.tolist()]
    return np.array(rows, dtype=np.int64).reshape(len(rows), -1), index.astype(np.int64)


@lru_cache(maxsize=16)
def _worlds(deck: tuple[tuple[str, int], ...]) -> Worlds:
    return Worlds(deck)


def worlds_of(config: WerewolfConfig) -> Worlds:
    """The worlds of a configuration. Raises TooLarge."""
    return _worlds(tuple((role, count) for role, count in config.roles.items() if count))
