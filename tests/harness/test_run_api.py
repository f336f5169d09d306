"""A run in a notebook: games by number as on the command line, and the run at a glance."""

from __future__ import annotations

import polars as pl
import pytest

from harness import factor, load_run, probability
from harness.errors import RunFolderError
from harness.run.folder import Run
from harness.run.typed import PROBABILITIES, factors_in_words, typed
from tests.fixtures.local_runs import play_run, scripted


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(play_run(scripted(3, name="a-b"), tmp_path_factory.mktemp("api") / "run"))


@pytest.mark.parametrize("finish", [True, False], ids=["finished", "being played"])
def test_games_are_named_by_number_id_or_the_beginning_of_the_id(finish, tmp_path):
    run = load_run(play_run(scripted(3), tmp_path / "run", finish=finish))
    second = run.games.sort("index").collect()["game_id"][1]
    for name in (1, "1", "#1", second, second[:6]):
        assert run.game_id(name) == second
        assert run.records(name) == run.records(second)
        assert run.game(name)[2] == run.game(second)[2]
        assert run.cell(name) == run.cell(second)


def test_a_run_gives_the_reports_frames(run):
    import analysis

    for name, frame in run.labels().items():
        assert frame.equals(analysis.labels(run)[name])
    rows = run.subject_rows(models_only=False)
    assert rows.frame.height > 0
    assert rows.frame.equals(analysis.subject_rows(run, models_only=False).frame)
    assert [t.name for t in run.targets()] == [t.name for t in analysis.targets(run)]


@pytest.mark.parametrize("name", [7, "7", "nothing", ""])
def test_game_that_is_not_there_is_a_key_error_that_says_what_there_is(run, name):
    with pytest.raises(KeyError) as error:
        run.records(name)
    assert isinstance(error.value, RunFolderError)
    assert str(error.value).startswith(str(run.path)) and "its number, 0 to 2" in str(error.value)


def test_run_shows_itself_in_a_notebook_without_markup_of_others(run, tmp_path):
    shown = run._repr_html_()
    assert "3 of 3 have ended" in shown and "a-b" in shown
    hostile = load_run(play_run(scripted(1), tmp_path / "run"))
    hostile.manifest.models = {"m": "<script>alert(1)</script>"}
    assert "<script>" not in hostile._repr_html_() and "&lt;script&gt;" in hostile._repr_html_()


def test_maps_are_typed_columns_and_one_entry_is_read_by_its_name(tmp_path):
    config = scripted(
        1, experiment={"factors": {"game.preset": ["classic-7", "kaggle-7"], "game.max_days": [3, 20]}}
    )
    run = load_run(play_run(config, tmp_path / "run"))
    games = run.games.select(
        "preset", factor("game.preset"), factor("game.max_days"), factor("game.tie")
    ).collect()
    assert games["preset"].to_list() == games["game.preset"].to_list()
    assert games["game.max_days"].to_list() == ["3", "20", "3", "20"]
    assert games["game.tie"].null_count() == 4
    assert run.beliefs.select(probability("seer")).collect().height == 0


def test_json_text_of_older_versions_is_read_as_the_same():
    texts = ['{"werewolf": 0.25, "seer": 0.75}', "{}", None, "{"]
    beliefs = typed(pl.LazyFrame({"probabilities": texts}, {"probabilities": pl.String})).collect()
    assert beliefs.schema["probabilities"] == PROBABILITIES
    assert beliefs.select(probability("seer")).to_series().to_list() == [0.75, None, None, None]
    games = typed(
        pl.LazyFrame({"factors": ['{"game.max_days": 3, "game.preset": "probe-6"}', "{}"]})
    ).collect()
    assert games.select(factor("game.max_days")).to_series().to_list() == ["3", None]
    assert factors_in_words(games["factors"][0].to_list()) == "max_days 3, preset probe-6"
