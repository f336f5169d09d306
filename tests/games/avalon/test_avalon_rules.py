"""The rules of Avalon one by one, laid out by hand."""

from __future__ import annotations

import pytest

from games.avalon.presets import NAMES, configure
from games.avalon.roles import ROLES, TEAM_SIZES, shown, side_of
from games.base import ConfigError, IllegalAction
from games.records import Action, Event, SpeechAct
from tests.fixtures.avalon_games import Board

FIVE = "merlin servant servant assassin minion"
TEN = "merlin percival servant servant servant servant assassin morgana mordred oberon"
SEVEN = "merlin percival servant servant assassin morgana minion"


def rejected(board: Board, times: int) -> Board:
    for _ in range(times):
        board.propose(*range(board.config.team_size(board.now.day))).vote()
    return board


# --- proposals and votes --------------------------------------------------------------------------------------


def test_five_rejections_for_one_mission_lose_the_game_for_good() -> None:
    board = rejected(Board(FIVE), 4)
    assert board.winner is None
    rejected(board, 1)
    assert board.winner == "evil"
    assert board.state.outcome.winners == (3, 4)
    assert board.state.requests == ()  # nothing goes on after the end


def test_an_accepted_team_begins_the_count_of_rejections_anew() -> None:
    board = rejected(Board(FIVE), 4)
    board.mission(0, 1)
    assert [e.value for e in board.events("leader")] == ["1", "2", "3", "4", "5", "1"]
    rejected(board, 4)
    assert board.winner is None


def test_the_hammer_sends_the_last_team_without_a_vote() -> None:
    board = rejected(Board(FIVE, hammer=True), 4).propose(0, 3)
    assert board.asked == [(0, "card"), (3, "card")]
    assert board.events("verdict")[-1].data == {"approve": 5, "reject": 0, "vote": False}


def test_the_leader_passes_to_the_next_seat_after_every_proposal_accepted_or_not() -> None:
    board = Board(FIVE)
    first = board.now.leader
    rejected(board, 2).mission(0, 1).mission(0, 1, 2)
    assert [e.target for e in board.events("leader")] == [(first + i) % 5 for i in range(5)]


def test_everybody_votes_at_once_the_leader_and_the_team_too() -> None:
    board = Board(FIVE).propose(0, 1)
    assert board.asked == [(seat, "vote") for seat in range(5)]
    board.vote(0, 1, 2)
    assert [(e.actor, e.value, e.audience) for e in board.events("vote")] == [
        (seat, "approve" if seat < 3 else "reject", None) for seat in range(5)
    ]


def test_the_leader_may_go_itself() -> None:
    board = Board(FIVE)
    leader = board.now.leader
    assert leader in board.state.requests[0].options
    board.propose(leader, (leader + 1) % 5).vote(*range(5))
    assert (leader, "card") in board.asked


def test_nobody_is_picked_twice_for_one_team() -> None:
    board = Board(FIVE).propose(2)
    assert set(board.state.requests[0].options) == {0, 1, 3, 4}


@pytest.mark.parametrize("n_for", range(7))
def test_more_than_half_must_approve_so_that_a_tie_rejects(n_for: int) -> None:
    board = Board("merlin servant servant servant assassin minion").propose(0, 1).vote(*range(n_for))
    assert board.events("verdict")[0].value == ("approved" if n_for > 3 else "rejected")


# --- missions -------------------------------------------------------------------------------------------------


def test_team_sizes_are_those_of_the_published_table() -> None:
    assert TEAM_SIZES == {
        5: (2, 3, 2, 3, 3),
        6: (2, 3, 4, 3, 4),
        7: (2, 3, 3, 4, 4),
        8: (3, 4, 4, 5, 5),
        9: (3, 4, 4, 5, 5),
        10: (3, 4, 4, 5, 5),
    }
    sizes = {preset: [configure(preset).team_size(k) for k in range(1, 6)] for preset in NAMES}
    assert sizes["avalon-5"] == sizes["resistance-5"] == [2, 3, 2, 3, 3]
    assert sizes["avalon-10"] == [3, 4, 4, 5, 5]


@pytest.mark.parametrize(("preset", "n_evil"), list(zip(NAMES, (2, 2, 2, 3, 4), strict=True)))
def test_presets_have_the_published_number_of_evil_players(preset: str, n_evil: int) -> None:
    assert configure(preset).n_evil == n_evil


def test_good_players_can_only_play_success() -> None:
    board = Board(FIVE).propose(0, 1).vote(*range(5))
    assert [r.options for r in board.state.requests] == [(1,), (1,)]
    with pytest.raises(IllegalAction, match="allowed are"):
        board.play(0)


def test_one_failure_makes_a_mission_fail() -> None:
    board = Board(FIVE).mission(0, 3, failing=[3])
    assert board.events("mission")[0].value == "failure"


def test_an_evil_player_may_let_a_mission_succeed() -> None:
    board = Board(FIVE).mission(0, 3)
    assert board.events("mission")[0].value == "success"


def test_the_fourth_mission_of_seven_or_more_needs_two_failures_and_no_other() -> None:
    board = Board(SEVEN).mission(0, 4, failing=[4])
    assert board.events("mission")[-1].value == "failure"
    board.mission(0, 1, 2).mission(0, 1, 2)
    board.mission(0, 1, 2, 4, failing=[4])
    assert (board.events("mission")[-1].value, board.events("mission")[-1].data["failures"]) == ("success", 1)
    assert board.now.phase == "assassination"
    two = Board(SEVEN).mission(0, 4, failing=[4]).mission(0, 1, 2).mission(0, 1, 2)
    assert two.mission(0, 1, 4, 5, failing=[4, 5]).events("mission")[-1].value == "failure"
    one = Board(SEVEN, two_fails=False).mission(0, 4, failing=[4]).mission(0, 1, 2).mission(0, 1, 2)
    assert one.mission(0, 1, 2, 4, failing=[4]).events("mission")[-1].value == "failure"


def test_six_players_need_one_failure_in_the_fourth_mission() -> None:
    config = configure("avalon-6")
    assert [config.fails_needed(k) for k in range(1, 6)] == [1] * 5


def test_how_many_failed_is_public_and_who_failed_is_not() -> None:
    board = Board(FIVE).propose(0, 3).vote(*range(5)).play(3)
    [result] = board.events("mission")
    assert (result.audience, result.actor, result.data) == (None, None, {"team": [0, 3], "failures": 1})
    assert [(e.actor, e.audience) for e in board.events("card")] == [(0, (0,)), (3, (3,))]


def test_three_failed_missions_win_for_evil() -> None:
    board = Board(FIVE).mission(0, 3, failing=[3]).mission(0, 1, 4, failing=[4])
    assert board.winner is None
    assert board.mission(3, 4, failing=[3, 4]).winner == "evil"
    assert board.state.requests == ()


# --- the end --------------------------------------------------------------------------------------------------


def succeed(deal: str, **settings: object) -> Board:
    board = Board(deal, **settings)
    while board.now.n_successes < 3:
        board.mission(*range(board.config.team_size(board.now.day)))
    return board


def test_without_merlin_three_successes_win_for_good() -> None:
    board = succeed("servant servant servant minion minion")
    assert (board.winner, board.state.outcome.winners) == ("good", (0, 1, 2))


@pytest.mark.parametrize(("target", "winner"), [(0, "evil"), (1, "good")])
def test_after_three_successes_the_assassin_decides(target: int, winner: str) -> None:
    board = succeed(FIVE)
    assert board.asked == [(3, "assassinate")]
    board.answer(lambda r: target)
    assert board.winner == winner
    assert board.state.outcome.winners == ((0, 1, 2) if winner == "good" else (3, 4))


def test_the_assassin_chooses_among_those_whom_it_does_not_know_to_be_evil() -> None:
    assert set(succeed(FIVE).state.requests[0].options) == {0, 1, 2}
    board = succeed(TEN)
    assert set(board.state.requests[0].options) == {0, 1, 2, 3, 4, 5, 9}  # oberon is unknown to it


# --- who knows whom -------------------------------------------------------------------------------------------


def test_what_each_role_is_shown_of_each_other() -> None:
    board = Board(TEN)
    told = {e.value: e.data["known"] for e in board.events("role")}
    evil = {"6": "evil", "7": "evil", "8": "evil", "9": "evil"}

    def but(*seats: str) -> dict[str, str]:
        return {seat: what for seat, what in evil.items() if seat not in seats}

    assert told["merlin"] == but("8")  # not mordred
    assert told["percival"] == {"0": "merlin", "7": "merlin"}  # morgana passes for merlin
    assert told["assassin"] == but("6", "9")  # not itself, not oberon
    assert told["morgana"] == but("7", "9")
    assert told["mordred"] == but("8", "9")
    assert told["oberon"] == told["servant"] == {}
    assert all(e.audience == (e.target,) for e in board.events("role"))


def test_every_role_has_a_side_and_is_shown_nothing_but_sides_and_merlins() -> None:
    assert {side_of(role) for role in ROLES} == {"good", "evil"}
    assert {shown(a, b) for a in ROLES for b in ROLES} == {None, "evil", "merlin"}


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"roles": {"servant": 3, "minion": 1}}, "add up to 4 seats"),
        ({"roles": {"servant": 8, "minion": 3}}, "add up to 11 seats"),
        ({"roles": {"servant": 5}}, "nobody of the evil side"),
        ({"roles": {"servant": 3, "minion": 3}}, "3 of 6 seats are evil"),
        ({"roles": {"merlin": 1, "servant": 2, "minion": 2}}, "come together"),
        ({"roles": {"servant": 3, "assassin": 1, "minion": 1}}, "come together"),
        ({"roles": {"merlin": 2, "servant": 2, "assassin": 2}}, "there can be one"),
        ({"roles": {"percival": 1, "servant": 2, "minion": 2}}, "does nothing without 'merlin'"),
        ({"roles": {"merlin": 1, "servant": 2, "assassin": 1, "morgana": 1}}, "without 'percival'"),
        ({"roles": {"servant": 3, "mordred": 2}}, "without 'merlin'"),
        ({"preset": "avalon-5", "discussion": "none"}, "set discussion = 'none' and talk_before = \\[\\]"),
        ({"preset": "avalon-5", "talk_before": ()}, "talk_before"),
        ({"preset": "avalon-5", "talk_before": ("vote", "vote")}, "twice"),
        ({"preset": "avalon-5", "lexicon": "mafia"}, "no lexicon is called 'mafia'"),
        ({"preset": "avalon-5", "tie": "random"}, "tie"),
        ({"preset": "avalon5"}, "did you mean 'avalon-5'"),
    ],
)
def test_rules_that_make_no_sense_are_refused_saying_why(settings: dict, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        configure(**({"preset": "custom"} | settings))


def test_an_answer_outside_its_request_is_refused_naming_what_was_allowed() -> None:
    board = Board(FIVE)
    leader = board.now.leader
    with pytest.raises(IllegalAction, match=rf"seat {leader} chose 7 for 'pick'"):
        board.answer(lambda r: 7)
    with pytest.raises(IllegalAction, match="spoke at 'pick'"):
        board.answer(lambda r: Action(0, "hm"))
    talking = Board(FIVE, discussion="round_robin", talk_before=("proposal",))
    with pytest.raises(IllegalAction, match="about the role 'seer'"):
        talking.answer(lambda r: Action(acts=(SpeechAct("claim_role", role="seer"),)))
    with pytest.raises(IllegalAction, match="about the seats \\(9,\\)"):
        talking.answer(lambda r: Action(acts=(SpeechAct("suggest_team", team=(9,)),)))
    with pytest.raises(IllegalAction, match="half a character"):
        talking.answer(lambda r: Action(text="\ud800"))


@pytest.mark.parametrize(
    ("moments", "phases"),
    [(("proposal",), {"proposal"}), (("vote",), {"vote"}), (("proposal", "vote"), {"proposal", "vote"})],
)
def test_all_talk_at_the_configured_moments(moments: tuple[str, ...], phases: set[str]) -> None:
    board = Board(FIVE, discussion="round_robin", talk_before=moments)
    while not board.events("verdict"):
        board.answer(lambda r: Action() if r.speaks else Action(min(r.options)))
    heard = [r for r in board.log if isinstance(r, Event) and r.kind == "speech"]
    assert {e.phase for e in heard} == phases
    assert len(heard) == 5 * len(moments)
