"""The PettingZoo environments of Avalon: conformance on every preset, the same events as the rules, rewards, seeds."""

from __future__ import annotations

import pickle
import random
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pettingzoo
import pytest
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
)
from pettingzoo.utils.conversions import parallel_to_aec

from games import avalon_v0
from games.avalon import GAME
from games.avalon.arrays.discrete import SEAT_FEATURES, Catalogue
from games.avalon.presets import NAMES, configure
from games.avalon.words.rules_text import rules_text
from games.play import fold
from games.records import Decision

FORMS = ("discrete", "text")
HARMLESS = (
    ".*probably should be gymnasium.spaces.*",  # Dict spaces are named as supported, but still warned about
    ".*not a NumPy array.*",
    ".*was dead last turn.*",
)


@pytest.fixture(autouse=True)
def _no_other_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        yield


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("preset", NAMES)
def test_environments_pass_the_conformance_tests(
    preset: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def env(**settings: Any) -> Any:
        return avalon_v0.env(preset=preset, actions=form, **settings)

    def parallel_env(**settings: Any) -> Any:
        return avalon_v0.parallel_env(preset=preset, actions=form, **settings)

    api_test(env(), num_cycles=40)
    parallel_api_test(parallel_env(), num_cycles=30)
    seed_test(env, num_cycles=20)
    parallel_seed_test(parallel_env, num_cycles=20)
    render_test(env)
    # In the AEC form only those are asked who have something to decide; the test wants equal turns for all.
    max_cycles_test(
        SimpleNamespace(parallel_env=parallel_env, env=lambda **kw: parallel_to_aec(parallel_env(**kw)))
    )


def sampled(env: Any, agent: str, rng: random.Random, form: str) -> Any:
    observation = env.observe(agent)
    if form == "discrete":
        return rng.choice(np.flatnonzero(observation["action_mask"]).tolist())
    return {
        "target": rng.choice(np.flatnonzero(observation["legal_targets"]).tolist()),
        "text": rng.choice(["", "I retract. Hm.", "I am not the merlin."]),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("preset", NAMES)
def test_both_environments_give_the_events_of_the_rules(preset: str, form: str) -> None:
    aec, parallel = (make(preset=preset, actions=form) for make in (avalon_v0.env, avalon_v0.parallel_env))
    aec.reset(seed=3)
    parallel.reset(seed=3)
    rng = random.Random(3)
    while parallel.agents:
        actions = {}
        for _ in range(len(parallel.table.waiting)):
            agent = aec.agent_selection
            actions[agent] = sampled(aec, agent, rng, form)
            aec.step(actions[agent])
        parallel.step(actions)
    log = aec.unwrapped.table.log
    assert log == parallel.table.log
    assert fold(GAME, configure(preset), 3, log)[1] == log
    assert aec.unwrapped.table.fallbacks == [0] * len(aec.possible_agents)
    assert any(isinstance(r, Decision) and r.action.acts for r in log)


def test_winners_get_one_and_losers_minus_one_at_the_end_only() -> None:
    env = avalon_v0.parallel_env(preset="avalon-7", discussion="none", talk_before=())
    for seed in range(4):
        env.reset(seed=seed)
        rewards: dict[str, float] = {}
        while env.agents:
            assert set(rewards.values()) <= {0.0}
            _, rewards, *_ = env.step({})
        winners = {f"player_{i}" for i in env.table.outcome.winners}
        assert rewards == {agent: 1.0 if agent in winners else -1.0 for agent in env.possible_agents}


def test_masks_are_exact_and_every_act_of_the_catalogue_is_legal_somewhere() -> None:
    config = configure("avalon-5")
    catalogue, rng, seen = Catalogue(config), random.Random(0), set[int]()
    for seed in range(8):
        env = avalon_v0.env(preset="avalon-5")
        env.reset(seed=seed)
        while env.unwrapped.table.outcome is None:
            request = env.unwrapped.table.waiting[0]
            mask = env.observe(env.agent_selection)["action_mask"]
            words = env.unwrapped._words
            legal = {i for i in range(len(catalogue)) if catalogue.action(request, i, words) is not None}
            assert legal == set(np.flatnonzero(mask).tolist())
            seen |= legal
            env.step(rng.choice(sorted(legal)))
    never = {8, 9, 10, 11}  # nobody bids, and no discussion is free, in avalon-5
    assert seen == set(range(len(catalogue))) - never


def test_a_good_players_failure_becomes_a_counted_fallback() -> None:
    env = avalon_v0.parallel_env(preset="resistance-5", discussion="none", talk_before=())
    env.reset(seed=1)
    failure = 6
    while True:
        cards = [r for r in env.table.waiting if r.kind == "card" and len(r.options) == 1]
        if cards:
            break
        env.step({f"player_{r.seat}": 7 for r in env.table.waiting if r.kind == "vote"})
    agent = f"player_{cards[0].seat}"
    before = env.table.fallbacks[cards[0].seat]
    *_, infos = env.step({agent: failure})
    assert infos[agent]["fallbacks"] == before + 1
    played = next(r for r in reversed(env.table.log) if isinstance(r, Decision) and r.seat == cards[0].seat)
    assert (played.action.option, played.fallback) == (1, "illegal")


def test_features_say_what_the_seat_knows_and_nothing_else() -> None:
    env = avalon_v0.parallel_env(preset="avalon-10")
    observations, _ = env.reset(seed=5)
    roles = [facts.role for facts in GAME.seats(env.config, env.table.log)]
    column = {name: i for i, name in enumerate(SEAT_FEATURES)}
    known = env.table._state.moderator.known
    for seat in range(10):
        rows = observations[f"player_{seat}"]["observation"][: 10 * len(column)].reshape(10, -1)
        for other in range(10):
            assert rows[other, column["me"]] == float(other == seat)
            assert rows[other, column[f"role_{roles[other]}"]] == float(other == seat)
            assert rows[other, column["shown_evil"]] == float(known[seat].get(other) == "evil")
            assert rows[other, column["shown_merlin"]] == float(known[seat].get(other) == "merlin")


@pytest.mark.parametrize("make", [avalon_v0.env, avalon_v0.parallel_env])
def test_environments_can_be_pickled_in_the_middle_of_a_game(make: Any) -> None:
    env = make(preset="avalon-6")
    env.reset(seed=1)
    for _ in range(9):
        env.step(
            sampled(env, env.agent_selection, random.Random(0), "discrete")
        ) if make is avalon_v0.env else env.step({})
    twin = pickle.loads(pickle.dumps(env))  # noqa: S301 - our own bytes
    assert twin.unwrapped.table.log == env.unwrapped.table.log


def test_environments_are_registered_and_carry_their_card() -> None:
    env = pettingzoo.make("aec", "wolfscope/avalon-v0", preset="avalon-6")
    env.reset(seed=1)
    assert env.num_agents == 6
    assert str(env) == "avalon_v0"
    assert env.unwrapped.rules_text() == rules_text(env.unwrapped.config)
    assert pettingzoo.make("parallel", "wolfscope/avalon-v0").config == configure()
    for heading in ("Observation", "Action", "Rewards", "Version history"):
        assert f"### {heading}" in avalon_v0.__doc__
