"""Good's chance under random play against exact recursion, and simple strategies against the values that they have.

Hidden-role games: L. Carminati, B. H. Zhang, G. Farina, N. Gatti and T. Sandholm, "Hidden-Role Games: Equilibrium
Concepts and Computation", arXiv 2308.16017. Plain Resistance of five has the value 3/10 for good; the strategies below
attain it by public coordination alone, and with a Merlin whom all of them can ask in private good is left with the
assassin's guess.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest

from games.avalon import GAME
from games.avalon.arrays.vector import WINNERS, VectorGames
from games.avalon.config import AvalonConfig
from games.avalon.presets import NAMES, configure
from games.avalon.random_play import accepts, good_win_probability, mission_fails
from games.avalon.roles import EVIL
from games.play import Answer, play, stamp
from games.records import Action, Reply, Request

Z = 4.0
"""Half width of the intervals in standard errors: a right simulation falls outside once in 16,000 times (and the seeds
are fixed)."""


def quiet(preset: str, **settings: object) -> AvalonConfig:
    return configure(preset, **{"discussion": "none", "talk_before": ()} | settings)


def test_recursion_by_hand() -> None:
    config = quiet("resistance-5")
    assert accepts(5) == Fraction(1, 2)
    assert accepts(6) == Fraction(22, 64)
    # Of 10 pairs 3 have no evil player, 6 have one and 1 has two; those fail with 1/2 and 3/4.
    assert mission_fails(config, 1) == Fraction(6, 10) * Fraction(1, 2) + Fraction(1, 10) * Fraction(3, 4)
    # Of 10 triples 1 has none, 6 have one, 3 have two.
    assert mission_fails(config, 2) == Fraction(6, 10) * Fraction(1, 2) + Fraction(3, 10) * Fraction(3, 4)
    # Of 35 quadruples of 7 players with 3 evil, 18 have two and 4 have three: two failures are needed.
    assert mission_fails(quiet("avalon-7"), 4) == Fraction(18, 35) * Fraction(1, 4) + Fraction(
        4, 35
    ) * Fraction(1, 2)


def test_options_of_the_assassin_and_the_hammer_are_in_the_recursion() -> None:
    plain, merlin = quiet("resistance-5"), quiet("avalon-5")
    assert good_win_probability(merlin) == good_win_probability(plain) * Fraction(2, 3)
    assert good_win_probability(quiet("resistance-5", hammer=True)) > good_win_probability(plain)
    one = quiet("resistance-5", max_rejections=1)
    assert good_win_probability(one) < Fraction(1, 2) ** 3


@pytest.mark.parametrize("preset", NAMES)
def test_simulation_in_lock_step_matches_the_recursion(preset: str) -> None:
    n, config = 15_000, quiet(preset)
    games = VectorGames(config, np.arange(n)).play_randomly(np.random.default_rng(3))
    p = float(good_win_probability(config))
    won = float((games.winner == WINNERS.index("good")).mean())
    assert abs(won - p) < Z * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("preset", ["avalon-6", "avalon-10"])
def test_simulation_by_the_plain_rules_matches_the_recursion(preset: str) -> None:
    """Words have no effect on random players."""
    n, config, rng = 400, configure(preset, talk_before=("proposal",)), random.Random(5)
    won = 0
    for seed in range(n):
        steps = play(GAME, config, seed)
        step = next(steps)
        while step.requests:
            step = steps.send(
                [Answer(Reply(Action(rng.choice(r.options) if r.options else None))) for r in step.requests]
            )
        won += step.new[-1].value == "good"
    p = float(good_win_probability(config))
    assert abs(won / n - p) < Z * math.sqrt(p * (1 - p) / n)


# --- simple strategies ----------------------------------------------------------------------------------------

Schedule = Callable[[int, int], set[int]]
"""(mission, failures so far) -> the team that all good players agree on."""


def outcome(
    config: AvalonConfig,
    deal: Sequence[str],
    seed: int,
    schedule: Schedule,
    fails: Callable[[int], bool],
    guess: int = 0,
) -> str:
    """Who wins where good players pick and vote for the scheduled teams and no other.

    One evil player of a team fails it where `fails(mission)`; evil votes for whatever has an evil player in it, and the
    assassin names number `guess` of its options.
    """
    state, _ = GAME.start(config, seed, deal)
    evil = {i for i, role in enumerate(deal) if role in EVIL}
    n_lost = 0

    def answer(r: Request) -> int:
        if r.kind == "assassinate":
            return r.options[guess]
        wanted = schedule(r.day, n_lost)
        if r.kind == "pick":
            others = evil if r.seat in evil else wanted
            return min(r.options, key=lambda i: (i not in others, i))
        if r.kind == "vote":
            return int(bool(team & evil) if r.seat in evil else team == wanted)
        sabotages = fails(r.day) and r.seat == min(team & evil, default=-1)
        return 0 if sabotages and 0 in r.options else 1

    team: set[int] = set()
    while state.requests:
        requests = GAME.to_act(state)
        chosen = [answer(r) for r in requests]
        wave = [
            stamp(r, Answer(Reply(Action(o))), state.seq + i)
            for i, (r, o) in enumerate(zip(requests, chosen, strict=True))
        ]
        state, events = GAME.apply(state, wave)
        n_lost += sum(e.kind == "mission" and e.value == "failure" for e in events)
        team = next((set(e.data["team"]) for e in events if e.kind == "team"), team)
    return state.outcome.winner


def deals(config: AvalonConfig) -> list[tuple[str, ...]]:
    return sorted(set(permutations(config.decks)))


def wins(
    config: AvalonConfig, schedule_of: Callable[[tuple[str, ...]], Schedule], **kwargs: object
) -> Fraction:
    """Good's exact chance over all deals; the first leader changes with the deal."""
    every = deals(config)
    won = sum(
        outcome(config, deal, seed, schedule_of(deal), **kwargs) == "good" for seed, deal in enumerate(every)
    )
    return Fraction(won, len(every))


TRIPLES = ((0, 1, 2), (0, 3, 4), (1, 2, 3))


def three_guesses(mission: int, n_lost: int) -> set[int]:
    """Any pair for the small missions, and another triple each time that one has failed."""
    return {0, 1} if mission in (1, 3) else set(TRIPLES[min(n_lost, 2)])


def test_plain_resistance_of_five_is_three_guesses_among_ten_teams() -> None:
    """Evil lets the pairs succeed and fails every triple that it is in, by one card: a failure excludes one of the ten
    triples, and good has three missions of three. Both sides hold the other to 3/10."""
    config = quiet("resistance-5")
    assert wins(config, lambda deal: three_guesses, fails=lambda mission: mission in (2, 4, 5)) == Fraction(
        3, 10
    )


@pytest.mark.parametrize("triples", list(permutations(combinations(range(5), 3), 3))[::97])
def test_no_three_guesses_do_better_against_that_evil(triples: tuple[tuple[int, ...], ...]) -> None:
    def schedule(mission: int, n_lost: int) -> set[int]:
        return {0, 1} if mission in (1, 3) else set(triples[min(n_lost, 2)])

    config = quiet("resistance-5")
    assert wins(config, lambda deal: schedule, fails=lambda mission: mission in (2, 4, 5)) == Fraction(3, 10)


def test_a_silent_merlin_costs_a_third_of_that() -> None:
    """Whoever names one of three good players at random finds Merlin with 1/3: 3/10 becomes 1/5."""
    config = quiet("avalon-5")
    chances = [
        wins(config, lambda deal: three_guesses, fails=lambda mission: mission in (2, 4, 5), guess=guess)
        for guess in range(3)
    ]
    assert sum(chances) / 3 == Fraction(1, 5)


@pytest.mark.parametrize(("preset", "value"), [("avalon-5", Fraction(2, 3)), ("avalon-6", Fraction(3, 4))])
def test_where_all_of_good_act_on_what_merlin_knows_only_the_guess_is_left(
    preset: str, value: Fraction
) -> None:
    """A mediator whom all tell their cards in private lets all good players act alike: the assassin learns nothing."""
    config = quiet(preset)

    def clean(deal: tuple[str, ...]) -> Schedule:
        good = [i for i, role in enumerate(deal) if role not in EVIL]
        return lambda mission, n_lost: set(good[: config.team_size(mission)])

    n_good = config.n_players - config.n_evil
    chances = [wins(config, clean, fails=lambda mission: True, guess=guess) for guess in range(n_good)]
    assert sum(chances) / n_good == value
