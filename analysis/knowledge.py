"""What each seat can know of the others by the rules alone: the simplest `rules` posterior.

Every role assignment of the deck that contradicts neither the seat's own card, nor what it was told in
private, nor what was revealed to all, is held equally likely. No policy enters: claims and ballots prove
nothing by the rules. The posterior of a pair is 0 or 1 exactly where the role was told or follows from what
was told.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from games.records import Event
from games.werewolf.config import faction_of, species_of

Allowed = tuple[frozenset[str], ...]
"""For each seat, the roles that it may still have."""


class Knowledge:
    """The constraints of every seat of one game, fed with its events in order."""

    def __init__(self, config: Any, names: Sequence[str] = ()) -> None:
        """`config` is the game's configuration (`roles`, `seer_learns`, `kill_targets`)."""
        self.deck: tuple[tuple[str, int], ...] = tuple((str(r), int(c)) for r, c in config.roles.items() if c)
        self.n = sum(count for _, count in self.deck)
        self.names = tuple(names)
        self._roles = frozenset(role for role, _ in self.deck)
        self._config = config
        self.told: list[list[frozenset[str]]] = [[self._roles] * self.n for _ in range(self.n)]
        """`told[viewer][subject]`."""
        self.revealed: dict[int, str] = {}
        """Roles that everyone was shown, by seat."""
        self.living: set[int] = set(range(self.n))
        self.inspections: dict[tuple[int, int], str] = {}
        """(seer, subject) -> what the seer was shown last."""

    def see(self, event: Event) -> None:
        """Takes in the next event of the game's log."""
        target, value = event.target, event.value
        if event.kind == "role" and target is not None and value is not None:
            self._learn((target,), target, frozenset({value}))
            for seat, role in (event.data or {}).get("known", {}).items():
                self._learn((target,), int(seat), frozenset({role}))
            if value == "werewolf":  # who knows all partners knows that nobody else is one
                partners = {int(s) for s in (event.data or {}).get("known", {})} | {target}
                for seat in set(range(self.n)) - partners:
                    self._learn((target,), seat, self._roles - {"werewolf"})
        elif event.kind in ("inspect", "sense") and target is not None and value is not None:
            seers = event.audience or ()
            self._learn(seers, target, self._shown_by(value, exact=event.kind == "inspect"))
            for seat in seers:
                self.inspections[seat, target] = value
        elif event.kind in ("death", "exile", "shoot") and target is not None and target >= 0:
            self.living.discard(target)
            if value is not None:
                shown = self._config.reveal_night if event.kind == "death" else self._config.reveal_day
                self._learn(range(self.n), target, self._shown(value, shown))
                if shown == "role":
                    self.revealed[target] = value
            elif event.kind == "death" and not self._poisonous and self._config.kill_targets == "others":
                self._learn(range(self.n), target, self._roles - {"werewolf"})

    @property
    def _poisonous(self) -> bool:
        return "witch" in self._roles

    def _shown_by(self, value: str, exact: bool) -> frozenset[str]:
        return self._shown(value, self._config.seer_learns if exact else "species")

    def _shown(self, value: str, what: str) -> frozenset[str]:
        if what == "faction":
            return frozenset(r for r in self._roles if faction_of(r) == value)
        if what == "species":
            return frozenset(r for r in self._roles if species_of(r) == value)
        return frozenset({value})

    def _learn(self, seats: Any, subject: int, roles: frozenset[str]) -> None:
        for seat in seats:
            self.told[seat][subject] &= roles

    def posterior(self, viewer: int) -> tuple[dict[str, float], ...]:
        """For each seat, the probability of each role given what `viewer` knows."""
        return marginals(self.deck, tuple(self.told[viewer]))

    def p_werewolf(self, viewer: int, subject: int) -> float:
        """Probability that `subject` is a werewolf given what `viewer` knows by the rules."""
        return self.posterior(viewer)[subject].get("werewolf", 0.0)


@lru_cache(maxsize=65536)
def marginals(deck: tuple[tuple[str, int], ...], allowed: Allowed) -> tuple[dict[str, float], ...]:
    """Role probabilities of each seat when every assignment of `deck` within `allowed` is equally likely.

    Raises ValueError where no assignment is possible.
    """
    roles = [role for role, _ in deck]
    full = tuple(count for _, count in deck)
    # forward[i][left]: ways to give cards to seats < i with `left` cards remaining; backward: to seats >= i.
    forward: list[dict[tuple[int, ...], int]] = [{full: 1}]
    for options in allowed:
        forward.append(_deal(forward[-1], roles, options))
    if not forward[-1]:
        raise ValueError(f"no deal of {dict(deck)} fits what is known: {[sorted(a) for a in allowed]}")
    backward: list[dict[tuple[int, ...], int]] = [{full: 1}]
    for options in reversed(allowed):
        backward.append(_deal(backward[-1], roles, options))
    total = sum(forward[-1].values())
    out = []
    for seat, options in enumerate(allowed):
        rest = backward[len(allowed) - 1 - seat]
        p: dict[str, float] = {}
        for i, role in enumerate(roles):
            ways = 0
            for left, count in forward[seat].items():
                if role in options and left[i]:
                    # The seats before used full - left; the seats after must use the rest but one card of
                    # `role`.
                    used = tuple(f - (v - (j == i)) for j, (f, v) in enumerate(zip(full, left)))
                    ways += count * rest.get(used, 0)
            p[role] = ways / total
        out.append(p)
    return tuple(out)


def _deal(
    states: dict[tuple[int, ...], int], roles: list[str], options: frozenset[str]
) -> dict[tuple[int, ...], int]:
    after: dict[tuple[int, ...], int] = {}
    for left, count in states.items():
        for i, role in enumerate(roles):
            if role in options and left[i]:
                key = (*left[:i], left[i] - 1, *left[i + 1 :])
                after[key] = after.get(key, 0) + count
    return after
