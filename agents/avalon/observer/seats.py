"""Log-likelihoods of what each seat did, by its character and information set, and of the secret cards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.avalon.minds import Array, InformationSet, Minds, rows_of
from agents.avalon.policy import failing, table
from agents.avalon.styles import Style
from games.avalon.config import AvalonConfig
from games.avalon.evidence import Evidence
from games.avalon.roles import EVIL, ROLES
from games.avalon.worlds import deals, is_evil, shown_table
from games.records import Action

SHOWN = (None, "evil", "merlin")
"""What the codes of `games.avalon.worlds.shown_table` stand for."""


def information_sets(deck: tuple[str, ...], seat: int, alike: bool) -> tuple[list[InformationSet], Array]:
    """The information sets that a seat may be in, and which of them it is in in each deal `(n_deals,)`.

    With `alike`, evil roles that know each other count as one (`minion`): their policies are the same.
    """
    worlds = deals(deck)
    role = worlds[:, seat].copy()
    codes = shown_table()[role[:, None], worlds]
    codes[:, seat] = 0
    if alike:
        role[np.isin(role, [ROLES.index(r) for r in EVIL])] = ROLES.index("minion")
    keys, index = np.unique(np.column_stack([role, codes]), axis=0, return_inverse=True)
    sets = []
    for key in keys:
        known = tuple([(j, what) for j, c in enumerate(key[1:]) if (what := SHOWN[c]) is not None])
        sets.append(InformationSet(ROLES[key[0]], known))
    return sets, index.ravel()


class Seats:
    """The acts of all seats so far, weighed for every character in every information set."""

    def __init__(
        self, config: AvalonConfig, styles: Sequence[Style | None], log_prior: Array, lapse: float
    ) -> None:
        deck = tuple(str(role) for role in config.decks)
        n, self.n_styles, self.lapse = len(deck), len(styles), lapse
        self.log_prior = log_prior
        """`(n_seats, n_styles)`."""
        found = [information_sets(deck, seat, alike=True) for seat in range(n)]
        self.index = np.stack([index for _, index in found], 1)
        """`(n_deals, n_seats)`: the information set of each seat in each deal."""
        self.minds: list[Minds] = [
            rows_of(config, seat, styles, sets) for seat, (sets, _) in enumerate(found)
        ]
        self.ll = [np.zeros((len(styles), len(sets))) for sets, _ in found]
        """By seat, `(n_styles, n_sets)`: log-likelihood of all that everyone saw it do."""
        evil = is_evil(deck)
        teams, first, self.evil_of = np.unique(evil, axis=0, return_index=True, return_inverse=True)
        self.evil_of = self.evil_of.ravel()
        """`(n_deals,)`: which of the sets of evil seats each deal has."""
        self.evil = [tuple(np.flatnonzero(team).tolist()) for team in teams]
        self.first = first
        """A deal of each set of evil seats; their information sets are the same in all its deals."""
        self.cards = [np.zeros((len(styles),) * len(team)) for team in self.evil]
        """For each set of evil seats, log-likelihood of all counts of failures by the character of each of them."""

    def copy(self) -> Seats:
        """A copy that can be extended by itself."""
        other = object.__new__(Seats)
        other.__dict__ |= self.__dict__
        other.ll = [ll.copy() for ll in self.ll]
        other.cards = [cards.copy() for cards in self.cards]
        return other

    def acted(self, seat: int, seen: Evidence, kind: str, action: Action, options: Sequence[int]) -> None:
        """Weigh an action of a seat that everyone saw."""
        actions, p = table(self.minds[seat], seen, kind, options)
        chance = np.zeros(len(p))
        for column, possible in enumerate(actions):
            if possible.option == action.option and possible.acts == action.acts:
                chance = p[:, column]
        chance = (1 - self.lapse) * chance + self.lapse / len(actions)
        with np.errstate(divide="ignore"):
            self.ll[seat] += np.log(chance).reshape(self.n_styles, -1)

    def counted(self, seen: Evidence, team: Sequence[int], n_failures: int) -> None:
        """Weigh the number of failures that the current team played."""
        fail = [
            failing(minds, seen).reshape(self.n_styles, -1) if seat in team else None
            for seat, minds in enumerate(self.minds)
        ]
        for e, evil in enumerate(self.evil):
            k = len(evil)
            counts = [
                np.ones((1,) * k)
            ]  # counts[m]: probability of m failures, by the characters of all evil seats
            for axis, seat in enumerate(evil):
                p = fail[seat]
                if p is None:
                    continue
                shape = [1] * k
                shape[axis] = self.n_styles
                q = p[:, self.index[self.first[e], seat]].reshape(shape)
                q = (1 - self.lapse) * q + self.lapse / 2
                grown = [counts[0] * (1 - q)]
                grown += [
                    counts[m] * (1 - q) + counts[m - 1] * q if m < len(counts) else counts[m - 1] * q
                    for m in range(1, len(counts) + 1)
                ]
                counts = grown
            with np.errstate(divide="ignore"):
                self.cards[e] = self.cards[e] + np.log(
                    counts[n_failures] if n_failures < len(counts) else np.zeros((1,) * k)
                )

    def log_weights(self) -> Array:
        """Log-weight `(n_deals,)` of each deal, characters summed out."""
        out = np.zeros(len(self.index))
        seats = [_log_sum(self.log_prior[i][:, None] + ll, 0) for i, ll in enumerate(self.ll)]
        by_evil = np.array([self._evil(e) for e in range(len(self.evil))])
        for seat, factor in enumerate(seats):
            good = np.array([seat not in evil for evil in self.evil])[self.evil_of]
            out += np.where(good, factor[self.index[:, seat]], 0.0)
        return out + by_evil[self.evil_of]

    def _evil(self, e: int) -> float:
        """Log-likelihood of all acts and cards of one set of evil seats."""
        total = self.cards[e]
        for axis, seat in enumerate(self.evil[e]):
            shape = [1] * len(self.evil[e])
            shape[axis] = self.n_styles
            own = self.log_prior[seat] + self.ll[seat][:, self.index[self.first[e], seat]]
            total = total + own.reshape(shape)
        return float(_log_sum(total.ravel(), 0))


def _log_sum(x: Array, axis: int) -> Array:
    """log(sum(exp(x))) along an axis; -inf where all are."""
    top = x.max(axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(x - safe).sum(axis)) + safe.squeeze(axis))
