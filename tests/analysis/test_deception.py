"""What speakers believed and what their lies moved, in games checked by hand."""

from __future__ import annotations

import pytest

from analysis.beliefs.deception import grade, lies_of
from analysis.beliefs.observers import fitted_posteriors, watch
from analysis.data.frames import GameLog
from analysis.data.labels import label
from games.records import Action, Decision, Event, SpeechAct
from tests.analysis.test_labels import ANN, BOB, CONFIG, GAME, PARTNER, ROLES, SEER, WOLF, opening
from tests.fixtures.planted_runs import scripted_game


def speaks(speaker, *acts):
    """A decision to speak and the speech that all hear."""

    def both(seq):
        return [
            Decision(seq, speaker, "speech", Action(acts=acts), day=1),
            Event(seq + 1, "speech", day=1, phase="day", actor=speaker, acts=acts),
        ]

    return both


def a_night(first, inspected):
    """Both werewolves go for seat 6, whom the doctor saves; the seer looks at `inspected`."""
    pack, night = (WOLF, PARTNER), {"day": 1, "phase": "night"}
    made = [
        ("phase", None, {"value": "night"}),
        ("night_kill", pack, {"actor": WOLF, "target": 6}),
        ("night_kill", pack, {"actor": PARTNER, "target": 6}),
        ("inspect", (SEER,), {"actor": SEER, "target": inspected, "value": ROLES[inspected]}),
        ("protect", (3,), {"actor": 3, "target": 6}),
        ("prey", pack, {"target": 6}),
        ("saved", (), {"target": 6}),
        ("phase", None, {"value": "day", "phase": "day"}),
        ("no_death", None, {"phase": "day"}),
    ]
    return [Event(first + i, kind, who, **(night | more)) for i, (kind, who, more) in enumerate(made)]


def graded(*later):
    records = opening()
    records += a_night(len(records), inspected=BOB)
    for make in later:
        records += make(len(records))
    logs = [GameLog("g", GAME, CONFIG, records)]
    labels = label(logs)
    watched = watch(logs, lies_of(labels))
    assert watched.why == ""
    return grade(labels, watched, GAME)


def the_speech(*later):
    return graded(*later)["speeches"].row(-1, named=True)


accuse = lambda subject: SpeechAct("accuse", subject)  # noqa: E731
defend = lambda subject: SpeechAct("defend", subject)  # noqa: E731


def test_a_lie_that_moves_suspicion_off_the_pack_is_strategic():
    row = the_speech(speaks(WOLF, accuse(ANN)))
    assert row["any_known_false"]
    assert row["advantage"] > 0
    assert row["strategic_deception"] is True


def test_a_lie_that_draws_suspicion_onto_the_pack_is_a_lie_and_not_strategic():
    row = the_speech(
        speaks(SEER, SpeechAct("claim_role", role="seer"), SpeechAct("report_inspection", WOLF, "werewolf")),
        speaks(ANN, accuse(WOLF)),
        speaks(PARTNER, defend(WOLF)),
    )
    assert row["any_known_false"]
    assert row["advantage"] <= 0
    assert row["strategic_deception"] is False


@pytest.mark.parametrize("said", [speaks(WOLF, accuse(PARTNER)), speaks(ANN, accuse(BOB)), speaks(WOLF)])
def test_what_is_true_mistaken_or_unsaid_is_no_strategic_deception(said):
    row = the_speech(said)
    assert not row["any_known_false"]
    assert row["strategic_deception"] is False
    assert row["advantage"] is None


def test_evidence_and_not_the_rules_alone_grades_what_is_believed():
    told = speaks(SEER, SpeechAct("claim_role", role="seer"), SpeechAct("report_inspection", BOB, "human"))
    row = graded(told, speaks(ANN, accuse(BOB)))["statements"].row(-1, named=True)
    assert row["speaker_knows_false"] is False
    assert row["p_speaker"] == pytest.approx(1 / 3)  # by the rules a report proves nothing
    assert row["p_posterior"] < 0.31  # to the observer it does
    assert row["believed_false"] is False


def test_an_accusation_against_the_evidence_is_believed_false_and_not_known_false():
    logs = [scripted_game(seed) for seed in range(20)]
    labels = label(logs)
    frame = grade(labels, watch(logs), logs[0].game)["statements"]
    against = frame.filter(frame["believed_false"] & ~frame["speaker_knows_false"])
    assert len(against) > 5
    assert against["p_posterior"].max() < 0.2
    assert against["p_speaker"].min() > 0
    assert "werewolf" not in against["speaker_role"].to_list()  # who knows everything


def test_an_accusation_with_nothing_known_is_not_believed_false():
    row = graded(speaks(ANN, accuse(BOB)))["statements"].row(-1, named=True)
    assert row["p_posterior"] == pytest.approx(1 / 3, abs=0.02)
    assert row["believed_false"] is False


def test_what_is_known_false_is_believed_false():
    row = graded(speaks(WOLF, SpeechAct("claim_role", role="seer")))["statements"].row(0, named=True)
    assert row["speaker_knows_false"]
    assert row["believed_false"] is True


def test_an_utterance_moves_public_suspicion_and_is_written_down():
    logs = [scripted_game(seed) for seed in range(4)]
    frame = watch(logs).utterances
    accused = frame.filter(frame["kind"] == "accuse")
    assert (accused["subject_after"] - accused["subject_before"]).abs().max() > 0.02
    assert frame["suspicion_after"].is_between(0, 1).all()
    assert frame["advantage"].is_null().all()  # nothing was named as a lie


def test_second_order_expectations_stand_beside_what_is_believed():
    log = scripted_game(1)
    ballot = next(r for r in log.records if isinstance(r, Decision) and r.kind == "ballot" and r.seat)
    frame = watch(
        [log], second_at={(log.game_id, r.seq) for r in log.records if isinstance(r, Decision)}
    ).second
    assert ballot is not None
    assert len(frame)
    both = frame.filter(frame["about"] != frame["viewer"])
    error = ((both["expected"] - both["actual"]) ** 2).mean()
    spread = ((both["actual"] - both["actual"].mean()) ** 2).mean()
    assert error < spread


def test_the_fitted_observer_serves_games_that_it_was_not_fitted_on():
    logs = [scripted_game(seed) for seed in range(12)]
    frame, why = fitted_posteriors(logs)
    assert why == ""
    assert frame["game_id"].n_unique() == 12
    assert set(frame["source"]) == {"fitted"}
    assert fitted_posteriors(logs[:1])[1]
