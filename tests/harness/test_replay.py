"""A replay shows a reader exactly what it may see, and no speech can take over the terminal."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from games.records import Action, Decision, Event
from harness.errors import RunFolderError
from harness.replay.replay import Replay, echoes, open_replay
from harness.replay.terminal import printable, show
from tests.fixtures.view_runs import NASTY, nasty_run, scripted_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_run(tmp_path_factory.mktemp("replay") / "run", games=4)


def text_of(replay: Replay, seat: int | None = None, **options: object) -> str:
    out = io.StringIO()
    show(replay, seat, console=Console(file=out, width=100, highlight=False), **options)  # type: ignore[arg-type]
    return out.getvalue()


def test_every_reader_gets_the_lines_that_its_prompts_held(run: Path) -> None:
    replay = open_replay(run, "0")
    for seat in range(7):
        assert replay.lines(seat) == replay.game.transcript(replay.records, seat, replay.config)


def test_a_seat_is_shown_no_other_seats_card(run: Path) -> None:
    replay = open_replay(run, "0")
    for seat, fact in enumerate(replay.seats):
        cards = [line for line in replay.lines(seat) if line.startswith("You: ")]
        assert len(cards) == 1 and fact.name in cards[0]


def test_moderator_sees_the_truth_of_each_statement(run: Path) -> None:
    replay = open_replay(run, "0")
    labelled = [s for m in replay.moments() for s in m.statements]
    assert len(labelled) == sum(len(row) for row in replay.statements.values())
    shown = text_of(replay)
    assert all(f"{s.label}: " in shown for s in labelled if s.label != "none")


def test_every_public_decision_is_matched_by_the_event_that_repeats_it(run: Path) -> None:
    replay = open_replay(run, "1")
    by_seq = {r.seq: r for r in replay.records}
    for event_seq, decision_seq in replay.echoes.items():
        event, decision = by_seq[event_seq], by_seq[decision_seq]
        assert isinstance(event, Event) and isinstance(decision, Decision)
        assert event.actor == decision.seat
    spoken = [r.seq for r in replay.records if isinstance(r, Decision) and r.kind in ("speech", "ballot")]
    assert set(spoken) <= set(replay.echoes.values())


def test_echo_belongs_to_the_wave_before_it() -> None:
    said = Decision(0, 2, "speech", Action())
    assert echoes([said, Event(1, "speech", actor=2), Event(2, "speech", actor=2)]) == {1: 0}


def test_game_is_found_by_number_id_and_beginning_of_id(run: Path) -> None:
    game_id = open_replay(run, "2").game_id
    assert open_replay(run, game_id).game_id == game_id
    assert open_replay(run, game_id[:9]).game_id == game_id


def test_unknown_game_and_seat_are_explained(run: Path) -> None:
    with pytest.raises(RunFolderError, match=r"has no game 'zz'.*0 to 3"):
        open_replay(run, "zz")
    replay = open_replay(run, "0")
    with pytest.raises(RunFolderError, match="player_0 to player_6"):
        replay.seat_of("player_9")
    with pytest.raises(RunFolderError, match="decisions near it"):
        replay.decision(0)


def test_seat_is_named_by_number_id_or_name(run: Path) -> None:
    replay = open_replay(run, "0")
    assert replay.seat_of("3") == replay.seat_of("player_3") == replay.seat_of(replay.seats[3].name) == 3


def test_steps_wait_for_a_key_and_q_ends(run: Path) -> None:
    replay = open_replay(run, "0")
    keys = iter("  q")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    show(replay, console=console, read_key=lambda: next(keys))
    assert "Players:" in out.getvalue() and "Winner" not in out.getvalue()
    keys = iter(" ng")
    show(replay, console=console, read_key=lambda: next(keys))
    assert "Winner" in out.getvalue()


def test_pipe_gets_plain_text_at_once(run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "replay", str(run), "0", "--as", "player_3", "--delay", "9"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "\x1b" not in done.stdout and "Winner" in done.stdout


def test_speech_cannot_drive_the_terminal(tmp_path: Path) -> None:
    replay = open_replay(nasty_run(tmp_path / "run"), "0")
    for seat in (None, 0, 1):
        shown = text_of(replay, seat)
        assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown
    assert any("\x1b" in text for text in NASTY)


def test_unseen_characters_are_named() -> None:
    assert printable("a\x1b[2Jb\u200b") == "a<U+001B>[2Jb<U+200B>"
