"""Every deal of a deck, and which of them fit what a seat has been told: its own card, the deal, the fail counts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations

import numpy as np

from games.avalon.roles import EVIL, ROLES, could_be, shown

Array = np.ndarray


@cache
def deals(deck: tuple[str, ...]) -> Array:
    """(n_deals, n_seats) int8, indices into `ROLES`: every different way of giving the cards of a deck to the seats."""
    n = len(deck)
    kinds = [role for role in ROLES if role in deck]
    left: list[tuple[tuple[int, ...], tuple[int, ...]]] = [(tuple([-1] * n), tuple(range(n)))]
    for role in kinds:
        number, count = ROLES.index(role), deck.count(role)
        grown = []
        for cards, free in left:
            for seats in combinations(free, count):
                given = list(cards)
                for seat in seats:
                    given[seat] = number
                grown.append((tuple(given), tuple([i for i in free if i not in seats])))
        left = grown
    out = np.array([cards for cards, _ in left], dtype=np.int8)
    out.setflags(write=False)
    return out


@cache
def is_evil(deck: tuple[str, ...]) -> Array:
    """(n_deals, n_seats) bool: who is evil in each deal."""
    evil = np.array([role in EVIL for role in ROLES])
    return np.asarray(evil[deals(deck)])


def n_failures_allow(deck: tuple[str, ...], team: Sequence[int], n_failures: int) -> Array:
    """(n_deals,) bool: in which deals a team can have played `n_failures` failures; good players play none."""
    return np.asarray(is_evil(deck)[:, list(team)].sum(1) >= n_failures)


def fits_card(deck: tuple[str, ...], seat: int, role: str, known: dict[int, str]) -> Array:
    """(n_deals,) bool: in which deals a seat has a role and is shown exactly what `known` says of the others."""
    worlds = deals(deck)
    fits = worlds[:, seat] == ROLES.index(role)
    for other in range(len(deck)):
        if other != seat:
            allowed = np.array([could_be(role, r, known.get(other)) for r in ROLES])
            fits = fits & allowed[worlds[:, other]]
    return np.asarray(fits)


@cache
def shown_table() -> Array:
    """(n_roles, n_roles) int8 `[viewer, other]`: what a role is shown of another, 0 nothing, 1 evil, 2 merlin."""
    codes = {None: 0, "evil": 1, "merlin": 2}
    return np.array([[codes[shown(viewer, other)] for other in ROLES] for viewer in ROLES], dtype=np.int8)
