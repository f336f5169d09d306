"""Who lies in Avalon, by the engine: what is said against the world and against what its speaker had been told."""

from __future__ import annotations

import pytest

from games.avalon import GAME
from games.avalon.presets import NAMES, configure
from games.base import ReplayError
from games.records import Action, Decision, Event, Record, SpeechAct
from games.seat_view.views import see
from tests.fixtures.avalon_games import Board, scripted_game

TEN = "merlin percival servant servant servant servant assassin morgana mordred oberon"


def labels(board: Board, speaker: int, *acts: SpeechAct) -> list[str]:
    said = Decision(len(board.log), speaker, "speech", Action(acts=acts))
    return [s.label for s in GAME.statements(board.config, [*board.log, said])]


def evil(seat: int) -> SpeechAct:
    return SpeechAct("accuse", seat)


def good(seat: int) -> SpeechAct:
    return SpeechAct("vouch", seat)


def test_lies_and_mistakes_about_sides_are_told_by_what_the_speaker_was_shown() -> None:
    board = Board(TEN)
    # Merlin was not shown mordred, who may be anybody that it was not shown.
    assert labels(board, 0, evil(6), good(7), good(8), evil(2)) == [
        "truth",
        "lie",
        "honest mistake",
        "honest mistake",
    ]
    assert labels(board, 2, evil(3), good(6), evil(7)) == ["honest mistake", "honest mistake", "truth"]
    # Evil knows its own but oberon: a seat that it was not shown may be him.
    assert labels(board, 6, good(7), evil(2), good(9)) == ["lie", "honest mistake", "honest mistake"]
    assert labels(board, 9, evil(0), good(6), good(9)) == ["honest mistake", "honest mistake", "lie"]


def test_merlin_knows_that_whom_it_was_not_shown_is_good_where_nobody_hides_from_it() -> None:
    board = Board("merlin servant servant assassin minion")
    assert labels(board, 0, evil(1), good(3)) == ["lie", "lie"]
    assert labels(Board("merlin servant servant assassin mordred"), 0, evil(1)) == ["honest mistake"]


def test_who_claims_a_role_that_it_has_not_lies_and_merlin_who_denies_itself_lies_too() -> None:
    board = Board(TEN)

    def claim(kind: str, role: str) -> SpeechAct:
        return SpeechAct(kind, role=role)

    assert labels(board, 0, claim("claim_role", "merlin"), claim("claim_role", "servant")) == ["truth", "lie"]
    assert labels(board, 0, claim("deny", "merlin"), claim("deny", "percival")) == ["lie", "truth"]
    assert labels(board, 6, claim("claim_role", "merlin")) == ["lie"]


def test_percival_does_not_know_merlin_from_morgana() -> None:
    board = Board(TEN)
    assert labels(board, 1, evil(0), good(7), evil(7)) == ["honest mistake", "honest mistake", "truth"]
    # But one of the two is evil and one is good, so both cannot be what it says of one alone.
    assert labels(Board("merlin percival servant assassin minion"), 1, evil(0)) == ["lie"]


def test_fail_counts_are_evidence_that_nobody_can_deny() -> None:
    board = Board("servant servant servant minion minion").mission(0, 3, failing=[3])
    assert labels(board, 0, good(3)) == ["lie"]  # it did not fail, so the other did
    assert labels(board, 1, good(3), good(0)) == ["honest mistake", "truth"]
    two = Board("servant servant servant minion minion").mission(0, 3).mission(1, 3, 4, failing=[3, 4])
    assert labels(two, 1, good(3), good(4), evil(0)) == ["lie", "lie", "lie"]
    assert labels(two, 0, good(3), evil(1)) == ["honest mistake", "honest mistake"]


def test_a_saboteur_knows_that_the_failure_was_its_own() -> None:
    """Oberon failed: whoever went with it may be good for all that it knows."""
    board = Board("merlin servant servant servant assassin oberon").mission(5, 1, failing=[5])
    assert labels(board, 5, evil(1)) == ["honest mistake"]
    assert labels(board, 1, good(5)) == ["lie"]


def test_an_explained_vote_is_true_where_it_was_so_and_its_reason_is() -> None:
    board = Board("merlin servant servant assassin minion").propose(0, 3).vote(1, 2)

    def explained(seat: int, vote: str) -> SpeechAct:
        return SpeechAct("explain_vote", seat, vote)

    assert labels(board, 1, explained(0, "approve"), explained(3, "approve")) == ["truth", "honest mistake"]
    assert labels(board, 1, explained(3, "reject")) == ["lie"]  # it approved
    assert labels(board, 0, explained(3, "reject"), explained(1, "reject")) == [
        "truth",
        "lie",
    ]  # 1 did not go
    assert labels(board, 3, explained(0, "reject")) == ["lie"]


@pytest.mark.parametrize(
    "act",
    [
        SpeechAct("question", 1),
        SpeechAct("suggest_team", team=(0, 1)),
        SpeechAct("announce_ballot", role="reject"),
        SpeechAct("retract"),
    ],
)
def test_questions_plans_and_suggestions_assert_nothing(act: SpeechAct) -> None:
    assert labels(Board(TEN), 6, act) == ["none"]


@pytest.mark.parametrize("preset", NAMES)
def test_every_typed_act_of_a_game_has_its_truth_and_no_servant_lies_about_sides(preset: str) -> None:
    config = configure(preset)
    log: list[Record] = scripted_game(config, 2, ["truthful"] * config.n_players)
    acts = {(r.seq, i): r for r in log if isinstance(r, Decision) for i, _ in enumerate(r.action.acts)}
    found = GAME.statements(config, log)
    assert {(s.seq, s.act): acts[s.seq, s.act].seat for s in found} == {
        (s.seq, s.act): s.speaker for s in found
    }
    assert len(found) == len(acts)
    assert {s.label for s in found} >= {"truth", "honest mistake"}
    with pytest.raises(ReplayError, match="no deal event"):
        GAME.statements(config, [r for r in see(log, 0) if isinstance(r, Event)])
