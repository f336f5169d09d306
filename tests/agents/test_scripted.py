"""The scripted players: complete, legal distributions, habits that betray a side, and play that is its seed's alone."""

from __future__ import annotations

import math

import pytest

from agents.werewolf.scripted import Scripted, ballot, policy, random_policy, speech
from agents.werewolf.styles import STYLES, Style
from games import load_game
from games.play import Answer, observe, play
from games.records import NOBODY, Event, Reply, Request, SpeechAct
from games.werewolf.evidence import Evidence, Knowledge
from games.werewolf.presets import NAMES
from games.werewolf.rules import check_legal

GAME = load_game("werewolf")
EVERYBODY = (*STYLES, "random")


def observations(config, seed, players):
    """Every observation of one game, played by `players[seat]`; the log is returned by the generator."""
    loop = play(GAME, config, seed)
    step, log = next(loop), []
    while True:
        log += step.new
        if not step.requests:
            return log
        seen = [observe(GAME, "g", config, seed, log, request) for request in step.requests]
        yield from seen
        step = loop.send([Answer(Reply(players[o.request.seat].choose(o))) for o in seen])


def whole_log(config, seed, players):
    walk = observations(config, seed, players)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("preset", NAMES)
def test_every_style_states_a_complete_legal_distribution_at_every_request(preset):
    config = GAME.configure(preset=preset, max_days=3)
    players = [Scripted(name, name) for name in EVERYBODY]
    seats = [players[i % len(players)] for i in range(config.n_players)]
    kinds = set()
    for observation in observations(config, 7, seats):
        request = observation.request
        kinds.add(request.kind)
        for player in players:
            options = player.distribution(observation)
            assert math.isclose(sum(p for _, p in options), 1.0, abs_tol=1e-12)
            for action, p in options:
                assert 0.0 <= p <= 1.0
                check_legal(request, request.seat, request.kind, action, config.n_players)
                for act in action.acts:
                    assert act.subject is None or act.subject != request.seat
                    assert (act.kind in ("accuse", "defend", "question", "announce_ballot")) <= (
                        act.subject is not None
                    )
    chosen = {"night_kill"} if config.first_night != "fixed" else set()
    assert {*chosen, "speech", "ballot"} <= kinds


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_distribution_names_no_action_twice(name):
    config = GAME.configure(preset="classic-7")
    player = Scripted(name, name)
    for observation in observations(config, 3, [player] * 7):
        actions = [action for action, _ in player.distribution(observation)]
        assert len(actions) == len(set(actions))


def test_the_random_player_covers_every_option_evenly():
    seen, me = Evidence.empty(5), Knowledge(2, "villager")
    options = (4, 0, NOBODY, 3)
    stated = random_policy(me, seen, Request(2, "ballot", options))
    assert [action.option for action, _ in stated] == list(options)
    assert {p for _, p in stated} == {0.25}
    said = random_policy(me, seen, Request(2, "speech", (), speaks=True))
    kinds, others = ("accuse", "defend", "question"), (0, 1, 3, 4)
    assert {a.acts for a, _ in said} == {(), *((SpeechAct(kind, j),) for kind in kinds for j in others)}
    assert len({p for _, p in said}) == 1


def share(acts, kind):
    return sum(p for said, p in acts if any(act.kind == kind for act in said))


@pytest.mark.parametrize("name", ["naive", "loud", "bluffer", "claimer"])
def test_werewolves_accuse_less_and_defend_more_than_villagers(name):
    style, seen = STYLES[name], Evidence.empty(7)
    villager = speech(style, Knowledge(0, "villager"), seen)
    werewolf = speech(style, Knowledge(0, "werewolf", (1,)), seen)
    assert share(werewolf, "accuse") < share(villager, "accuse")
    assert share(werewolf, "defend") > share(villager, "defend")


def test_werewolves_spare_their_partner_and_bussing_ones_accuse_it():
    seen = Evidence.empty(7)

    def against_partner(name):
        acts = speech(STYLES[name], Knowledge(0, "werewolf", (1,)), seen)
        return sum(p for said, p in acts if SpeechAct("accuse", 1) in said) / share(acts, "accuse")

    assert against_partner("naive") < 1 / 6 < against_partner("busser")
    votes = dict(ballot(STYLES["naive"], Knowledge(0, "werewolf", (1,)), seen, (1, 2, 3)))
    assert votes[1] < votes[2]


def test_seers_act_on_what_they_found_and_report_it():
    seen, me = Evidence.empty(5), Knowledge(0, "seer", results=((3, True),))
    votes = dict(ballot(STYLES["naive"], me, seen, (1, 2, 3, 4)))
    assert votes[3] > 0.99
    report = SpeechAct("report_inspection", 3, "werewolf")
    told = sum(p for said, p in speech(STYLES["naive"], me, seen) if report in said)
    assert math.isclose(told, STYLES["naive"].reveal)


def test_a_report_refuted_by_my_own_knowledge_turns_me_against_the_reporter():
    seen = Evidence.empty(5)
    lie = (SpeechAct("claim_role", role="seer"), SpeechAct("report_inspection", 0, "werewolf"))
    seen.add(Event(0, "speech", None, actor=3, acts=lie))
    mine = dict(ballot(STYLES["naive"], Knowledge(0, "villager"), seen, (1, 2, 3, 4)))
    others = dict(ballot(STYLES["naive"], Knowledge(1, "villager"), seen, (0, 2, 3, 4)))
    assert max(mine, key=mine.get) == 3
    assert max(others, key=others.get) == 0


def test_werewolves_kill_claimed_seers_and_never_a_partner():
    seen = Evidence.empty(6)
    seen.add(Event(0, "speech", None, actor=3, acts=(SpeechAct("claim_role", role="seer"),)))
    request = Request(0, "night_kill", (2, 3, 4, 5))
    stated = {a.option: p for a, p in policy(STYLES["naive"], Knowledge(0, "werewolf", (1,)), seen, request)}
    assert max(stated, key=stated.get) == 3
    anyone = Request(0, "night_kill", (0, 1, 2, 3, 4, 5))
    stated = {a.option: p for a, p in policy(STYLES["naive"], Knowledge(0, "werewolf", (1,)), seen, anyone)}
    assert stated[0] + stated[1] < 0.01


def test_play_is_a_function_of_the_seed():
    config = GAME.configure(preset="kaggle-8")
    seats = [Scripted(EVERYBODY[i % 7], EVERYBODY[i % 7]) for i in range(8)]
    assert whole_log(config, 5, seats) == whole_log(config, 5, seats)
    assert whole_log(config, 5, seats) != whole_log(config, 6, seats)


def test_drawn_actions_follow_the_stated_distribution():
    config = GAME.configure(preset="classic-7")
    player = Scripted("loud", "loud")
    observation = next(o for o in observations(config, 2, [player] * 7) if o.request.kind == "ballot")
    stated = {a.option: p for a, p in player.distribution(observation)}
    n = 4000
    from msgspec.structs import replace

    drawn = [
        player.choose(replace(observation, seed=seed * 0x9E3779B97F4A7C15 % 2**64)).option
        for seed in range(n)
    ]
    for option, p in stated.items():
        assert abs(drawn.count(option) / n - p) < 4 * math.sqrt(p * (1 - p) / n) + 2e-3


def test_an_unknown_style_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="there are: random, naive"):
        Scripted("x", "clever")
    assert Scripted("mine", Style(accuse=0.9)).style.accuse == 0.9
