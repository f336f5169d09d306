"""Who lies, by the engine: the labels that replay, branches and the viewer show."""

from __future__ import annotations

import pytest

from agents.werewolf.lessons.games import scripted_game
from analysis.data.frames import GameLog
from analysis.data.labels import label
from games import load_game
from games.records import Action, Decision, Event, SpeechAct

GAME = load_game("werewolf")


def played(preset: str, seed: int, **settings: object) -> tuple[object, list]:
    config = GAME.configure(preset=preset, **settings)
    return config, scripted_game(config, seed)


def labels_of(
    acts: tuple[SpeechAct, ...], speaker: int, roles: list[str], events: tuple[Event, ...] = ()
) -> list:
    config = GAME.configure(preset="classic-7")
    _, first = GAME.start(config, 5, tuple(roles))
    said = Decision(seq=90, seat=speaker, kind="speech", action=Action(acts=acts))
    return [s.label for s in GAME.statements(config, [*first, *events, said])]


DEAL = ["werewolf", "villager", "seer", "doctor", "werewolf", "villager", "villager"]


@pytest.mark.parametrize("preset", ["classic-7", "aiwolf-5", "xu-7", "foaster-6", "jester-8"])
def test_labels_agree_with_the_analysis_package(preset: str) -> None:
    for seed in range(6):
        config, log = played(preset, seed)
        ours = {(s.seq, s.act): s for s in GAME.statements(config, log)}
        theirs = label([GameLog("g", GAME, config, log)])["statements"]
        assert len(ours) == theirs.height
        for row in theirs.iter_rows(named=True):
            mine = ours[row["seq"], row["act"]]
            assert mine.is_false == row["statement_is_false"]
            if mine.is_false is not None:
                assert mine.knows_false == row["speaker_knows_false"]


def test_werewolf_who_claims_to_be_the_seer_lies() -> None:
    assert labels_of((SpeechAct("claim_role", role="seer"),), 0, DEAL) == ["lie"]


def test_werewolf_who_defends_its_partner_lies_and_a_villager_who_does_is_mistaken() -> None:
    defence = (SpeechAct("defend", 4),)
    assert labels_of(defence, 0, DEAL) == ["lie"]
    assert labels_of(defence, 1, DEAL) == ["honest mistake"]


def test_report_of_an_inspection_that_never_happened_is_a_lie_even_when_the_role_is_right() -> None:
    assert labels_of((SpeechAct("report_inspection", 4, "werewolf"),), 2, DEAL) == ["lie"]


def test_seer_who_tells_what_it_saw_tells_the_truth() -> None:
    shown = Event(seq=40, kind="inspect", audience=(2,), actor=2, target=4, value="werewolf")
    acts = (SpeechAct("report_inspection", 4, "werewolf"), SpeechAct("defend", 4))
    assert labels_of(acts, 2, DEAL, (shown,)) == ["truth", "lie"]


def test_questions_and_announcements_assert_nothing() -> None:
    assert labels_of((SpeechAct("question", 1), SpeechAct("announce_ballot", 1)), 0, DEAL) == ["none", "none"]


def test_deal_of_another_deck_is_refused() -> None:
    with pytest.raises(ValueError, match="is not the deck"):
        GAME.start(GAME.configure(preset="classic-7"), 1, ("werewolf",) * 7)
