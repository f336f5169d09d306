"""Observers that follow a run's games: in any number of processes, under the roster's own prior."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from agents.werewolf.observer import EVEN, Observer
from analysis.beliefs import observe as module
from analysis.beliefs.observe import Asked, Following, observe
from analysis.beliefs.tables import Watched
from analysis.data import frames
from analysis.data.frames import Logs
from analysis.data.roster import characters_of
from analysis.evaluation.evaluate import Settings
from analysis.evaluation.prepare import follow_ahead, prepare
from games.records import Decision
from harness.run.folder import Run, load_run
from tests.fixtures.local_runs import play_run, scripted


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = scripted(games=6, mix={"loud": 4, "random": 3})
    return load_run(play_run(config, tmp_path_factory.mktemp("observed") / "run"))


def test_two_processes_say_what_one_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = Logs([("x:", run)])
    second = {(log.game_id, r.seq) for log in logs.some(logs.ids[1:2])
              for r in log.records if isinstance(r, Decision) and r.kind == "ballot"}  # fmt: skip
    alone = observe(logs, second)
    monkeypatch.setattr(module, "ALONE", 2)
    apart = observe(logs, second, processes=2)
    for name in ("beliefs", "utterances", "second"):
        assert getattr(apart, name).equals(getattr(alone, name)), name
        assert len(getattr(alone, name)) > 10
    assert apart.speakers.keys() == alone.speakers.keys()
    assert all((apart.speakers[key][1] == p).all() for key, (_, p) in alone.speakers.items())
    assert (apart.why, apart.prior) == (alone.why, alone.prior)


def test_the_exact_observers_prior_is_the_rosters_mix_and_is_named(run: Run) -> None:
    mix = characters_of(run)[0]
    assert mix == pytest.approx({"loud": 4 / 7, "random": 3 / 7})
    watched = observe(Logs([("", run)]))
    assert watched.prior == "the roster's characters: loud 57%, random 43%"
    log = next(iter(Logs([("", run)])))
    game = watched.beliefs.filter(game_id=log.game_id)
    open_one = (pl.col("p_werewolf") - 0.5).abs()
    last = game.sort(open_one, "seq", maintain_order=True).row(0, named=True)

    def p_of(prior: object) -> float:
        observer = Observer("exact", log.config, prior)
        for record in log.records[: last["seq"]]:
            observer.update(record)
        return float(observer.p_werewolf(last["viewer"])[last["subject"]])

    assert last["p_werewolf"] == pytest.approx(p_of(mix))
    assert last["p_werewolf"] != pytest.approx(p_of(EVEN), abs=1e-6)


@pytest.mark.parametrize("held", [2, 500])
def test_games_are_read_anew_each_time_and_some_of_them_in_their_order(
    run: Run, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "HELD", held)  # more games than that are not kept in memory
    logs = Logs([("x:", run)])
    first, again = list(logs), list(logs)
    assert all(one is other for one, other in zip(first, again)) is (held > len(logs))
    assert [log.game_id for log in logs] == [log.game_id for log in logs] == logs.ids
    some = logs.some([logs.ids[4], logs.ids[1]])
    assert [log.game_id for log in some] == some.ids == [logs.ids[1], logs.ids[4]]
    whole = {log.game_id: log.records for log in logs}
    assert all(log.records == whole[log.game_id] for log in some)


def frames_of(watched: Watched) -> dict[str, pl.DataFrame]:
    return {name: getattr(watched, name) for name in ("beliefs", "utterances", "second", "rungs", "fitted")}


def test_what_observers_said_is_kept_until_anything_it_was_made_from_changes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    logs = Logs([("", load_run(copy))]).some(run.game_ids[:3])
    asked = Asked(rungs=tuple(logs.ids[:1]), fitted=True)
    said = frames_of(Following(logs, asked).result())
    assert all(len(frame) for name, frame in said.items() if name != "second")

    def followed() -> bool:
        times: list[int] = []
        true = module._follow_all
        with monkeypatch.context() as patch:
            patch.setattr(module, "_follow_all", lambda job, logs: times.append(1) or true(job, logs))
            again = frames_of(Following(logs.some(logs.ids), asked).result())
        assert all(again[name].equals(frame) for name, frame in said.items())
        return bool(times)

    assert not followed()
    file = copy / "derived" / "observers_beliefs.parquet"
    changed = bytearray(file.read_bytes())
    changed[len(changed) // 3] ^= 1
    file.write_bytes(bytes(changed))
    assert followed()
    assert not followed()
    assert module.kept(logs, Asked(rungs=asked.rungs)) is None  # not asked the same
    events = copy / "events.parquet"
    pl.read_parquet(events).write_parquet(events, compression="uncompressed")
    assert module.kept(logs, asked) is None


def test_what_observers_were_asked_ahead_is_what_the_report_asks_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    follow_ahead(copy)

    def not_again(*_: object) -> None:
        raise AssertionError("followed again")

    monkeypatch.setattr(module, "_follow_all", not_again)
    logs = Logs([("", load_run(copy))])
    watched = prepare(logs, Settings()).watched
    assert set(watched.beliefs["game_id"]) == set(logs.ids)
    assert len(watched.fitted)
    with pytest.raises(AssertionError, match="followed again"):
        prepare(logs, Settings(seed=1))
