"""Exact win probabilities of the classical game under random play: the known answers that simulations are held to.

No special roles, night first, werewolves never hit each other, every vote uniformly random, ties broken at random: then
each living seat is exiled with equal probability, and the numbers of werewolves and villagers are a Markov chain. See
M. Braverman, O. Etesami and E. Mossel, "Mafia: a theoretical study of players and coalitions in a partial information
environment", Annals of Applied Probability 18 (2008): with M werewolves among R players the werewolves' chance is of
the order M / sqrt(R), neither side favoured for M of the order sqrt(R).
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import prod


@cache
def werewolf_win_probability(werewolves: int, others: int) -> Fraction:
    """The werewolves' chance when night falls on `werewolves` and `others` living seats.

    The werewolves have won with at least as many living as others, the village with none of them living.
    """
    if werewolves == 0:
        return Fraction(0)
    if werewolves >= others - 1:  # after tonight's death at the latest
        return Fraction(1)
    others -= 1
    exiled = Fraction(werewolves, werewolves + others)
    return exiled * werewolf_win_probability(werewolves - 1, others) + (
        1 - exiled
    ) * werewolf_win_probability(werewolves, others - 1)


def one_werewolf(players: int) -> Fraction:
    """The closed form for one werewolf and an even number of players, (n-2)!! / (n-1)!!, which is about
    sqrt(pi / (2 n)). Raises ValueError for odd numbers: the last vote is never held there.
    """
    if players < 2 or players % 2:
        raise ValueError(f"the closed form is for an even number of players, not {players}")
    return Fraction(prod(range(2, players - 1, 2)), prod(range(3, players, 2)))


@cache
def day_first_win_probability(werewolves: int, others: int) -> Fraction:
    """The werewolves' chance when a day begins with `werewolves` and `others` living seats.

    A game whose first night is without a kill is such a game from its first day on.
    """
    if werewolves == 0:
        return Fraction(0)
    if werewolves >= others:
        return Fraction(1)
    exiled = Fraction(werewolves, werewolves + others)
    if werewolves >= others - 1:  # an exiled other leaves them at parity
        return exiled * werewolf_win_probability(werewolves - 1, others) + (1 - exiled)
    return exiled * werewolf_win_probability(werewolves - 1, others) + (
        1 - exiled
    ) * werewolf_win_probability(werewolves, others - 1)


def one_werewolf_day_first(players: int) -> Fraction:
    """The closed form for one werewolf among `players`, day first: the product of (m - 1) / m over the votes, held by
    m = n, n - 2, ... living seats down to 4 or 3. That is (n-1)!! / n!!, twice that for even n (P. Migdal, "A
    mathematical model of the Mafia game", arXiv 1009.1031). A game of n players that begins with a night is one of
    n - 1 that begins with a day. Raises ValueError for fewer than 3 players: no vote is held there.
    """
    if players < 3:
        raise ValueError(f"the closed form is for 3 players or more, not {players}")
    votes = range(players, 2, -2)
    return Fraction(prod(m - 1 for m in votes), prod(votes))
