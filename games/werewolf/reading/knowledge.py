"""What each seat can know of the others by the rules alone: the simplest `rules` posterior.

Every role assignment of the deck that contradicts neither the seat's own card, nor what it was told in
private, nor what was revealed to all, is held equally likely. No policy is assumed: by the rules claims and ballots are
no evidence. The posterior of a pair is 0 or 1 exactly where the role was told or follows from what was told.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from games.records import Event
from games.werewolf.config import WerewolfConfig
from games.werewolf.truth import Allowed, Told


class Knowledge(Told):
    """What every seat was told, who lives, and how likely that makes each role; fed with a game's events in order."""

    def __init__(self, config: WerewolfConfig) -> None:
        super().__init__(config)
        self._counts = tuple(Counter(self.deck).items())
        self.living: set[int] = set(range(len(self.deck)))

    def see(self, event: Event) -> None:
        """Takes in the next event of the game's log."""
        super().see(event)
        if event.kind in ("death", "exile", "shoot") and event.target is not None:
            self.living.discard(event.target)

    def posterior(self, viewer: int) -> tuple[dict[str, float], ...]:
        """For each seat, the probability of each role given what `viewer` knows."""
        return marginals(self._counts, tuple(self.roles[viewer]))

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
