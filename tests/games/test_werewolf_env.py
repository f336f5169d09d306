"""The PettingZoo environments: conformance on every preset, the same events as the rules, rewards, seeds, rendering."""

from __future__ import annotations

import copy
import pickle
import random
import warnings
from collections.abc import Callable
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

from games import werewolf_v0
from games.play import fold
from games.records import Decision
from games.werewolf import GAME
from games.werewolf.arrays.discrete import Catalogue, Features
from games.werewolf.presets import NAMES, configure
from games.werewolf.words.rules_text import rules_text

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


def makers(preset: str, form: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def env(**settings: Any) -> Any:
        return werewolf_v0.env(preset=preset, actions=form, **settings)

    def parallel_env(**settings: Any) -> Any:
        return werewolf_v0.parallel_env(preset=preset, actions=form, **settings)

    return env, parallel_env


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("preset", NAMES)
def test_environments_pass_the_conformance_tests(
    preset: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    env, parallel_env = makers(preset, form)
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
        "target": rng.choice(np.flatnonzero(observation["legal_targets"]).tolist() or [0]),
        "text": rng.choice(["", "I retract. Hm.", "I retract."]),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("preset", NAMES)
def test_both_environments_give_the_events_of_the_rules(preset: str, form: str) -> None:
    env, parallel_env = makers(preset, form)
    aec, parallel = env(), parallel_env()
    aec.reset(seed=3)
    parallel.reset(seed=3)
    rng = random.Random(3)
    while parallel.agents:
        actions = {}
        for _ in range(len(parallel.waiting)):
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
    for seed in range(6):
        env = werewolf_v0.parallel_env(preset="jester-8")
        env.reset(seed=seed)
        rng = random.Random(seed)
        while env.agents:
            agents = env.agents
            actions = {agent: _legal(env, agent, rng) for agent in agents}
            _, rewards, terminations, _, _ = env.step(actions)
            outcome = env.table.outcome
            if outcome is None:
                assert set(rewards.values()) == {0.0}
                continue
            assert all(terminations.values())
            assert {a for a, r in rewards.items() if r == 1} == {f"player_{i}" for i in outcome.winners}
            assert {a for a, r in rewards.items() if r == -1} == set(agents) - {
                f"player_{i}" for i in outcome.winners
            }


def _legal(env: Any, agent: str, rng: random.Random) -> int:
    observation = env._observe(env.seat_of[agent])
    return rng.choice(np.flatnonzero(observation["action_mask"]).tolist())


def test_nobody_wins_gives_nobody_a_reward() -> None:
    env = werewolf_v0.parallel_env(preset="classic-7", kill_abstain=True, max_days=2)
    env.reset(seed=0)
    rewards: dict[str, float] = {}
    while env.agents:
        _, rewards, _, _, _ = env.step(dict.fromkeys(env.agents, 0))  # nobody, silence
    assert env.table.outcome.winner == "nobody"
    assert set(rewards.values()) == {0.0}


def test_illegal_actions_become_counted_fallbacks() -> None:
    env = werewolf_v0.env(preset="classic-7")
    env.reset(seed=1)
    agent = env.agent_selection
    env.step(len(env.unwrapped.catalogue) - 1)  # a retraction, where a target is asked for
    assert env.infos[agent]["fallbacks"] == 1
    while env.unwrapped.table.replies:
        env.step(int(np.flatnonzero(env.observe(env.agent_selection)["action_mask"])[0]))
    first = next(
        r for r in env.unwrapped.table.log if isinstance(r, Decision) and f"player_{r.seat}" == agent
    )
    assert first.fallback == "illegal"
    parallel = werewolf_v0.parallel_env(preset="classic-7")
    parallel.reset(seed=1)
    parallel.step({})
    assert {r.fallback for r in parallel.table.log if isinstance(r, Decision)} == {"missing"}


def test_half_characters_in_a_speech_are_a_fallback() -> None:
    env = werewolf_v0.parallel_env(preset="probe-6", actions="text")
    env.reset(seed=1)
    env.step({})
    (speaker,) = [r.seat for r in env.table.waiting]
    _, _, _, _, infos = env.step({f"player_{speaker}": {"target": 0, "text": "\ud800"}})
    assert infos[f"player_{speaker}"]["fallbacks"] >= 1


def test_nothing_is_seen_of_a_wave_before_it_is_complete() -> None:
    env = werewolf_v0.env(preset="classic-7")
    env.reset(seed=2)
    waiting = [f"player_{r.seat}" for r in env.unwrapped.table.waiting]
    before = {agent: env.observe(agent)["text"] for agent in waiting}
    env.step(int(np.flatnonzero(env.observe(waiting[0])["action_mask"])[0]))
    for agent in waiting[1:]:
        assert env.observe(agent)["text"] == before[agent]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [werewolf_v0.env, werewolf_v0.raw_env, werewolf_v0.parallel_env])
def test_environments_can_be_pickled_and_copied_in_the_middle_of_a_game(make: Any, form: str) -> None:
    env = make(preset="kaggle-8", actions=form)
    again = pickle.loads(pickle.dumps(env))  # noqa: S301 - our own bytes
    again.reset(seed=1)
    env.reset(seed=1)
    for _ in range(6):
        if hasattr(env, "agent_selection"):
            env.step(sampled(env, env.agent_selection, random.Random(0), form))
        else:
            env.step({})
    for twin in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):  # noqa: S301
        assert twin.unwrapped.table.log == env.unwrapped.table.log
        if hasattr(env, "agent_selection"):
            twin.step(sampled(twin, twin.agent_selection, random.Random(1), form))
        else:
            twin.step({})
        assert len(twin.unwrapped.table.log) >= len(env.unwrapped.table.log)


def test_environments_are_registered() -> None:
    aec = pettingzoo.make("aec", "wolfscope/werewolf-v0", preset="probe-6")
    aec.reset(seed=1)
    assert aec.num_agents == 6
    parallel = pettingzoo.make("parallel", "wolfscope/werewolf-v0", preset="probe-6", max_cycles=2)
    parallel.reset(seed=1)
    parallel.step({})
    *_, truncations, _ = parallel.step({})
    assert all(truncations.values())
    assert pettingzoo.spec("aec", "wolfscope/werewolf_v0").version == 0


def test_metadata_and_card() -> None:
    assert werewolf_v0.raw_env.metadata["name"] == "werewolf_v0"
    assert set(werewolf_v0.raw_env.metadata["render_modes"]) == {"human", "ansi"}
    for heading in ("Observation", "Action", "Rewards", "Version history"):
        assert f"### {heading}" in werewolf_v0.__doc__
    assert str(werewolf_v0.env()) == "werewolf_v0"


def test_rendering_shows_the_moderators_view(capsys: pytest.CaptureFixture[str]) -> None:
    env = werewolf_v0.parallel_env(preset="probe-6", render_mode="ansi")
    env.reset(seed=1)
    env.step({})
    text = env.render()
    assert "You: " in text
    assert " kills " in text
    human = werewolf_v0.parallel_env(preset="probe-6", render_mode="human")
    human.reset(seed=1)
    human.step({})
    assert capsys.readouterr().out.rstrip("\n") == text


def test_settings_stand_beside_the_preset_and_are_checked() -> None:
    env = werewolf_v0.env(preset="kaggle-8", ballot="simultaneous", lexicon="neutral")
    assert env.unwrapped.config == configure("kaggle-8", ballot="simultaneous", lexicon="neutral")
    with pytest.raises(ValueError, match="did you mean"):
        werewolf_v0.env(preset="kagle-8")
    with pytest.raises(ValueError, match="render_mode"):
        werewolf_v0.env(render_mode="rgb_array")
    with pytest.raises(ValueError, match="'discrete' or 'text'"):
        werewolf_v0.env(actions="both")


def test_rules_text_is_that_of_the_running_configuration() -> None:
    env = werewolf_v0.env(preset="foaster-6", lexicon="mafia")
    env.reset(seed=4)
    role = GAME.seats(env.unwrapped.config, env.unwrapped.table.log)[2].role
    assert env.unwrapped.rules_text("player_2") == rules_text(env.unwrapped.config, role)
    assert env.unwrapped.rules_text() == rules_text(env.unwrapped.config)


def test_games_without_a_seed_follow_from_the_last_seed() -> None:
    def play_two(env: Any) -> list[Any]:
        env.reset(seed=7)
        env.reset()
        return env.unwrapped.table.log

    assert play_two(werewolf_v0.env()) == play_two(werewolf_v0.env())
    one, two = werewolf_v0.env(), werewolf_v0.env()
    one.reset()
    two.reset()
    assert one.unwrapped.table.seed != two.unwrapped.table.seed


def test_global_random_state_is_left_alone() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the state that must not be touched
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    env = werewolf_v0.parallel_env(preset="arena-8")
    env.reset(seed=1)
    while env.agents:
        env.step({})
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_every_act_of_the_catalogue_is_legal_somewhere_and_masks_are_exact() -> None:
    config = configure("aiwolf-5")
    catalogue = Catalogue(config)
    rng = random.Random(0)
    seen: set[int] = set()
    for seed in range(12):
        env = werewolf_v0.env(preset="aiwolf-5")
        env.reset(seed=seed)
        while env.unwrapped.table.outcome is None:
            request = env.unwrapped.table.waiting[0]
            mask = env.observe(env.agent_selection)["action_mask"]
            words = env.unwrapped._words
            legal = {i for i in range(len(catalogue)) if catalogue.action(request, i, words) is not None}
            assert legal == set(np.flatnonzero(mask).tolist())
            seen |= legal
            env.step(rng.choice(sorted(legal)))
    numbers = set(range(6, 11))
    assert seen == set(range(len(catalogue))) - numbers  # nobody bids in aiwolf-5


def test_features_say_what_the_seat_knows() -> None:
    env = werewolf_v0.parallel_env(preset="classic-7")
    observations, _ = env.reset(seed=5)
    roles = [facts.role for facts in GAME.seats(env.config, env.table.log)]
    columns = {name: i for i, name in enumerate(Features(env.config, 0).column)}
    for seat in range(7):
        rows = observations[f"player_{seat}"]["observation"][: 7 * len(columns)].reshape(7, -1)
        assert rows[:, 0].tolist() == [float(i == seat) for i in range(7)]
        for other in range(7):
            known = rows[other, columns[f"known_{roles[other]}"]]
            partners = roles[seat] == roles[other] == "werewolf"
            assert known == float(other == seat or partners)
    assert len(observations["player_0"]["observation"]) == Features.size(env.config)


@pytest.mark.parametrize("make", [werewolf_v0.env, werewolf_v0.parallel_env])
def test_a_seed_may_be_one_of_numpys_integers(make):
    env, other = make(preset="classic-7"), make(preset="classic-7")
    env.reset(seed=np.int64(5))
    other.reset(seed=5)
    assert env.unwrapped.table.log == other.unwrapped.table.log
