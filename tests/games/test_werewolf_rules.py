"""The rules of Werewolf: the traps that others have fallen into, what each preset promises, what is refused."""

from __future__ import annotations

import pytest

from games.base import ConfigError, IllegalAction
from games.play import Answer, stamp
from games.records import NOBODY, Action, Reply, SpeechAct
from games.werewolf import GAME
from games.werewolf.config import WerewolfConfig
from games.werewolf.discussion import OVER, SKIP, SPEAK
from games.werewolf.presets import NAMES, configure
from tests.fixtures.werewolf_table import Board

CLASSIC = "werewolf werewolf seer doctor villager villager villager"
W, W2, SEER, DOCTOR, V, V2, V3 = range(7)


# --- traps ----------------------------------------------------------------------------------------------------


def test_werewolf_kill_resolves_when_doctor_and_seer_are_dead() -> None:
    board = Board(CLASSIC + " villager villager", doctor_repeats=False)
    board.night(night_kill=DOCTOR, protect=DOCTOR + 1).day()
    board.night(night_kill=SEER).day()
    assert set(board.asked) == {"night_kill"}
    board.night(night_kill=V)
    assert V not in board.living


def test_saved_target_is_revealed_to_nobody() -> None:
    saved = Board(CLASSIC, "classic-7").night(night_kill=V, protect=V, inspect=V2)
    other = Board(CLASSIC, "classic-7").night(night_kill=V2, protect=V2, inspect=V2)
    assert saved.events("no_death")
    assert saved.events("saved")[0].audience == ()
    for seat in (SEER, V, V2, V3):
        assert saved.sees(seat) == other.sees(seat)
    assert set(saved.play(until="ballot").request(V3).options) == {*range(6), NOBODY}


def test_options_after_a_save_still_hold_the_saved_seat() -> None:
    board = Board(CLASSIC, "classic-7").night(night_kill=V, protect=V).day()
    assert V in board.request(W).options
    assert V not in board.request(DOCTOR).options  # the doctor's own rule, known to it alone


def test_seer_who_has_inspected_all_is_asked_nothing_and_the_game_goes_on() -> None:
    board = Board("werewolf seer villager villager villager", kill_abstain=True)
    for target in (0, 2, 3, 4):
        board.night(inspect=target, night_kill=NOBODY).day()
    assert board.asked == {"night_kill": [0]}
    board.night(night_kill=3)
    assert board.living == {0, 1, 2, 4}


def test_werewolves_who_disagree_while_the_witch_poisons() -> None:
    board = Board(
        "werewolf werewolf witch villager villager villager villager",
        night_order=[["night_kill"], ["witch"]],
    )
    board.night(night_kill={0: 3, 1: 4}, heal=NOBODY, poison=0)
    prey = board.events("prey")[0].target
    assert prey in (3, 4)
    assert board.events("draw")[0].audience == ()
    assert board.living == set(range(7)) - {0, prey}
    assert board.events("attacked")[0].target == prey


def test_two_deaths_in_one_night_that_end_the_game_for_both_sides_are_a_village_win() -> None:
    board = Board("werewolf witch villager villager", night_order=[["night_kill"], ["witch"]])
    board.night(night_kill=2, heal=NOBODY, poison=NOBODY).day()
    board.night(night_kill=3, heal=NOBODY, poison=0)
    assert board.living == {1}
    assert board.winner == "village"
    assert board.events("outcome")[0].data == {"winners": [1, 2, 3], "reason": "no werewolf lives"}


def test_every_werewolf_is_told_its_partners() -> None:
    board = Board("werewolf villager werewolf villager villager villager villager werewolf villager villager")
    told = {e.target: e.data["known"] for e in board.events("role")}
    for seat in (0, 2, 7):
        assert told[seat] == {str(i): "werewolf" for i in (0, 2, 7) if i != seat}
    assert all(told[seat] == {} for seat in (1, 3, 4, 5, 6, 8, 9))


def test_masons_know_each_other_and_the_possessed_knows_nobody() -> None:
    board = Board("werewolf mason mason possessed villager villager")
    told = {e.target: e.data["known"] for e in board.events("role")}
    assert told[1] == {"2": "mason"}
    assert told[2] == {"1": "mason"}
    assert told[3] == told[0] == {}


# --- roles ----------------------------------------------------------------------------------------------------


def test_doctor_save_cancels_night_kill() -> None:
    board = Board(CLASSIC, "classic-7").night(night_kill=SEER, protect=SEER)
    assert board.living == set(range(7))


def test_doctor_may_not_repeat_a_target_but_may_come_back_to_it() -> None:
    board = Board(CLASSIC, "classic-7").night(night_kill=V, protect=V).day()
    assert V not in board.request(DOCTOR).options
    board.night(night_kill=V2, protect=V2).day()
    assert V in board.request(DOCTOR).options


def test_guard_is_a_doctor_who_may_not_protect_itself() -> None:
    board = Board(CLASSIC, doctor_self=False)
    assert DOCTOR not in board.request(DOCTOR).options


def test_witch_heals_once_and_is_then_not_told_the_target() -> None:
    order = [["night_kill"], ["witch"]]
    board = Board("werewolf witch villager villager villager villager", night_order=order)
    board.night(night_kill=2, heal=2).day()
    assert board.living == set(range(6))
    board.night(night_kill=2)
    assert len(board.events("attacked")) == 1
    assert 2 not in board.living


def test_witch_poison_is_not_healed_by_a_doctor() -> None:
    order = [["night_kill", "protect"], ["witch"]]
    board = Board("werewolf witch doctor villager villager villager", night_order=order)
    board.night(night_kill=4, heal=4, poison=3, protect=3)
    assert board.living == {0, 1, 2, 4, 5}


def test_hunter_takes_one_along_and_victory_is_checked_after_the_shot() -> None:
    board = Board("werewolf hunter villager villager", night_order=[["night_kill"]])
    board.night(night_kill=1, shoot=0)
    while board.winner is None:
        board.once(shoot=0)
    assert board.winner == "village"


def test_hunter_shot_by_a_hunter_shoots_too() -> None:
    board = Board("werewolf hunter hunter villager villager villager villager")
    board.night(night_kill=1).once(shoot=2)
    assert board.asked == {"shoot": [2]}
    board.once(shoot=3)
    assert board.living == {0, 4, 5, 6}


def test_medium_alone_learns_the_species_of_the_exiled() -> None:
    board = Board("werewolf medium villager villager villager villager", reveal_day="none")
    board.night(night_kill=5)
    board.play(until="ballot").once(ballot=2)
    event = board.events("sense")[0]
    assert (event.audience, event.target, event.value) == ((1,), 2, "human")
    assert board.events("exile")[0].value is None


def test_possessed_counts_as_human_for_parity_and_wins_with_the_werewolves() -> None:
    board = Board("werewolf possessed villager villager villager", ballot_abstain=True)
    board.night(night_kill=2).day()
    assert board.winner is None  # 1 werewolf, 3 others
    board.night(night_kill=3).day()
    assert board.winner is None  # 1 werewolf, the possessed and a villager
    board.night(night_kill=4)
    assert board.winner == "werewolf"
    assert board.state.outcome.winners == (0, 1)


def test_seer_learns_what_the_configuration_says_of_the_possessed() -> None:
    for learns, value in (("role", "possessed"), ("faction", "werewolf"), ("species", "human")):
        board = Board("werewolf possessed seer villager villager", seer_learns=learns).night(inspect=1)
        assert board.events("inspect")[0].value == value


def test_exiled_jester_wins_alone() -> None:
    board = Board("werewolf jester villager villager villager").night(night_kill=4)
    board.play(until="ballot").once(ballot=1)
    assert board.winner == "jester"
    assert board.state.outcome.winners == (1,)


def test_jester_killed_at_night_wins_nothing() -> None:
    board = Board("werewolf jester villager villager villager").night(night_kill=1)
    assert board.winner is None


def test_edge_kill_wins_when_no_plain_villager_lives() -> None:
    roles = "werewolf villager seer doctor mason mason"
    assert Board(roles).night(night_kill=1, protect=2).winner is None
    board = Board(roles, edge_kill=True).night(night_kill=1, protect=2)
    assert board.winner == "werewolf"
    assert board.events("outcome")[0].data["reason"] == "no plain villager lives"


def test_first_night_modes() -> None:
    assert set(Board(CLASSIC).asked) == {"night_kill", "inspect", "protect"}
    assert set(Board(CLASSIC, first_night="no_kill").asked) == {"inspect", "protect"}
    assert set(Board(CLASSIC, first_night="inspect_only").asked) == {"inspect"}
    later = Board(CLASSIC, first_night="inspect_only").night().day()
    assert set(later.asked) == {"night_kill", "inspect", "protect"}


def test_game_without_end_ends_after_max_days_with_no_winner() -> None:
    board = Board(CLASSIC, kill_abstain=True, ballot_abstain=True, max_days=3).play()
    assert board.winner == "nobody"
    assert board.state.outcome.winners == ()
    assert board.now.day == 3


def test_only_the_exiled_have_last_words_where_the_rules_say_so() -> None:
    board = Board(CLASSIC, last_words="exiled").night(night_kill=V)
    assert "last_words" not in board.asked
    board.play(until="ballot").once(ballot=V2)
    assert board.asked == {"last_words": [V2]}
    board = Board(CLASSIC, last_words="all").night(night_kill=V)
    board.play(until="last_words")
    assert board.asked == {"last_words": [V]}


# --- the ballot -----------------------------------------------------------------------------------------------


def ballot_of(tally: dict[int, int], **settings: object) -> Board:
    return Board("werewolf villager villager villager villager", **settings).night(night_kill=4).play(
        until="ballot"
    ).once(ballot=tally)  # fmt: skip


def test_tie_exiles_nobody_or_one_at_random_as_configured() -> None:
    tie = {0: 1, 1: 0, 2: 1, 3: 0}
    assert ballot_of(tie, tie="no_exile").events("exile")[0].target == NOBODY
    exiled = {ballot_of(tie, tie="random", seed=s).events("exile")[0].target for s in range(20)}
    assert exiled == {0, 1}


def test_majority_needs_more_than_half_of_the_living() -> None:
    half = {0: 1, 2: 1, 1: 0, 3: 2}
    assert ballot_of(half, ballot_rule="majority").events("exile")[0].target == NOBODY
    assert ballot_of(half | {3: 1}, ballot_rule="majority").events("exile")[0].target == 1


def test_revote_is_among_the_tied_and_happens_as_often_as_configured() -> None:
    board = ballot_of(
        {0: 1, 1: 0, 2: 1, 3: 0}, revotes=1, tie="random", ballot_self=True, ballot_abstain=False
    )
    assert sorted(board.request(2).options) == [0, 1]
    assert board.events("tie")[0].data == {"tied": [0, 1]}
    board.once(ballot={0: 1, 1: 0, 2: 1, 3: 0})
    assert board.events("exile")


def test_private_ballots_reach_nobody_else() -> None:
    board = ballot_of({0: 1, 1: 0, 2: 1, 3: 1}, ballot_public=False)
    assert all(event.audience == () for event in board.events("ballot"))


def test_sequential_voters_see_the_ballots_before_theirs() -> None:
    board = Board("werewolf villager villager villager villager", ballot="sequential").night(night_kill=4)
    board.play(until="ballot")
    (first,) = board.asked["ballot"]
    board.once(ballot=(first + 1) % 4)
    (second,) = board.asked["ballot"]
    assert any(getattr(r, "kind", "") == "ballot" and r.actor == first for r in board.sees(second)[0])


def test_mayor_breaks_ties_by_its_own_ballot_or_is_asked() -> None:
    board = Board("werewolf villager villager villager villager", mayor=True).night(night_kill=4)
    board.once(candidacy=1).once(mayor_ballot=1)
    assert board.now.mayor == 1
    board.play(until="ballot").once(ballot={0: 2, 1: 0, 2: 0, 3: 2})
    assert board.events("exile")[0].target == 0
    board = Board("werewolf villager villager villager villager villager", mayor=True).night(night_kill=5)
    board.once(candidacy=1).once(mayor_ballot=1).play(until="ballot")
    board.once(ballot={0: 2, 1: 4, 2: 3, 3: 2, 4: 3})
    assert board.asked == {"tie_break": [1]}
    assert sorted(board.request(1).options) == [2, 3]
    board.once(tie_break=3)
    assert board.events("exile")[0].target == 3


def test_who_broke_a_secret_tie_cannot_be_told_by_the_next_speaking_order() -> None:
    deal = "werewolf villager villager villager villager villager villager villager"
    clear = {0: 2, 1: 2, 2: 3, 3: 2, 4: 2, 5: 2, 6: 2}
    tied = {0: 2, 1: 2, 2: 3, 3: 0, 4: 2, 5: 3, 6: 3}
    for seed in range(8):
        starters = []
        for votes in (clear, tied):
            board = Board(deal, mayor=True, ballot_public=False, seed=seed).night(night_kill=7)
            board.once(candidacy=1).once(mayor_ballot=1).play(until="ballot").once(ballot=votes)
            assert board.events("exile")[0].target == 2
            board.night(night_kill=6)
            starters.append(board.asked["speech"])
        assert starters[0] == starters[1]


def test_dead_mayor_names_a_successor() -> None:
    board = Board("werewolf villager villager villager villager villager villager", mayor=True).night(
        night_kill=6
    )
    board.once(candidacy=1).once(mayor_ballot=1).play(until="ballot").once(ballot=1)
    assert board.asked == {"succession": [1]}
    board.once(succession=3)
    assert board.now.mayor == 3


def test_no_candidate_means_no_mayor() -> None:
    board = Board(CLASSIC, mayor=True).night(night_kill=V).once(candidacy=0)
    assert board.now.mayor == NOBODY
    assert "speech" in board.asked


# --- discussion -----------------------------------------------------------------------------------------------


def speakers(board: Board) -> list[int]:
    return [event.actor for event in board.events("speech")]


def test_round_robin_starts_with_a_random_seat_each_day() -> None:
    starts = set()
    for seed in range(40):
        board = Board("villager villager villager villager werewolf", "custom", seed, speech_rounds=2)
        board.night(night_kill=0).play(until="ballot")
        order = speakers(board)
        assert order[:4] == order[4:]
        assert sorted(order[:4]) == [1, 2, 3, 4]
        assert [(i - order[0]) % 5 for i in order[:4]] == sorted((i - order[0]) % 5 for i in order[:4])
        starts.add(order[0])
    assert starts == {1, 2, 3, 4}


def test_random_order_is_the_same_in_each_round_of_a_day() -> None:
    board = Board(CLASSIC, "custom", 3, discussion="random_order", speech_rounds=3).night(night_kill=V)
    order = speakers(board.play(until="ballot"))
    assert order[:6] == order[6:12] == order[12:]
    assert len(set(order)) == 6


def test_bidding_gives_the_turn_to_the_highest_bid_and_among_equals_to_the_mentioned() -> None:
    board = Board(
        "werewolf villager villager villager villager villager", discussion="bidding", speech_turns=3
    )
    board.night(night_kill=5).once(bid={0: 1, 1: 4, 2: 3, 3: 4 - 4, 4: 0})
    assert board.asked == {"speech": [1]}
    board.answer(lambda r: Action(text="look at that one", acts=(SpeechAct("accuse", 3),)))
    assert 1 not in board.asked["bid"]
    board.once(bid=2)
    assert board.asked == {"speech": [3]}
    names = GAME.seats(board.config, board.log)
    board.answer(lambda r: Action(text=f"I say, {names[4].name}!"))  # a name in free text counts as well
    board.once(bid=0)
    assert board.asked == {"speech": [4]}
    board.once()
    assert "ballot" in board.asked
    assert all(event.audience == () for event in board.events("bid"))


def test_free_talk_keeps_to_its_limits_and_to_one_order_a_day() -> None:
    board = Board("werewolf villager villager villager villager", "aiwolf-5")
    assert board.now.phase == "day"  # night 1 holds inspections only, and there is no seer
    asked = []
    while "speech" in board.asked:
        asked.append(board.asked["speech"][0])
        board.answer(lambda r: Action(SPEAK, "hello"))
    assert len(asked) == 20
    assert asked == asked[:5] * 4


def test_free_talk_ends_when_all_are_over_and_does_not_skip_for_ever() -> None:
    def turns(option: int) -> int:
        board = Board("werewolf villager villager villager villager", "aiwolf-5")
        n = 0
        while "speech" in board.asked:
            n += 1
            board.answer(lambda r: Action(option))
        return n

    assert turns(OVER) == 5
    assert turns(SKIP) == 5 * 6


def test_simultaneous_speeches_are_heard_only_afterwards() -> None:
    board = Board(CLASSIC, discussion="simultaneous").night(night_kill=V)
    assert len(board.asked["speech"]) == 6


def test_shadow_ballots_follow_each_speech_and_stay_private() -> None:
    board = Board(CLASSIC, "classic-7", shadow_ballots=True).night(night_kill=V, protect=V2)
    board.once()
    assert len(board.asked["shadow_ballot"]) == 6
    board.once()
    assert all(event.audience == () for event in board.events("shadow_ballot"))


def test_summaries_are_read_by_their_writer_alone() -> None:
    board = Board(CLASSIC, "classic-7", summaries=True).night(night_kill=V).play(until="summary")
    board.answer(lambda r: Action(text=f"note {r.seat}"))
    for seat in board.living:
        lines = board.sees(seat)[1]
        assert any(f"note {seat}" in line for line in lines)
        assert not any(f"note {other}" in line for line in lines for other in range(7) if other != seat)


# --- the werewolves' channel ----------------------------------------------------------------------------------


def test_channel_closes_when_the_werewolves_agree_and_the_target_is_settled() -> None:
    board = Board("werewolf werewolf seer witch villager villager", "foaster-6").play(until="whisper")
    board.once(whisper=4).once(whisper=5)
    assert board.asked == {"whisper": [0]}  # no agreement: a second round
    board.once(whisper=5).once(whisper=5)
    assert board.asked == {"heal": [3]}
    assert board.events("prey")[0].target == 5
    assert board.events("attacked")[0].audience == (3,)
    assert not board.decisions("night_kill")


def test_werewolves_who_never_agree_vote_after_four_rounds() -> None:
    board = Board("werewolf werewolf seer witch villager villager", "foaster-6").play(until="whisper")
    for _ in range(4):
        board.once(whisper=4).once(whisper=5)
    assert board.asked == {"night_kill": [0, 1]}


def test_one_living_werewolf_needs_no_channel() -> None:
    board = Board("werewolf werewolf seer doctor villager villager villager", "secretmafia-7")
    assert "whisper" in board.asked
    board.night(night_kill=V, protect=V2).play(until="ballot")
    while "ballot" in board.asked:
        board.once(ballot=dict.fromkeys(range(1, 7), 0) | {0: 1})
    assert 0 not in board.living
    assert "whisper" not in board.asked


def test_whispers_reach_all_werewolves_and_nobody_else() -> None:
    board = Board(CLASSIC, "secretmafia-7")
    board.answer(lambda r: Action(text="the third"))
    assert board.events("whisper")[0].audience == (W, W2)


# --- presets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "wolves"), [(6, 2), (7, 2), (9, 2), (10, 2), (11, 3), (14, 4), (15, 4)])
def test_secretmafia_rounds_as_python_does(n: int, wolves: int) -> None:
    assert configure(f"secretmafia-{n}").roles["werewolf"] == wolves


def test_every_preset_of_the_table_exists() -> None:
    assert set(NAMES) == {
        *("classic-7 arena-8 jester-8 kaggle-8 kaggle-7 aiwolf-5 aiwolf-13 foaster-6 xu-7 probe-6".split()),
        "mini-mafia-4",
        *(f"secretmafia-{n}" for n in range(6, 16)),
    }
    sizes = {name: configure(name).n_players for name in NAMES}
    assert all(name.endswith(f"-{size}") for name, size in sizes.items())


def test_arena_has_one_random_werewolf_choose_and_the_others_learn_it() -> None:
    pickers = set()
    for seed in range(20):
        board = Board("werewolf werewolf seer doctor villager villager villager villager", "arena-8", seed)
        (picker,) = board.asked["night_kill"]
        pickers.add(picker)
        assert set(board.request(picker).options) == {2, 3, 4, 5, 6, 7}
        assert set(board.request(3).options) == set(range(8))  # the doctor: anyone, itself too
        assert board.night(night_kill=4).events("prey")[0].audience == (0, 1)
    assert pickers == {0, 1}


def test_arena_seer_inspects_nobody_twice() -> None:
    board = Board("werewolf werewolf seer doctor villager villager villager villager", "arena-8")
    board.night(inspect=0, night_kill=4, protect=4).day()
    assert 0 not in board.request(2).options


def test_arena_has_eight_turns_and_reveals_nothing() -> None:
    board = Board("werewolf werewolf seer doctor villager villager villager villager", "arena-8")
    board.night(night_kill=4, protect=5).play(until="ballot")
    assert len(board.events("speech")) == 8
    assert board.events("death")[0].value is None


def test_kaggle_doctor_protects_neither_itself_nor_the_same_twice_running() -> None:
    board = Board("werewolf werewolf seer doctor villager villager villager villager", "kaggle-8")
    assert set(board.request(3).options) == {0, 1, 2, 4, 5, 6, 7}
    board.night(night_kill=4, protect=4, inspect=5).day()
    assert 4 not in board.request(3).options
    assert set(board.request(2).options) == set(board.living) - {2}  # the seer may look again


def test_kaggle_speaks_two_rounds_and_votes_one_after_another() -> None:
    board = Board("werewolf werewolf seer doctor villager villager villager villager", "kaggle-8")
    board.night(night_kill=4, protect=5).play(until="ballot")
    assert len(board.events("speech")) == 14
    assert len(board.asked["ballot"]) == 1
    assert NOBODY in board.request(board.asked["ballot"][0]).options


def test_kaggle_options_of_the_table_can_be_set() -> None:
    config = configure("kaggle-8", ballot="simultaneous", tie="no_exile")
    assert (config.ballot, config.tie) == ("simultaneous", "no_exile")


def test_aiwolf_begins_with_an_inspection_alone_and_attacks_after_it() -> None:
    board = Board("werewolf possessed seer villager villager", "aiwolf-5")
    assert set(board.asked) == {"inspect"}
    board.once(inspect=1)
    assert board.events("inspect")[0].value == "human"
    board.play(until="ballot").once(ballot=3)
    assert board.asked == {"inspect": [2]}
    board.once(inspect=0)
    assert board.asked == {"night_kill": [0]}
    assert 0 in board.request(0).options
    assert board.events("inspect")[1].value == "werewolf"


def test_aiwolf_13_whispers_before_and_after_the_ballot() -> None:
    roles = "werewolf werewolf werewolf possessed seer doctor medium" + " villager" * 6
    board = Board(roles, "aiwolf-13")
    assert set(board.asked) == {"inspect"}  # the bodyguard acts from night 2 on
    board.night().play(until="whisper")
    for _ in range(3):
        board.once()
    board.once(ballot=7)
    assert board.events("sense")[0].audience == (6,)
    assert board.asked == {"whisper": [0]}
    for _ in range(3):
        board.once()
    assert set(board.asked) == {"inspect", "protect"}
    assert 5 not in board.request(5).options


def test_foaster_elects_a_mayor_on_the_first_day_only() -> None:
    board = Board("werewolf werewolf seer witch villager villager", "foaster-6").night(whisper=4, heal=4)
    assert set(board.asked) == {"candidacy"}
    board.once(candidacy=1)
    assert 0 in board.request(0).options  # self allowed
    board.once(mayor_ballot=5).day(ballot={})
    board.night()
    if board.winner is None:
        assert "candidacy" not in board.asked


def test_xu_guard_repeats_nobody_and_edge_kill_is_on() -> None:
    board = Board("werewolf werewolf seer witch doctor villager villager", "xu-7")
    board.night(night_kill=5, protect=5, heal=NOBODY, poison=NOBODY).day()
    board.play(until="protect", night_kill=6)
    assert 5 not in board.request(4).options
    assert board.config.edge_kill


def test_probe_6_speaks_two_rounds_and_votes_at_once() -> None:
    board = Board("werewolf werewolf villager villager villager villager", "probe-6")
    board.night(night_kill=5).play(until="ballot")
    assert len(board.events("speech")) == 10
    assert len(board.asked["ballot"]) == 5
    assert NOBODY not in board.request(0).options


# --- refusals -------------------------------------------------------------------------------------------------

FOUR = {"werewolf": 1, "villager": 3}
WITCH = FOUR | {"witch": 1}
CHAT = [["chat"], ["night_kill"]]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"roles": {"werewolf": 1, "villager": 2}}, "4 to 20"),
        ({"roles": {"werewolf": 1, "villager": 20}}, "21 seats"),
        ({"roles": {"villager": 5}}, "no werewolf"),
        ({"roles": {"werewolf": 2, "villager": 2}}, "fewer than the others"),
        ({"roles": {"werewolf": -1, "villager": 6}}, "negative"),
        ({"roles": FOUR | {"mason": 1}}, "one mason"),
        ({"roles": {"werewolf": 1, "seer": 4}, "edge_kill": True}, "plain villager"),
        ({"roles": FOUR, "night_order": [["inspect"]]}, "no night_kill"),
        ({"roles": FOUR, "night_order": [["night_kill"], ["night_kill"]]}, "twice"),
        ({"roles": FOUR, "night_order": [["night_kill", "chat"]]}, "a wave of its own"),
        ({"roles": FOUR, "night_order": [["night_kill"], []]}, "a wave without acts"),
        ({"roles": FOUR, "chat_by_day": ["after_ballot", "after_ballot"]}, "a moment twice"),
        ({"roles": FOUR | {"seer": 1}, "night_order": [["night_kill"]]}, "'inspect' in which it acts"),
        ({"roles": FOUR | {"witch": 1}, "night_order": [["witch"], ["night_kill"]]}, "must come after"),
        (
            {"roles": WITCH, "night_order": [["night_kill"], ["witch"]], "witch_heals": 0, "witch_poisons": 0},
            "without potions",
        ),
        ({"roles": FOUR, "chat_until_agree": True}, "needs 'chat'"),
        (
            {"roles": FOUR, "chat_until_agree": True, "night_order": CHAT, "kill_rule": "one_random"},
            "lets one decide",
        ),
        ({"roles": FOUR, "ballot_rule": "majority", "revotes": 1}, "a majority has none"),
        ({"roles": FOUR, "ballot_rule": "majority", "mayor": True}, "a majority has none"),
        ({"roles": FOUR, "ballot_rule": "majority", "tie": "random"}, "a majority has none"),
        ({"roles": FOUR, "discussion": "none", "shadow_ballots": True}, "follow single speeches"),
        ({"roles": FOUR, "lexicon": "klingon"}, "no lexicon is called"),
        ({"roles": FOUR, "speech_rounds": 0}, "speech_rounds"),
        ({"roles": FOUR, "spech_rounds": 2}, "spech_rounds"),
        ({"roles": {"wolf": 1, "villager": 3}}, "roles"),
    ],
)  # fmt: skip
def test_senseless_configurations_are_refused_saying_why(settings: dict, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        configure("custom", **settings)


def test_every_knob_is_documented() -> None:
    fields = WerewolfConfig.model_fields
    assert [name for name, field in fields.items() if not (field.description or "").endswith(".")] == []


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'classic-7'"):
        configure("clasic-7")


def test_illegal_decisions_are_refused_naming_what_is_allowed() -> None:
    board = Board(CLASSIC, "classic-7")

    def offer(action: Action) -> None:
        decisions = [
            stamp(r, Answer(Reply(action if r.seat == W else Action(r.options[0]))), len(board.log) + i)
            for i, r in enumerate(board.state.requests)
        ]
        GAME.apply(board.state, decisions)

    with pytest.raises(IllegalAction, match=r"chose 1 for 'night_kill'; allowed are \[2, 3, 4, 5, 6\]"):
        offer(Action(W2))
    with pytest.raises(IllegalAction, match="takes no words"):
        offer(Action(V, "die"))
    with pytest.raises(IllegalAction, match="4 requests are open"):
        GAME.apply(board.state, [])
    board.night(night_kill=V).play(until="speech")
    speaker = board.asked["speech"][0]

    def say(action: Action) -> None:
        GAME.apply(board.state, [stamp(board.request(speaker), Answer(Reply(action)), len(board.log))])

    with pytest.raises(IllegalAction, match="seats 0 to 6"):
        say(Action(acts=(SpeechAct("accuse", 7),)))
    with pytest.raises(IllegalAction, match="role 'wolf'"):
        say(Action(acts=(SpeechAct("claim_role", role="wolf"),)))
    with pytest.raises(IllegalAction, match="surrogate"):
        say(Action(text="\ud800"))


def test_a_fixed_first_night_kills_a_villager_and_shows_the_seer_a_werewolf() -> None:
    board = Board("werewolf seer villager villager", first_night="fixed", tie="random")
    assert set(board.asked) == {"speech"}  # nobody chose anything
    [death] = board.events("death")
    assert board.now.roles[death.target] == "villager"
    [shown] = board.events("inspect")
    assert (shown.audience, shown.actor, shown.target, shown.value) == ((1,), 1, 0, "werewolf")
    [prey] = board.events("prey")
    assert (prey.audience, prey.target) == ((0,), death.target)
    victims = {
        Board("werewolf seer villager villager", seed=seed, first_night="fixed", tie="random")
        .events("death")[0]
        .target
        for seed in range(20)
    }
    assert victims == {2, 3}
    with pytest.raises(ConfigError, match="roles has none"):
        configure("custom", roles={"werewolf": 1, "seer": 1, "doctor": 2}, first_night="fixed")
