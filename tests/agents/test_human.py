"""A human's seat at the terminal: the lines of its seat, answers by number or word, no control codes."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from agents.human import HumanPlayer
from agents.werewolf.scripted import Scripted
from games import load_game
from games.records import Action, Reply
from tests.fixtures.player_fixtures import decisions, play_out

GAME = load_game("werewolf")


def play_with(
    typed: str, preset: str = "classic-7", seat: int = 0, others: Any = None
) -> tuple[list[Any], str]:
    """A game with a human who types this, and what the terminal showed."""
    screen = io.StringIO()
    human = HumanPlayer("me", source=io.StringIO(typed), sink=screen)
    config = GAME.configure(preset=preset)
    players = [others or Scripted("loud", "loud")] * config.n_players
    players[seat] = human
    return asyncio.run(play_out(players, config, 3)), screen.getvalue()


def test_human_plays_a_whole_game_by_numbers_and_words() -> None:
    log, _ = play_with("1\nHello all. I accuse Eve.\n1\n" * 40)
    mine = decisions(log, 0)
    assert mine
    assert all(d.fallback is None for d in mine)
    speech = next(d for d in mine if d.kind == "speech")
    assert speech.action.text in ("Hello all. I accuse Eve.", "1")
    for decision in mine:
        assert not decision.options or decision.action.option in decision.options


def test_human_reads_exactly_the_lines_of_its_seat() -> None:
    log, screen = play_with("1\nI accuse Eve.\n1\n" * 40)
    shown = screen.splitlines()
    last = decisions(log, 0)[-1].seq
    config = GAME.configure(preset="classic-7")
    seen = [r for r in log if r.seq < last]
    lines = GAME.transcript([r for r in seen if not hasattr(r, "action") or r.seat == 0], 0, config)
    at = 0
    for line in lines:  # in order, each once
        at = shown.index(line, at) + 1
    others = [line for line in shown if line.startswith("You: ")]
    assert len(others) == 1


def test_typed_speech_becomes_typed_acts() -> None:
    log, _ = play_with("1\nI accuse Eve.\nI accuse Eve.\n" * 40)
    acts = [act.kind for d in decisions(log, 0) for act in d.action.acts]
    assert "accuse" in acts


def test_unusable_answer_is_asked_again() -> None:
    _, screen = play_with("perhaps\n99\n1\nHello.\n1\n" * 40)
    assert "That is none of the options" in screen


def test_end_of_input_is_a_recorded_fallback_and_the_game_goes_on() -> None:
    log, _ = play_with("1\n")
    mine = decisions(log, 0)
    assert [d.fallback for d in mine][1:] == ["left"] * (len(mine) - 1)
    assert log[-1].kind == "outcome"


def test_others_cannot_write_control_codes_to_the_terminal() -> None:
    class Rude:
        name = "rude"

        async def act(self, observation: Any) -> Reply:
            request = observation.request
            return Reply(
                Action(
                    option=request.options[0] if request.options else None,
                    text="\x1b[2J\x1b]0;owned\x07 hi" if request.speaks else "",
                )
            )

    _, screen = play_with("1\nHello.\n1\n" * 40, others=Rude())
    assert "\x1b" not in screen
    assert "\x07" not in screen


def test_every_kind_of_question_can_be_answered() -> None:
    for preset in ("arena-8", "aiwolf-5", "foaster-6"):
        log, _ = play_with("1\n" * 400, preset)
        assert all(d.fallback is None for d in decisions(log, 0))


CONFIG = {
    "run": {"games": 1, "seed": 2},
    "game": {"preset": "classic-7", "first_night": "no_kill"},
    "agents": {"me": {"kind": "human"}, "loud": {"kind": "scripted", "policy": "loud"}},
    "roster": {"mix": {"me": 1, "loud": 6}},
}


def test_seat_at_the_terminal_leaves_a_sound_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.check.check import check_run
    from harness.config.files import parse_config
    from harness.play.progress import Progress
    from harness.play.sit import sit
    from harness.run.folder import load_run

    monkeypatch.setattr("sys.stdin", io.StringIO("1\n" * 50))
    path = sit(parse_config(CONFIG), tmp_path / "r", Progress("quiet"))
    assert check_run(path) == []
    run = load_run(path)
    mine = run.decisions.filter(pl.col("agent") == "me").collect()
    assert len(mine) > 0
    assert mine["fallback"].is_null().all()
    assert sit(parse_config(CONFIG), path, Progress("quiet")) == path  # nothing is left to play


def test_tournament_refuses_a_human_and_names_the_verb(tmp_path: Path) -> None:
    from harness.config.files import parse_config
    from harness.errors import ConfigurationError
    from harness.play.sit import sit
    from harness.play.tournament import run_tournament

    with pytest.raises(ConfigurationError, match="wolfscope sit"):
        run_tournament(parse_config(CONFIG), tmp_path / "r")
    alone = {**CONFIG, "roster": {"mix": {"loud": 1}}}
    from harness.play.progress import Progress

    with pytest.raises(ConfigurationError, match="no seat is a human's"):
        sit(parse_config(alone), tmp_path / "r", Progress("quiet"))
