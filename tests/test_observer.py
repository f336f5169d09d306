"""What the observers believe, against brute force, against the truth over many games, and along the evidence ladder."""

from __future__ import annotations

import numpy as np
import pytest

from agents.observer import (
    Impossible,
    Observer,
    TooLarge,
    belief_shift,
    fit,
    trajectories,
    truthful,
)
from agents.scripted import STYLES, Scripted
from games import load_game
from games.play import Answer, observe, play
from games.records import Decision, Event, Reply, SpeechAct
from tests.brute_observer import Brute, private_of

GAME = load_game("werewolf")
EVERYBODY = (*STYLES, "random")
EVEN = dict.fromkeys(EVERYBODY, 1.0)


def scripted_game(config, seed, mix=EVERYBODY):
    """The whole log of a game of scripted players drawn evenly from `mix`, and the character of each seat."""
    drawn = [mix[i] for i in np.random.default_rng(seed).integers(0, len(mix), config.n_players)]
    players = [Scripted(name, name) for name in drawn]
    loop = play(GAME, config, seed)
    step, log = next(loop), []
    while True:
        log += step.new
        if not step.requests:
            return log, drawn
        seen = [observe(GAME, "g", config, seed, log, request) for request in step.requests]
        step = loop.send(
            [Answer(Reply(players[r.seat].choose(o))) for r, o in zip(step.requests, seen, strict=True)]
        )


def custom(roles, **settings):
    return GAME.configure(preset="custom", roles=roles, **settings)


SHOWN = {"reveal_night": "role", "reveal_day": "role"}
TINY = {
    "seer": (custom({"werewolf": 1, "seer": 1, "villager": 3}, **SHOWN), ("claimer", "random")),
    "pack": (custom({"werewolf": 2, "villager": 4}, ballot_abstain=True), ("claimer", "busser")),
    "pack and seer": (
        custom({"werewolf": 2, "seer": 1, "villager": 2}, first_night="inspect_only", seer_repeats=True, tie="random"),
        ("claimer", "random"),
    ),
    "doctor": (
        custom({"werewolf": 1, "seer": 1, "doctor": 1, "villager": 1}, doctor_repeats=False, **SHOWN),
        ("naive", "bluffer", "random"),
    ),
    "hidden doctor": (custom({"werewolf": 1, "doctor": 1, "villager": 3}, doctor_self=False), ("loud", "random")),
    "witch": (
        custom(
            {"werewolf": 1, "witch": 1, "villager": 2},
            night_order=(("night_kill",), ("witch",)),
            reveal_day="species",
        ),
        ("claimer", "random"),
    ),
    "possessed": (
        custom(
            {"werewolf": 1, "possessed": 1, "seer": 1, "villager": 2},
            seer_learns="faction",
            first_night="inspect_only",
            discussion="free",
            free_per_seat=1,
            kill_targets="anyone",
            ballot_self=True,
            revotes=1,
            tie="random",
        ),
        ("claimer", "random"),
    ),
    "hunter and medium": (
        custom({"werewolf": 1, "hunter": 1, "medium": 1, "villager": 2}, tie="random", seer_learns="species"),
        ("claimer", "loud"),
    ),
    "masons": (custom({"werewolf": 1, "mason": 2, "villager": 2}, last_words="all"), ("bluffer", "cautious")),
    "mayor and channel": (
        custom(
            {"werewolf": 2, "villager": 4},
            night_order=(("chat",), ("night_kill",)),
            chat_until_agree=True,
            chat_rounds=2,
            mayor=True,
            ballot="sequential",
            **SHOWN,
        ),
        ("claimer", "random"),
    ),
    "one hand": (
        custom({"werewolf": 2, "villager": 4}, kill_rule="one_random", edge_kill=True, tie="random"),
        ("busser", "random"),
    ),
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("seed", [1, 2])
def test_exact_observer_equals_brute_force_in_first_and_second_order(name, seed):
    config, mix = TINY[name]
    log, styles = next(
        (log, styles)
        for log, styles in (scripted_game(config, 100 * seed + i, mix) for i in range(50))
        if sum(isinstance(r, Event) and r.kind in ("speech", "ballot") for r in log) > 5
    )
    prior = {style: 1.0 + i for i, style in enumerate(mix)}
    total = sum(prior.values())
    observer = Observer("exact", config, prior)
    brute = Brute(config, mix, [prior[style] / total for style in mix])
    checked = 0
    for i, record in enumerate(log):
        dead = []
        for later in log[i + 1 :]:  # the dead of the night that `record` opens
            if not (isinstance(later, Event) and later.kind == "death"):
                break
            dead.append(later.target)
        observer.update(record)
        brute.update(record, dead)
        if not isinstance(record, Event) or record.kind not in ("no_death", "speech", "ballot", "exile", "outcome"):
            continue
        for viewer in range(config.n_players):
            private = private_of(config, log[: i + 1], viewer)
            if record.kind == "exile" and "medium" in config.roles:
                continue  # a medium is told in the next record what brute force counts with the exile
            style = mix.index(styles[viewer])
            expected = brute.mine(viewer, private, style) @ brute.wolves()
            np.testing.assert_allclose(observer.p_werewolf(viewer), expected, atol=1e-9, rtol=0)
            if record.kind in ("exile", "ballot") or checked % 7 == 0:
                np.testing.assert_allclose(
                    observer.second_order(viewer), brute.second_order(viewer, private, style), atol=1e-9, rtol=0
                )
            checked += 1
    assert checked > 10
