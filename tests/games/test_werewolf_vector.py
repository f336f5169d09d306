"""The lock-step form plays the very games of the plain rules."""

from __future__ import annotations

import numpy as np
import pytest

from games.base import ConfigError
from games.engine.masks import mix
from games.play import Answer, stamp
from games.records import NOBODY, Action, Event, Reply
from games.werewolf import GAME
from games.werewolf.arrays.discrete import ROLES
from games.werewolf.arrays.vector import WINNERS, VectorGames, supported
from games.werewolf.presets import configure
from games.werewolf.rules import moderator_at

RULE_SETS = {
    "classic-7": {"preset": "classic-7"},
    "probe-6": {"preset": "probe-6"},
    "kaggle-8, one ballot": {"preset": "kaggle-8", "ballot": "simultaneous"},
    "kaggle-7, no exile": {"preset": "kaggle-7", "ballot": "simultaneous", "tie": "no_exile"},
    "jester and majority": {
        "preset": "custom",
        "roles": {"werewolf": 2, "seer": 2, "doctor": 2, "villager": 2, "jester": 1, "possessed": 1},
        "kill_rule": "one_random",
        "kill_targets": "anyone",
        "kill_abstain": True,
        "ballot_rule": "majority",
        "ballot_self": True,
        "first_night": "no_kill",
        "max_days": 5,
        "edge_kill": True,
        "discussion": "none",
    },
    "random ties, first night of inspections": {
        "preset": "custom",
        "roles": {"werewolf": 3, "seer": 1, "doctor": 1, "villager": 6, "mason": 2},
        "night_order": (("inspect", "protect"), ("night_kill",)),
        "first_night": "inspect_only",
        "tie": "random",
        "doctor_repeats": False,
        "ballot_abstain": True,
        "max_days": 4,
    },
}


@pytest.mark.parametrize("name", RULE_SETS)
def test_lock_step_equals_the_plain_rules_game_by_game(name: str) -> None:
    """The same random choices in both: deal, options, speakers, ties, deaths, exiles and winners agree throughout."""
    config = GAME.configure(**RULE_SETS[name])
    n_games = 250
    seeds = np.arange(n_games) * 7919 + 1
    games = VectorGames(config, seeds)
    rng = np.random.default_rng(1)
    plain = [GAME.start(config, int(seed))[0] for seed in seeds]
    for i, state in enumerate(plain):
        assert [ROLES[r] for r in games.roles[i]] == list(state.moderator.roles)
    while games.phase != "over":
        phase, choices = games.phase, games.random_choices(rng)
        legal, speaker, day = games.legal(), games.speaker() if phase == "speech" else None, games.day.copy()
        seen: list[tuple[Event, ...]] = [()] * n_games
        for i, state in enumerate(plain):
            if speaker is not None:
                asked = [r.seat for r in state.requests if r.kind == "speech"]
                assert asked == ([] if speaker[i] == NOBODY else [speaker[i]])
                actions = {s: Action() for s in asked}
            else:
                for request in state.requests:
                    mask = sum(1 << (config.n_players if o == NOBODY else o) for o in request.options)
                    assert mask == legal[i, request.seat]
                asked = {r.seat for r in state.requests}
                everybody = set(np.flatnonzero(legal[i]).tolist())
                assert asked == everybody or (asked < everybody and len(config.night_order) > 1)
                actions = {r.seat: Action(int(choices[i, r.seat])) for r in state.requests}
            # Waves of one night that are asked one after another take the same choices.
            while plain[i].requests and plain[i].requests[0].kind in KINDS[phase]:
                state, now = plain[i], moderator_at(plain[i]).day
                if phase == "speech" and state.requests[0].seat not in actions:
                    break
                wave = [
                    stamp(r, Answer(Reply(actions[r.seat])), state.seq + j)
                    for j, r in enumerate(state.requests)
                ]
                plain[i], events = GAME.apply(state, wave)
                seen[i] += events
                if (
                    phase != "night"
                    or moderator_at(plain[i]).phase != "night"
                    or moderator_at(plain[i]).day != now
                ):
                    break
                actions = {r.seat: Action(int(choices[i, r.seat])) for r in plain[i].requests}
        games.step(choices)
        for i, state in enumerate(plain):
            assert set(moderator_at(state).present) == {
                s for s in range(config.n_players) if games.living[i] >> s & 1
            }
            winner = state.outcome.winner if state.outcome else ""
            assert WINNERS[games.winner[i]] == winner
            assert moderator_at(state).day in (games.day[i], day[i])
            for kind, last in (("death", games.last_death), ("exile", games.last_exile)):
                for event in seen[i]:
                    if event.kind == kind:
                        assert event.target == last[i]
    assert games.done
    assert set(np.unique(games.winner)) <= {1, 2, 3, 4}
    assert len(np.unique(games.winner)) > 1


KINDS = {"night": ("night_kill", "inspect", "protect"), "speech": ("speech",), "ballot": ("ballot",)}


def test_accusations_are_counted_by_speaker_and_subject() -> None:
    games = VectorGames(configure("probe-6"), np.arange(50))
    games.step(games.random_choices(np.random.default_rng(0)))
    acts = games.catalogue.speech_acts
    accuse_2 = next(i for i, a in enumerate(acts) if a.kind == "accuse" and a.subject == 2)
    speaker = games.speaker()
    games.step(np.full(50, accuse_2))
    assert games.accusations.sum() == 50
    assert all(games.accusations[i, speaker[i], 2] == 1 for i in range(50))


def test_mask_form_of_the_options() -> None:
    games = VectorGames(configure("classic-7"), np.arange(20))
    mask = games.legal_mask()
    assert mask.shape == (20, 7, 8)
    assert mask.any(axis=2).sum(axis=1).tolist() == [4] * 20


def test_mixing_is_the_same_in_numpy() -> None:
    from games.chance import mix as plain

    values = [0, 1, 2**63, 2**64 - 1, 12345678901234567890]
    assert mix(np.array(values, dtype=np.uint64)).tolist() == [plain(v) for v in values]


def test_rule_sets_that_do_not_fit_are_refused_naming_what_does_not() -> None:
    with pytest.raises(ConfigError, match=r"a werewolf channel, .*ballot = 'sequential'"):
        VectorGames(configure("secretmafia-7"), np.arange(2))
    assert supported(configure("classic-7")) is None
    assert "witch" in (supported(configure("xu-7")) or "")
