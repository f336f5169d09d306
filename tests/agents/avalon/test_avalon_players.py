"""Scripted and Bayesian players of Avalon: full distributions, and characters that do what their names say."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest

from agents.avalon.bayesian import Bayesian
from agents.avalon.observer import Observer
from agents.avalon.scripted import Drawn, Scripted
from agents.avalon.styles import CHARACTERS, Style
from games.avalon import GAME
from games.avalon.config import AvalonConfig
from games.avalon.presets import NAMES, configure
from games.avalon.roles import EVIL
from games.base import Observation
from games.play import Answer, play
from games.records import Decision, Event, Record, Reply
from games.seat_view.views import Views
from tests.fixtures.avalon_games import Board, scripted_game

EVERYONE = (*CHARACTERS, "bayesian")


def player(name: str) -> Drawn:
    return Bayesian(name) if name == "bayesian" else Scripted(name, name)


def observations(config: AvalonConfig, seed: int, style: str = "random") -> list[Observation]:
    """What every seat saw at every request of a game."""
    out, actor = [], Scripted(style, style)
    steps, views = play(GAME, config, seed), Views(GAME, config, config.n_players)
    step = next(steps)
    while True:
        views.add(step.new)
        if not step.requests:
            return out
        seen = [views.observation(f"g{seed}", seed, r) for r in step.requests]
        out += seen
        step = steps.send([Answer(Reply(actor.choose(o))) for o in seen])


@pytest.mark.parametrize("name", EVERYONE)
def test_a_player_states_its_full_distribution_over_legal_actions(name: str) -> None:
    config = configure("avalon-5", discussion="free", free_per_seat=1, max_rejections=2)
    seen = observations(config, 3)
    words = GAME.text.words_of(config, seen[0].records)
    for observation in seen:
        given = player(name).distribution(observation)
        assert sum(p for _, p in given) == pytest.approx(1)
        assert all(p > 0 for _, p in given)
        assert len({(a.option, a.acts) for a, _ in given}) == len(given)
        for action, _ in given:
            request = observation.request
            assert action.option in request.options if request.options else action.option is None
            assert not action.acts or request.speaks
            assert GAME.text.read_acts(GAME.text.say(action.acts, words), words) == action.acts


def test_a_player_asked_before_states_what_one_does_that_is_asked_for_the_first_time() -> None:
    configs = [configure("avalon-5", discussion=form, free_per_seat=1) for form in ("free", "round_robin")]
    seen = [
        msgspec.structs.replace(o, game_id="g") for c in configs for s in (1, 2) for o in observations(c, s)
    ]
    shuffled = random.Random(0).sample(
        seen, 80
    )  # other pasts, other rules and shorter views of the same name
    asked = player("truthful")
    for observation in (*seen[:60], *shuffled):
        assert asked.distribution(observation) == player("truthful").distribution(observation)


@pytest.mark.parametrize("preset", NAMES)
@pytest.mark.parametrize("form", ["round_robin", "bidding", "free", "simultaneous"])
def test_every_character_plays_every_preset_in_every_form_of_discussion(preset: str, form: str) -> None:
    config = configure(preset, discussion=form, max_rejections=3)
    rng = random.Random(0)
    styles = [rng.choice(CHARACTERS) for _ in range(config.n_players)]
    log = scripted_game(config, 1, styles)
    assert log[-1].kind == "outcome"
    assert scripted_game(config, 1, styles) == log


def test_an_unknown_character_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="no scripted player of avalon is called 'busser'; there are: truthful"
    ):
        Scripted("x", "busser")


# --- characters -----------------------------------------------------------------------------------------------


def logs(config: AvalonConfig, styles: Sequence[str | Style], n: int) -> list[list[Record]]:
    return [scripted_game(config, seed, styles) for seed in range(n)]


def quiet(preset: str) -> AvalonConfig:
    return configure(preset, discussion="none", talk_before=())


def failures(games: Sequence[Sequence[Record]], mission: int) -> float:
    """How often evil seats in a mission failed it."""
    cards = [
        r.action.option == 0
        for log in games
        for r in log
        if isinstance(r, Decision) and r.kind == "card" and len(r.options) == 2 and r.day == mission
    ]
    return sum(cards) / len(cards)


def test_deep_cover_passes_the_first_mission_and_reckless_evil_fails_it() -> None:
    config = quiet("avalon-5")
    deep, reckless = (logs(config, [style] * 5, 20) for style in ("deep", "reckless"))
    assert failures(deep, 1) < 0.15
    assert failures(reckless, 1) > 0.9


def test_merlin_who_hints_is_found_more_often_than_merlin_who_hides() -> None:
    """Of Bayesian assassins with the same evidence; the good players' own skill is left out of it."""
    config = configure("avalon-5")
    found = {}
    for style in ("hinting", "hiding"):
        hits = []
        for seed in range(10):
            log = scripted_game(config, seed, [style] * 5)
            roles = [facts.role for facts in GAME.seats(config, log)]
            observer = Observer("exact", config, {style: 1.0})
            for record in log[: max(i for i, r in enumerate(log) if r.kind == "mission")]:
                observer.update(record)
            assassin, merlin = roles.index("assassin"), roles.index("merlin")
            hits.append(float(observer.p_merlin(assassin)[merlin]))
        found[style] = sum(hits) / len(hits)
    assert found["hinting"] > found["hiding"] + 0.2


def test_percival_follows_whom_it_was_shown_as_merlin() -> None:
    config = configure("avalon-7")
    seen = next(
        o
        for seed in range(20)
        for o in observations(config, seed, "truthful")
        if o.request.kind == "speech"
        and next(r for r in o.records if r.kind == "role").value == "percival"
        and len(accusers(o)) >= 1
    )
    accused = accusers(seen)[0]
    follower = dict(accusations(Scripted("f", "follower"), seen))
    deaf = dict(accusations(Scripted("d", Style(trust_merlin=0.0)), seen))
    assert follower[accused] > deaf[accused]


def accusers(observation: Observation) -> list[int]:
    """Seats that were accused by a seat that was shown as Merlin."""
    shown = next(r for r in observation.records if r.kind == "role").data["known"]
    return [
        act.subject
        for r in observation.records
        if isinstance(r, Event) and r.kind == "speech" and str(r.actor) in shown
        for act in r.acts
        if act.kind == "accuse" and act.subject != observation.request.seat and str(act.subject) not in shown
    ]


def accusations(who: Drawn, observation: Observation) -> list[tuple[int, float]]:
    total: Counter[int] = Counter()
    for action, p in who.distribution(observation):
        for act in action.acts:
            if act.kind == "accuse":
                total[act.subject] += p
    return list(total.items())


def test_merlin_rejects_the_teams_that_it_knows_to_be_dirty_when_it_hints() -> None:
    board = Board("merlin servant servant assassin minion").propose(3, 1)
    views = Views(GAME, board.config, 5)
    views.add(board.log)
    request = next(r for r in GAME.to_act(board.state) if r.seat == 0)
    seen = views.observation("g", 1, request)

    def approves(style: str) -> float:
        return {a.option: p for a, p in Scripted("m", style).distribution(seen)}[1]

    assert approves("hinting") < 0.2 < approves("hiding")


def test_evil_votes_for_teams_that_it_can_fail() -> None:
    board = Board("merlin servant servant assassin minion").propose(4, 1)
    views = Views(GAME, board.config, 5)
    views.add(board.log)
    p = {}
    for seat in (2, 3):
        request = next(r for r in GAME.to_act(board.state) if r.seat == seat)
        given = Scripted("r", "reckless").distribution(views.observation("g", 1, request))
        p[seat] = {a.option: q for a, q in given}[1]
    assert p[3] > 0.9 > p[2]


def test_bayesian_good_players_beat_scripted_ones_at_finding_evil() -> None:
    """Good Bayesians against evil of the mix that they expect, beside `truthful` good players against the same."""
    config = quiet("resistance-5")

    def wins(good: str) -> int:
        won = 0
        for seed in range(24):
            roles = [f.role for f in GAME.seats(config, GAME.start(config, seed)[1])]
            rng = random.Random(seed)
            seats = [
                Bayesian("b", {"deep": 1.0, "reckless": 1.0, "truthful": 1.0})
                if role not in EVIL and good == "bayesian"
                else Scripted("s", good if role not in EVIL else rng.choice(("deep", "reckless", "truthful")))
                for role in roles
            ]
            won += scripted_game(config, seed, seats)[-1].value == "good"
        return won

    assert wins("bayesian") > wins("truthful")
