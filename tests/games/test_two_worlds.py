"""Two worlds that differ in what a seat may not know look the same to it: observation, mask, text, infos and the number
of steps, in every preset."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games import chance, load_game, werewolf_v0
from games.play import observe
from games.records import Action, Request
from games.seat_view.views import see
from games.werewolf import GAME
from games.werewolf.presets import NAMES, configure

HIDDEN = ("inspect", "protect", "heal", "poison", "night_kill", "whisper")


class Dealt:
    """Werewolf with roles that are given, not drawn."""

    def __init__(self, roles: tuple[str, ...]) -> None:
        self.roles = roles

    def __getattr__(self, name: str) -> Any:
        return getattr(GAME, name)

    def start(self, config: Any, seed: int) -> Any:
        return GAME.start(config, seed, self.roles)


def world(
    preset: str, seed: int, roles: tuple[str, ...], odd: int | None, n_steps: int = 90
) -> tuple[list, list]:
    """The log, and for each step what every seat is shown. Choices do not depend on roles, so that two worlds go the
    same way as long as they can; `odd`: the step whose hidden acts are chosen otherwise."""
    env = werewolf_v0.parallel_env(preset=preset)
    env.game = Dealt(roles)
    seen = [(*env.reset(seed=seed), n_seen(env))]
    while env.agents and len(seen) < n_steps:
        actions = {}
        for request in env.waiting:
            legal = np.flatnonzero(env._observe(request.seat)["action_mask"])
            other = request.kind in HIDDEN and len(seen) == odd
            # Wolves choose by day alone, so that whoever is one chooses alike.
            who = "" if request.kind == "night_kill" else request.seat
            words = f"{seed} {request.kind} {request.day} {who} {request.place} {other}".encode()
            order = sorted(legal.tolist(), key=lambda i: hashlib.blake2b(words + b"%d" % i).digest())
            actions[f"player_{request.seat}"] = order[0]
        observations, _, _, _, infos = env.step(actions)
        seen.append((observations, infos, n_seen(env)))
    return env.table.log, seen


def n_seen(env: Any) -> list[int]:
    return [len(env.table.views.records(seat)) for seat in range(len(env.possible_agents))]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def compare(preset: str, ours: tuple[list, list], theirs: tuple[list, list], seats: range) -> int:
    """Holds all that a seat is shown against each other up to the step that shows the first record in which its views
    differ; how many steps that were."""
    compared = 0
    for seat in seats:
        a, b = see(ours[0], seat), see(theirs[0], seat)
        parted = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        agent = f"player_{seat}"
        for step, (one, two) in enumerate(zip(ours[1], theirs[1], strict=False)):
            if agent not in one[0] or agent not in two[0] or max(one[2][seat], two[2][seat]) > parted:
                break
            x, y = one[0][agent], two[0][agent]
            assert same(x, y) and one[1][agent] == two[1][agent], (seat, step, x["text"], y["text"])
            compared += 1
    return compared


@pytest.mark.parametrize("preset", NAMES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_two_exchanged_roles_show_nobody_more_than_the_rules_do(preset: str, seed: int, data: Any) -> None:
    config = configure(preset)
    roles = [fact.role for fact in GAME.seats(config, GAME.start(config, seed)[1])]
    pairs = [(i, j) for i in range(len(roles)) for j in range(i) if roles[i] != roles[j]]
    i, j = data.draw(st.sampled_from(pairs))
    swapped = list(roles)
    swapped[i], swapped[j] = roles[j], roles[i]
    one, two = (world(preset, seed, tuple(r), None) for r in (roles, swapped))
    assert compare(preset, one, two, range(len(roles))) > 0


@pytest.mark.parametrize("preset", NAMES)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000), odd=st.integers(1, 12))
def test_another_hidden_act_shows_nobody_more_than_the_rules_do(preset: str, seed: int, odd: int) -> None:
    config = configure(preset)
    roles = tuple(fact.role for fact in GAME.seats(config, GAME.start(config, seed)[1]))
    one, two = (world(preset, seed, roles, which) for which in (None, odd))
    assert compare(preset, one, two, range(len(roles))) > 0


@pytest.mark.parametrize(
    "preset", [name for name in NAMES if name in ("secretmafia-8", "aiwolf-13", "foaster-6")]
)
def test_a_night_takes_the_same_steps_however_many_werewolves_live(preset: str) -> None:
    lengths = set()
    for seed in range(4):
        env = werewolf_v0.parallel_env(preset=preset)
        observations, _ = env.reset(seed=seed)
        rng, steps, was_night = np.random.default_rng(seed), 0, True
        while env.agents:
            night = bool(observations["player_0"]["observation"][-len_tail() + 1])
            if was_night and not night:
                lengths.add(steps)
            steps, was_night = (steps + 1 if night else 0), night
            actions = {
                f"player_{r.seat}": rng.choice(
                    np.flatnonzero(observations[f"player_{r.seat}"]["action_mask"])
                )
                for r in env.waiting
            }
            observations, *_ = env.step(actions)
    assert len(lengths) == 1


def len_tail() -> int:
    from games.werewolf.arrays.discrete import KINDS

    return 3 + len(KINDS)


def test_a_view_tells_nobody_who_else_was_shown_a_record() -> None:
    roles = {"werewolf": 2, "witch": 2, "villager": 4}
    config = configure("classic-7", roles=roles, night_order=(("night_kill",), ("witch",)))
    for seed in range(3):
        _, events = GAME.start(config, seed)
        log = list(events)
        from games.play import Answer, Reply, play

        steps = play(GAME, config, seed)
        step = next(steps)
        log = list(step.new)
        while step.requests and len(log) < 120:
            step = steps.send(
                [Answer(Reply(Action(r.options[0] if r.options else None))) for r in step.requests]
            )
            log += step.new
        assert any(getattr(r, "kind", "") == "attacked" and len(r.audience) == 2 for r in log)
        for seat in range(8):
            seen = observe(GAME, "0" * 16, config, seed, log, Request(seat, "speech")).records
            assert {r.audience for r in seen if hasattr(r, "audience")} <= {None, (seat,)}


def test_no_seat_s_key_leads_back_to_the_game_s_seed() -> None:
    game = load_game("werewolf")
    config = game.configure(preset="classic-7")
    for seed in range(50):
        state, events = game.start(config, seed)
        for request in game.to_act(state):
            seen = observe(game, f"{seed:016x}", config, seed, events, request)
            keys = {
                chance.key(seed, stream, seat, len(seen.records)) for stream in STREAMS for seat in range(7)
            }
            assert seen.seed not in keys
            assert observe(game, f"{seed:016x}", config, seed, events, request).seed == seen.seed


STREAMS = ("seat", "deal", "names")
