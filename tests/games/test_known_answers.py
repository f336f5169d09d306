"""The werewolves' chance under random play, against exact recursion and published results."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare

from games import chance
from games.play import Answer, play
from games.records import Action, Reply
from games.werewolf import GAME
from games.werewolf.arrays.vector import WINNERS, VectorGames
from games.werewolf.presets import configure
from games.werewolf.random_play import (
    day_first_win_probability,
    one_werewolf,
    one_werewolf_day_first,
    werewolf_win_probability,
)

Z = 4.0
"""Half width of the intervals in standard errors: a right simulation falls outside once in 16,000 times (and the seeds
are fixed)."""


def classical(werewolves: int, villagers: int, **settings: object) -> dict:
    roles = {"werewolf": werewolves, "villager": villagers}
    return {
        "preset": "custom",
        "roles": roles,
        "tie": "random",
        "discussion": "none",
        "max_days": 100,
    } | settings


def test_recursion_by_hand() -> None:
    # probe-6: 3 of 5 exiles leave the werewolves at parity; else one werewolf, three villagers, night, 2 of 3.
    assert (
        werewolf_win_probability(2, 4) == Fraction(3, 5) + Fraction(2, 5) * Fraction(2, 3) == Fraction(13, 15)
    )
    assert werewolf_win_probability(1, 3) == Fraction(2, 3)
    assert werewolf_win_probability(1, 2) == 1
    assert werewolf_win_probability(0, 3) == 0


@pytest.mark.parametrize("players", [4, 6, 10, 50, 200])
def test_one_werewolf_has_the_closed_form(players: int) -> None:
    assert werewolf_win_probability(1, players - 1) == one_werewolf(players)


def test_chance_of_one_werewolf_falls_as_one_over_the_root_of_the_players() -> None:
    for players in (100, 1000, 4000):
        assert float(one_werewolf(players)) * math.sqrt(players) == pytest.approx(
            math.sqrt(math.pi / 2), rel=3 / players
        )


def test_root_n_werewolves_make_a_fair_game_at_every_size() -> None:
    """Braverman, Etesami and Mossel: with M = c sqrt(R) the chance stays between bounds in (0, 1), low for small c and
    high for large c."""
    sizes = (64, 144, 256, 400)

    def chance(c: float, players: int) -> float:
        werewolves = max(1, round(c * math.sqrt(players)))
        return float(werewolf_win_probability(werewolves, players - werewolves))

    fair = [chance(0.5, players) for players in sizes]
    assert all(0.4 < p < 0.7 for p in fair)
    assert max(fair) - min(fair) < 0.1
    assert all(chance(1 / 16, players) < 0.2 for players in sizes[-2:])
    assert all(chance(2.0, players) > 0.95 for players in sizes)


@pytest.mark.parametrize(
    ("werewolves", "villagers"), [(2, 4), (1, 5), (1, 8), (2, 9), (3, 12), (1, 14), (4, 11)]
)
def test_simulation_in_lock_step_matches_the_recursion(werewolves: int, villagers: int) -> None:
    n = 60_000
    games = VectorGames(GAME.configure(**classical(werewolves, villagers)), np.arange(n))
    games.play_randomly(np.random.default_rng(werewolves * 100 + villagers))
    p = float(werewolf_win_probability(werewolves, villagers))
    won = float(np.mean(games.winners == WINNERS.index("werewolf")))
    assert abs(won - p) < Z * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize(
    ("settings", "werewolves", "villagers", "n"),
    [
        ({"preset": "probe-6"}, 2, 4, 2000),
        (classical(2, 9, ballot="sequential", ballot_self=True), 2, 9, 800),
        (classical(3, 17), 3, 17, 400),
    ],
)
def test_simulation_by_the_plain_rules_matches_the_recursion(
    settings: dict, werewolves: int, villagers: int, n: int
) -> None:
    rng = random.Random(17)
    config = GAME.configure(**settings)
    won = 0
    for seed in range(n):
        game = play(GAME, config, seed)
        step = next(game)
        while step.requests:
            step = game.send(
                [Answer(Reply(Action(rng.choice(r.options) if r.options else None))) for r in step.requests]
            )
        won += step.new[-1].value == "werewolf"
    p = float(werewolf_win_probability(werewolves, villagers))
    assert abs(won / n - p) < Z * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("players", range(5, 13))
def test_one_werewolf_has_its_closed_form_day_first_and_night_first(players: int) -> None:
    assert day_first_win_probability(1, players - 1) == one_werewolf_day_first(players)
    assert werewolf_win_probability(1, players - 1) == one_werewolf_day_first(players - 1)
    assert day_first_win_probability(1, players - 1) > werewolf_win_probability(1, players - 1) or players % 2


def double_factorial(n: int) -> int:
    return math.prod(range(n, 0, -2))


def test_closed_forms_by_hand() -> None:
    for n in range(3, 13):
        twice = 1 if n % 2 else 2
        assert one_werewolf_day_first(n) == twice * Fraction(double_factorial(n - 1), double_factorial(n))
    assert one_werewolf_day_first(5) == Fraction(4, 5) * Fraction(2, 3)
    assert one_werewolf_day_first(6) == Fraction(5, 6) * Fraction(3, 4)
    with pytest.raises(ValueError, match="3 players or more, not 2"):
        one_werewolf_day_first(2)


@pytest.mark.parametrize("first", ["day", "night"])
@pytest.mark.parametrize("players", range(5, 13))
def test_random_play_day_first_and_night_first_matches_the_recursion(players: int, first: str) -> None:
    n, werewolves = 20_000, 1 if players < 7 else 2 if players < 11 else 3
    settings = {"first_night": "no_kill"} if first == "day" else {}
    config = GAME.configure(**classical(werewolves, players - werewolves, **settings))
    games = VectorGames(config, np.arange(n)).play_randomly(np.random.default_rng(players))
    exact = day_first_win_probability if first == "day" else werewolf_win_probability
    p = float(exact(werewolves, players - werewolves))
    won = float(np.mean(games.winners == WINNERS.index("werewolf")))
    assert abs(won - p) < Z * math.sqrt(p * (1 - p) / n)


def test_mini_mafia_is_one_vote_among_three_under_random_play() -> None:
    n, rng, won = 1500, random.Random(3), 0
    config = configure("mini-mafia-4", discussion="none")
    for seed in range(n):
        game = play(GAME, config, seed)
        step = next(game)
        while step.requests:
            assert {r.kind for r in step.requests} == {"ballot"}  # nobody chooses anything at night
            step = game.send([Answer(Reply(Action(rng.choice(r.options)))) for r in step.requests])
        won += step.new[-1].value == "werewolf"
    assert abs(won / n - 2 / 3) < Z * math.sqrt(2 / 9 / n)


def test_closed_form_refuses_odd_numbers() -> None:
    with pytest.raises(ValueError, match="even number of players, not 7"):
        one_werewolf(7)


def test_presets_do_not_differ_from_the_recursion_by_their_speeches() -> None:
    """Words have no effect on random voters: two rounds of speeches leave the chance where it was."""
    n = 60_000
    games = VectorGames(configure("probe-6"), np.arange(n)).play_randomly(np.random.default_rng(5))
    p = float(werewolf_win_probability(2, 4))
    assert abs(float(np.mean(games.winners == 2)) - p) < Z * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("n", [3, 8, 20, 21, 60])
def test_every_order_of_items_is_as_likely_however_many_there_are(n: int) -> None:
    drawn = np.array([chance.shuffled(range(n), chance.key(0, "test", n, i)) for i in range(200 * n)])
    for place in (0, 1, n // 2, n - 1):
        counts = np.bincount(drawn[:, place], minlength=n)
        assert chisquare(counts).pvalue > 1e-4
    assert (np.sort(drawn, axis=1) == np.arange(n)).all()
