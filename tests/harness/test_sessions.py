"""A run says with which configuration each of its games was played, and what has changed on the way."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from harness import load_run
from harness.check.check import check_run
from harness.cli import main
from harness.config.files import load_config, parse_config
from harness.config.identity import identity
from harness.errors import ConfigurationError, RunFolderError
from harness.exchange.merge import merge_runs
from harness.run.held import RunFolder, new_manifest
from harness.run.mixed import MixedRun, mixture
from harness.schedule.branched import schedule_in, schedule_of
from harness.schedule.tournament import Schedule
from tests.fixtures.edits import forget_digests
from tests.fixtures.local_runs import play_run, scripted


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mixed") / "run"
    play_run(scripted(3), path)
    return play_run(scripted(5, beliefs={"enabled": True}), path)


def test_every_session_keeps_its_configuration_and_every_game_its_session(mixed):
    with pytest.warns(MixedRun):
        run = load_run(mixed)
    assert [s.config["beliefs"]["enabled"] for s in run.manifest.sessions] == [False, True]
    assert [s.config["run"]["games"] for s in run.manifest.sessions] == [3, 5]
    games = run.games.sort("index").collect()
    assert games["session"].to_list() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    "verb",
    [
        ["check"], ["ratings"], ["behaviour"], ["watch", "--once"], ["view", "--posterior", "no"], ["replay", "0"],
        ["export", "out"],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_every_verb_that_reads_a_mixed_run_says_so(verb, mixed, tmp_path, capsys):
    words = [str(tmp_path / word) if word == "out" else word for word in verb[1:]]
    with warnings.catch_warnings():
        warnings.simplefilter("always", MixedRun)
        with pytest.raises(SystemExit) as ended:
            main([verb[0], str(mixed), *words])
    assert ended.value.code == 0
    said = capsys.readouterr().err
    assert "note: the run run was played with 2 configurations" in said
    assert "beliefs.enabled was False, then True" in said


def test_run_that_grew_under_one_configuration_is_not_mixed(tmp_path):
    path = play_run(scripted(2), tmp_path / "run")
    run = load_run(play_run(scripted(3), path))
    assert mixture(run.manifest) is None
    assert run.games.collect()["session"].to_list() == [0, 0, 1]


def test_merged_runs_keep_all_sessions_and_their_games_still_name_them(mixed, tmp_path):
    other = play_run(scripted(2, run={"seed": 9}), tmp_path / "other")
    with pytest.warns(MixedRun):
        run = load_run(merge_runs([mixed, other], tmp_path / "both"))
    assert run.games.sort("index").collect()["session"].to_list() == [0, 0, 0, 1, 1, 2, 2]
    assert [s.config["run"]["seed"] for s in run.manifest.sessions] == [5, 5, 9]


def test_folder_of_an_older_version_is_read_and_goes_on(tmp_path):
    import polars as pl

    path = play_run(scripted(2), tmp_path / "run")
    pl.read_parquet(path / "games.parquet").drop("session").write_parquet(path / "games.parquet")
    manifest = load_run(path).manifest
    manifest.sessions = [type(s)(s.started, s.revision, s.versions, s.hardware) for s in manifest.sessions]
    manifest.write(path)
    forget_digests(path)
    run = load_run(path)
    assert run.games.collect()["session"].to_list() == [None, None]
    assert check_run(path) == []
    play_run(scripted(3), path)
    assert load_run(path).manifest.sessions[0].config["run"]["games"] == 2


def wanted(config: Any) -> Any:
    schedule = Schedule(config)
    return new_manifest("run", config.plain(), config.hash(), len(schedule), schedule.cells)


def test_start_that_played_nothing_leaves_no_run_that_another_could_differ_from(tmp_path):
    with RunFolder.claim(tmp_path / "run", wanted(scripted(2))):
        pass
    other = scripted(1, mix={"random": 7})
    with RunFolder.claim(tmp_path / "run", wanted(other)) as folder:
        assert folder.manifest.config == other.plain()
        assert len(folder.manifest.sessions) == 1
    play_run(other, tmp_path / "run")
    with pytest.raises(RunFolderError, match="holds another run"):
        RunFolder.claim(tmp_path / "run", wanted(scripted(2)))


def engine(games: int = 2, **settings: Any) -> Any:
    return parse_config(
        {
            "run": {"games": games},
            "agents": {
                "m": {"kind": "llm", "backend": "b"},
                "random": {"kind": "scripted", "policy": "random"},
            },
            "backends": {"b": {"kind": "vllm", "model": "small", **settings}},
            "roster": {"mix": {"m": 1, "random": 6}},
        }
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"settings": {"kv_cache_gb": 4}}, {"settings": {"gpu_memory": 0.5}}, {"settings": {"request_timeout_s": 9.0}},
        {"device": "cpu"}, {"replicas": 2}, {"max_concurrent": 3},
    ],
    ids=str,
)  # fmt: skip
def test_engine_settings_that_do_not_change_play_are_not_identity(settings, tmp_path):
    plain, changed = engine(), engine(**settings)
    assert identity(plain.plain()) == identity(changed.plain())
    begun = wanted(plain)
    assert [p.game_id for p in schedule_in(begun, changed)] == [p.game_id for p in Schedule(plain)]
    begun.config = changed.plain()
    assert [p.game_id for p in schedule_of(begun)] == [p.game_id for p in Schedule(plain)]


@pytest.mark.parametrize(
    "settings", [{"settings": {"max_context": 512}}, {"settings": {"dtype": "float32"}}], ids=str
)
def test_engine_settings_that_change_play_are_identity(settings):
    assert identity(engine().plain()) != identity(engine(**settings).plain())


VARIED = """
[agents.a]
kind = "scripted"
policy = "random"
[roster]
mix = {a = 7}
[experiment.factors]
"game.preset" = ["classic-7", "kaggle-7"]
"agents.a.settings.bid" = [0.1, 0.9]
"""


@pytest.mark.parametrize(
    "override",
    ["game.preset=probe-6", "agents.a.settings={bid=0.5}", "agents.a={kind='scripted'}", "game={}"],
)
def test_set_on_a_key_that_a_factor_varies_is_refused(override, tmp_path):
    path = tmp_path / "varied.toml"
    path.write_text(VARIED)
    with pytest.raises(ConfigurationError, match="which decides it in every game"):
        load_config(path, [override])


def test_set_on_other_keys_and_on_the_levels_is_taken(tmp_path):
    path = tmp_path / "varied.toml"
    path.write_text(VARIED)
    config = load_config(path, ["game.max_days=5", 'experiment.factors={"game.preset"=["kaggle-7"]}'])
    assert config.game.settings["max_days"] == 5
