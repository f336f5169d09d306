"""Games checked by hand, one for every label and its near miss. The deal is fixed; only what is said varies."""

from __future__ import annotations

import pytest

from analysis.data.frames import GameLog
from analysis.data.labels import label
from games import load_game
from games.records import MODERATOR, Action, Decision, Event, SpeechAct
from games.werewolf.reading.knowledge import Knowledge

GAME = load_game("werewolf")
CONFIG = GAME.configure(preset="classic-7")
ROLES = ["werewolf", "werewolf", "seer", "doctor", "villager", "villager", "villager"]
PARTNERS = {0: {"1": "werewolf"}, 1: {"0": "werewolf"}}
SEER, WOLF, PARTNER, DOCTOR, ANN, BOB = 2, 0, 1, 3, 4, 5


def opening(roles=ROLES):
    events = [
        Event(0, "setup", data={"names": list(range(len(roles)))}),
        Event(1, "deal", MODERATOR, data={"roles": list(roles)}),
    ]
    for seat, role in enumerate(roles):
        known = PARTNERS.get(seat, {}) if role == "werewolf" else {}
        events.append(Event(2 + seat, "role", (seat,), target=seat, value=role, data={"known": known}))
    return events


def log(*later):
    records = opening()
    for record in later:
        records.append(record(len(records)))
    return GameLog("g", GAME, CONFIG, records)


def inspects(seer, subject, value):
    return lambda seq: Event(seq, "inspect", (seer,), day=1, actor=seer, target=subject, value=value)


def says(speaker, *acts):
    return lambda seq: Decision(seq, speaker, "speech", Action(acts=acts), day=1)


def votes(voter, target):
    return lambda seq: Decision(seq, voter, "ballot", Action(option=target), day=1)


def exile(target, role):
    return lambda seq: Event(seq, "exile", day=1, target=target, value=role)


def one(*later):
    frame = label([log(*later)])["statements"]
    assert len(frame) == 1
    return frame.row(0, named=True)


claim = lambda role: SpeechAct("claim_role", role=role)  # noqa: E731
report = lambda subject, role: SpeechAct("report_inspection", subject, role)  # noqa: E731
accuse = lambda subject: SpeechAct("accuse", subject)  # noqa: E731
defend = lambda subject: SpeechAct("defend", subject)  # noqa: E731


@pytest.mark.parametrize(
    ("speaker", "act", "false", "known", "mistake"),
    [
        (SEER, claim("seer"), False, False, False),
        (WOLF, claim("seer"), True, True, False),
        (ANN, claim("seer"), True, True, False),  # a villager who bluffs: a lie too, role is not deception
        (WOLF, SpeechAct("deny", role="werewolf"), True, True, False),
        (ANN, SpeechAct("deny", role="werewolf"), False, False, False),
        (WOLF, accuse(ANN), True, True, False),  # knows its partner, so knows that Ann is none
        (WOLF, accuse(PARTNER), False, False, False),  # true, whatever it is good for
        (WOLF, defend(PARTNER), True, True, False),
        (ANN, accuse(BOB), True, False, True),  # false, and Ann could not know
        (ANN, accuse(WOLF), False, False, False),
        (ANN, defend(WOLF), True, False, True),
        (ANN, report(WOLF, "werewolf"), True, True, False),  # never inspected, though the wolf is one
    ],
)
def test_a_statement_is_held_against_world_and_knowledge(speaker, act, false, known, mistake):
    row = one(says(speaker, act))
    assert row["statement_is_false"] is false
    assert row["speaker_knows_false"] is known
    assert row["honest_mistake"] is mistake


@pytest.mark.parametrize(
    "act", [SpeechAct("question", ANN), SpeechAct("announce_ballot", ANN), SpeechAct("retract")]
)
def test_acts_that_assert_nothing_have_no_truth(act):
    row = one(says(WOLF, act))
    assert row["statement_is_false"] is None
    assert row["speaker_knows_false"] is None
    assert row["p_speaker"] is None


def test_a_seer_who_tells_its_result_speaks_the_truth_and_knows_it():
    row = one(inspects(SEER, WOLF, "werewolf"), says(SEER, report(WOLF, "werewolf")))
    assert row["statement_is_false"] is False
    assert row["speaker_knows_true"] is True


def test_a_seer_who_turns_its_result_round_lies():
    row = one(inspects(SEER, WOLF, "werewolf"), says(SEER, report(WOLF, "villager")))
    assert row["statement_is_false"] is True
    assert row["speaker_knows_false"] is True


def test_a_report_on_somebody_else_than_the_inspected_is_a_lie():
    assert one(inspects(SEER, WOLF, "werewolf"), says(SEER, report(PARTNER, "werewolf")))[
        "speaker_knows_false"
    ]


def test_what_is_revealed_counts_as_known():
    row = one(exile(WOLF, "werewolf"), says(ANN, accuse(BOB)))
    assert row["speaker_knows_false"] is False
    assert row["p_speaker"] == pytest.approx(
        1 / 5
    )  # one werewolf left among five others whose card she has not seen
    assert one(exile(BOB, "villager"), says(ANN, accuse(BOB)))["speaker_knows_false"] is True


def test_a_seer_silent_on_a_living_werewolf_withholds_until_it_tells():
    later = [
        inspects(SEER, WOLF, "werewolf"),
        says(SEER, accuse(ANN)),
        says(SEER, report(WOLF, "werewolf")),
        says(SEER),
    ]
    assert label([log(*later)])["speeches"]["withheld"].to_list() == [True, False, False]


@pytest.mark.parametrize(
    "later",
    [
        [inspects(SEER, ANN, "villager"), says(SEER)],  # not decisive
        [inspects(SEER, WOLF, "werewolf"), exile(WOLF, "werewolf"), says(SEER)],  # no longer in the game
        [inspects(SEER, WOLF, "werewolf"), says(ANN)],  # another's result
    ],
)
def test_near_misses_of_withholding_are_not_withheld(later):
    assert not label([log(*later)])["speeches"]["withheld"].any()


def test_a_ballot_is_not_speech_and_has_its_own_label():
    frames = label([log(votes(WOLF, ANN), votes(ANN, WOLF), votes(WOLF, PARTNER), votes(ANN, -1))])
    assert len(frames["statements"]) == 0
    ballots = frames["ballots"]
    assert ballots["against_knowledge"].to_list() == [True, False, False]
    assert ballots["target_is_werewolf"].to_list() == [False, True, True]
    assert ballots["p_chance"].to_list() == pytest.approx([1 / 6, 2 / 6, 1 / 6])


def test_a_threshold_on_belief_narrows_honest_mistakes():
    said = log(says(ANN, accuse(BOB)))
    assert label([said], likely=0.0)["statements"]["honest_mistake"][0]
    assert not label([said], likely=0.5)["statements"]["honest_mistake"][0]


def test_every_seat_knows_its_own_card_and_werewolves_know_all():
    knowledge = Knowledge(CONFIG)
    for event in opening():
        knowledge.see(event)
    assert knowledge.p_werewolf(WOLF, PARTNER) == 1
    assert knowledge.p_werewolf(WOLF, ANN) == 0
    assert knowledge.p_werewolf(ANN, ANN) == 0
    assert knowledge.p_werewolf(ANN, WOLF) == pytest.approx(2 / 6)
    assert knowledge.posterior(ANN)[WOLF]["seer"] == pytest.approx(1 / 6)
