"""A run watched by its folder alone: what it is doing, whether it still does, and how it ended."""

import io
import json
import os
import time

import pytest

from harness.errors import RunFolderError
from harness.play.progress import NAME, Progress, table, words
from harness.play.runner import Counts
from harness.play.watch import remark, state, watch
from harness.run.held import RunFolder
from harness.run.journal import End
from tests.harness.test_run_folder import finished_run, manifest


@pytest.fixture
def playing(run_path):
    """The folder of a run that another process is playing."""
    with RunFolder.claim(run_path, manifest()):
        pass
    progress = Progress("quiet")
    progress.publish(run_path)
    progress.begin(40, [End("finished", "village")] * 3)
    for winner in ("village", "werewolf", "werewolf", None):
        progress.ended(End("finished" if winner else "failed", winner))
    progress.lost("a runner has died; going on from the journal")
    progress.show(Counts(100, 5, prompt_tokens=2000, cached_tokens=1500, output_tokens=300, in_flight=8))
    return run_path


def test_everything_that_is_worth_watching_is_shown(playing):
    facts = state(playing)
    shown = dict(words(facts))
    assert shown["games ended"] == "7 of 40"
    assert shown["being played"] == "8"
    assert shown["prompt tokens from the cache"] == "75%"
    assert shown["won by village"] == "67% (30% to 90%)"
    assert shown["unusable replies replaced"] == "5 (5.0%)"
    assert shown["failed games"] == "1"
    assert shown["runners and engines lost"] == "1"
    assert {"decisions/s", "tokens/s", "time left"} <= set(shown)
    assert table(facts).row_count == len(shown)
    assert remark(facts) is None


def test_lines_for_people_and_for_programs(playing, capsys):
    watch(playing, once=True)
    assert capsys.readouterr().out.startswith("games ended: 7 of 40  being played: 8")
    watch(playing, once=True, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["ended"], facts["in_flight"], facts["failed"], facts["status"]) == (7, 8, 1, "playing")
    assert facts["winners"] == {"village": 4, "werewolf": 2}


@pytest.mark.parametrize(("seconds", "says"), [(-60, "no news for 60 s"), (3600, None)])
def test_silence_is_told_and_a_clock_that_was_set_back_is_none(playing, seconds, says):
    then = time.time() + seconds
    os.utime(playing / NAME, (then, then))
    said = remark(state(playing))
    assert said is None if says is None else says in said


def test_finished_run_is_told_by_its_games(run_path, capsys):
    finished_run(run_path)
    (run_path / NAME).write_text('{"games": 3, "ended": 1, "failed": 0, "winners": {}, "in_flight": 2}')
    watch(run_path)  # ends by itself
    assert capsys.readouterr().out.startswith("games ended: 3 of 3  won by")
    assert remark(state(run_path)) == "finished"


def test_run_that_has_published_nothing_is_told_by_its_journal(run_path):
    with RunFolder.claim(run_path, manifest()):
        pass
    facts = state(run_path)
    assert (facts["games"], facts["ended"]) == (3, 0)
    assert "not playing" in remark(facts)


def test_watching_changes_nothing(playing):
    before = {p: p.stat().st_mtime_ns for p in playing.rglob("*")}
    watch(playing, once=True)
    assert {p: p.stat().st_mtime_ns for p in playing.rglob("*")} == before


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        watch(tmp_path)


def test_progress_that_cannot_be_published_does_not_stop_the_run(run_path, monkeypatch):
    progress = Progress("plain")
    progress.console.file = io.StringIO()
    progress.publish(run_path / "gone")
    for _ in range(2):
        progress.show(Counts(), force=True)
    assert progress.console.file.getvalue().count("cannot be watched from elsewhere") == 1
