"""Exact win probabilities of Avalon under random play: the known answers that simulations are held to.

Every pick, vote, card and name is uniformly random over what is legal. Then each accepted team is a uniformly random
set of seats, and the numbers of succeeded and failed missions are a Markov chain.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import comb

from games.avalon.config import AvalonConfig


def accepts(n_players: int) -> Fraction:
    """The chance that more than half of `n_players` random votes approve."""
    return Fraction(sum(comb(n_players, k) for k in range(n_players // 2 + 1, n_players + 1)), 2**n_players)


def mission_fails(config: AvalonConfig, mission: int) -> Fraction:
    """The chance that an accepted team fails mission 1, 2, ... 5: each evil player in it fails by a fair coin."""
    n, evil, size, needed = (
        config.n_players,
        config.n_evil,
        config.team_size(mission),
        config.fails_needed(mission),
    )
    out = Fraction(0)
    for e in range(min(evil, size) + 1):
        teams = Fraction(comb(evil, e) * comb(n - evil, size - e), comb(n, size))
        out += teams * Fraction(sum(comb(e, f) for f in range(needed, e + 1)), 2**e)
    return out


def good_win_probability(config: AvalonConfig) -> Fraction:
    """Good's chance under random play."""
    rejected = Fraction(0) if config.hammer else (1 - accepts(config.n_players)) ** config.max_rejections
    found = Fraction(0)
    if config.count("assassin"):
        # Of all whom the assassin does not know to be evil: the good seats and Oberons.
        found = Fraction(1, config.n_players - config.n_evil + config.count("oberon"))

    @cache
    def chance(n_successes: int, n_failures: int) -> Fraction:
        if n_successes == 3:
            return 1 - found
        if n_failures == 3:
            return Fraction(0)
        fails = mission_fails(config, n_successes + n_failures + 1)
        return (1 - rejected) * (
            fails * chance(n_successes, n_failures + 1) + (1 - fails) * chance(n_successes + 1, n_failures)
        )

    return chance(0, 0)
