"""Avalon in lock-step: game by game the same as by the plain rules."""

from __future__ import annotations

import numpy as np
import pytest

from games.avalon import GAME
from games.avalon.arrays.vector import OVER, WINNERS, VectorGames, supported
from games.avalon.config import AvalonConfig
from games.avalon.presets import configure
from games.avalon.roles import ROLES
from games.avalon.words.acts import say
from games.avalon.words.lines import words_of
from games.base import ConfigError
from games.play import Answer, play
from games.records import Action, Event, Reply, Request

CONFIGS = [
    configure("resistance-5", discussion="none", talk_before=()),
    configure("avalon-5"),
    configure("avalon-6", talk_before=("proposal", "vote"), max_rejections=2),
    configure("avalon-7", talk_before=("vote",), speech_rounds=2, hammer=True, max_rejections=2),
    configure("avalon-10", discussion="none", talk_before=()),
]


def replayed(
    config: AvalonConfig, n: int, rng: np.random.Generator
) -> tuple[VectorGames, list[list[np.ndarray]]]:
    """Random games in lock-step, and each one's own choices, one array of seats for each of its waves."""
    games = VectorGames(config, np.arange(n))
    kept: list[list[np.ndarray]] = [[] for _ in range(n)]
    while not games.done:
        choices, asked = games.random_choices(rng), games.asked()
        for g in range(n):
            if games.phase[g] != OVER:
                kept[g].append(np.where(asked[g], choices[g], -9))
        games.step(choices)
    return games, kept


@pytest.mark.parametrize("config", CONFIGS)
def test_the_same_choices_give_the_same_games_as_the_plain_rules(config: AvalonConfig) -> None:
    n = 30
    games, kept = replayed(config, n, np.random.default_rng(1))
    for g in range(n):
        waves = iter(kept[g])
        steps = play(GAME, config, g)
        step = next(steps)
        log = list(step.new)
        w = words_of(config, log)
        while step.requests:
            row = next(waves)
            assert {r.seat for r in step.requests} == set(np.flatnonzero(row != -9).tolist())
            step = steps.send([Answer(Reply(action(r, row, games, w))) for r in step.requests])
            log += step.new
        assert next(waves, None) is None
        events = [r for r in log if isinstance(r, Event)]
        deal = next(e for e in events if e.kind == "deal")
        assert [ROLES[r] for r in games.roles[g]] == deal.data["roles"]
        assert WINNERS[games.winner[g]] == events[-1].value
        fails = [e.data["failures"] for e in events if e.kind == "mission"]
        assert games.n_fails[g].tolist() == fails + [-1] * (5 - len(fails))
        accused = np.zeros((config.n_players, config.n_players), dtype=int)
        for e in events:
            for act in e.acts:
                if act.kind == "accuse":
                    accused[e.actor, act.subject] += 1
        assert games.accusations[g].tolist() == accused.tolist()


def action(request: Request, row: np.ndarray, games: VectorGames, w: object) -> Action:
    choice = int(row[request.seat])
    if request.kind != "speech":
        return Action(choice)
    acts = () if choice < 0 else (games.catalogue.speech_acts[choice],)
    return Action(None, say(acts, w.names, w.lex), acts)


def test_choices_of_others_make_no_difference() -> None:
    config = configure("avalon-5", discussion="none", talk_before=())
    one, two = VectorGames(config, np.arange(50)), VectorGames(config, np.arange(50))
    rng = np.random.default_rng(0)
    while not one.done:
        choices = one.random_choices(rng)
        noise = rng.integers(0, 5, choices.shape)
        one.step(choices)
        two.step(np.where(two.asked(), choices, noise))
    assert (one.winner == two.winner).all()
    assert (one.n_fails == two.n_fails).all()


def test_what_does_not_fit_is_refused_by_name() -> None:
    config = configure("avalon-5", discussion="bidding")
    assert supported(config) == "discussion = 'bidding'"
    with pytest.raises(ConfigError, match="discussion = 'bidding'; use"):
        VectorGames(config, np.arange(3))
