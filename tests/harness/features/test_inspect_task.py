"""A tournament is a task of Inspect: every game a sample, scored by who won. Runs where inspect-ai is installed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.play.inspect_task import Once, outcome_of, tournament_task
from harness.run.folder import load_run

CONFIG = """
[run]
name = "inspected"
games = 3
[agents.loud]
kind = "scripted"
policy = "loud"
[roster]
mix = { loud = 7 }
"""


def test_a_call_is_made_once_whoever_asks() -> None:
    made: list[int] = []

    async def ask() -> list[int]:
        once = Once(lambda: made.append(1) or len(made))
        return await asyncio.gather(*(once.get() for _ in range(5)))

    assert asyncio.run(ask()) == [1] * 5


def test_without_inspect_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(ConfigurationError, match="pip install inspect-ai"):
        tournament_task(tmp_path / "t.toml", tmp_path / "run")


def test_every_game_is_a_sample_scored_by_its_winner(tmp_path: Path) -> None:
    inspect_ai = pytest.importorskip("inspect_ai")
    (tmp_path / "t.toml").write_text(CONFIG)
    task = tournament_task(tmp_path / "t.toml", tmp_path / "run")
    (log,) = inspect_ai.eval(task, model=None, log_dir=str(tmp_path / "logs"), display="none")
    run = load_run(tmp_path / "run")
    assert log.status == "success"
    assert {s.id for s in log.samples} == set(run.game_ids)
    for sample in log.samples:
        winner = outcome_of(run.path, sample.id)
        assert sample.output.completion == winner
        assert sample.scores["won"].value == ("C" if winner == "village" else "I")
