"""The schedule: deterministic, balanced, extensible."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from games import load_game
from harness.config.files import parse_config
from harness.config.hashing import hash_of
from harness.errors import ConfigurationError
from harness.schedule.assignment import cheapest
from harness.schedule.tournament import Planned, Schedule


def schedule(games: int = 70, **sections: Any) -> Schedule:
    agents = {name: {"kind": "scripted", "policy": name} for name in ("a", "b", "c", "d")}
    plain = {"run": {"games": games, "seed": 5}, "agents": agents, "roster": {"mix": {"a": 3, "b": 4}}}
    return Schedule(parse_config(plain | sections))


def roles(planned: Planned, made: Schedule) -> list[str]:
    cell = made.cells[planned.cell]
    game = load_game(cell.game)
    config = game.configure(**cell.settings)
    return [fact.role for fact in game.seats(config, game.start(config, planned.seed)[1])]


def test_schedule_is_a_function_of_the_configuration():
    assert list(schedule()) == list(schedule())


def test_a_games_id_is_the_hash_of_rules_seed_and_players():
    made = schedule(games=3)
    plain = {name: agent.model_dump(mode="json") for name, agent in made.config.agents.items()}
    game, rules = made.cells[0].rules()
    for planned in made:
        players = [plain[agent] for agent in planned.agents]
        settings = rules.model_dump(mode="json")
        wanted = hash_of([game.name, settings, planned.seed, list(planned.agents), players])
        assert planned.game_id == wanted


def test_more_games_leave_the_earlier_ones_as_they_are():
    assert list(schedule(games=30)) == list(schedule(games=60))[:30]


def test_every_game_has_exactly_the_players_of_a_mix_that_fits():
    assert {tuple(sorted(Counter(g.agents).items())) for g in schedule()} == {(("a", 3), ("b", 4))}


def test_mix_is_balanced_over_seats_and_roles():
    made = schedule(games=140)
    seats = Counter((agent, seat) for g in made for seat, agent in enumerate(g.agents))
    held = Counter((agent, role) for g in made for agent, role in zip(g.agents, roles(g, made)))
    assert all(abs(n - {"a": 60, "b": 80}[agent]) <= 3 for (agent, _), n in seats.items())
    expected = {"werewolf": 2, "seer": 1, "doctor": 1, "villager": 3}
    assert all(abs(n - expected[role] * {"a": 60, "b": 80}[agent]) <= 3 for (agent, role), n in held.items())


def test_larger_roster_meets_all_opponents():
    made = schedule(games=200, roster={"mix": {"a": 3, "b": 3, "c": 3, "d": 3}})
    met = Counter(
        pair for g in made for pair in {tuple(sorted((x, y))) for x in g.agents for y in g.agents if x < y}
    )
    assert min(met.values()) > 0.9 * 200 * 0.9
    assert len(met) == 6


def test_roster_by_role_puts_the_named_agent_on_the_role():
    made = schedule(games=20, roster={"roles": {"werewolf": "a", "seer": ["b", "c"], "others": "d"}})
    wanted = {"werewolf": {"a"}, "seer": {"b", "c"}, "doctor": {"d"}, "villager": {"d"}}
    assert all(agent in wanted[role] for g in made for agent, role in zip(g.agents, roles(g, made)))


def test_roster_that_leaves_a_role_open_is_refused():
    with pytest.raises(ConfigurationError, match=r"no player for the role '.*others ="):
        schedule(roster={"roles": {"werewolf": "a"}})


def test_roster_with_the_wrong_number_of_seats_is_refused():
    with pytest.raises(ConfigurationError, match="names 3 players, this game of werewolf has 7 seats"):
        schedule(roster={"seats": ["a", "b", "c"]})


def test_factors_are_crossed_and_cells_share_their_seeds():
    factors = {"game.preset": ["classic-7", "probe-6"], "agents.a.settings.bold": [0.1, 0.9]}
    made = schedule(games=3, experiment={"factors": factors})
    games = list(made)
    assert (len(made.cells), len(games)) == (4, 12)
    assert {len(g.agents) for g in games} == {6, 7}
    assert len({g.seed for g in games}) == 3
    assert len({g.game_id for g in games}) == 12


def test_factor_levels_that_do_not_differ_are_refused():
    with pytest.raises(ConfigurationError, match="would be the same game"):
        list(schedule(experiment={"factors": {"game.preset": ["classic-7", "classic-7"]}}))


def test_unknown_game_setting_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match="no setting 'speech_round'; did you mean 'speech_rounds'"):
        schedule(game={"speech_round": 2})


def test_unknown_preset_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match="did you mean 'classic-7'"):
        schedule(game={"preset": "clasic-7"})


def test_unknown_game_is_refused():
    with pytest.raises(ConfigurationError, match="no game is called 'poker'"):
        schedule(game={"name": "poker"})


@pytest.mark.parametrize("n", [1, 2, 5, 7, 12, 20])
def test_the_cheapest_assignment_is_scipys(n):
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(n)
    for kinds in (1, 3, n):  # rows alike but for the noise that decides, as those of one agent are
        cost = np.round(rng.normal(size=(kinds, n)), 1)[rng.integers(0, kinds, n)] + 0.01 * rng.random((n, n))
        assert cheapest(cost.tolist()) == linear_sum_assignment(cost)[1].tolist()
