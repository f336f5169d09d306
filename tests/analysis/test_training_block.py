"""What is said of checkpoints, where they are planted."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.evaluation.evaluate import Settings
from analysis.models.checkpoints import tokens_trained
from analysis.report.report import write_report
from tests.fixtures.planted_runs import planted_run

FAST = Settings(n_permutations=19, n_boot=200, trees=2, audits=False, rung_games=0, character=False)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = tmp_path_factory.mktemp("course") / "run"
    planted_run(run, 36, 1.2, checkpoints={"tokens-1000": 0.0, "tokens-250000": 0.5, "tokens-4000000": 1.0})
    return write_report([run], settings=FAST)


def test_checkpoints_of_too_few_games_are_not_said_to_be_missing(tmp_path):
    run = tmp_path / "run"
    planted_run(run, 6, 1.2, checkpoints={"tokens-1000": 0.0, "tokens-250000": 0.5})
    text = write_report([run], settings=FAST).read_text()
    assert "No course over training: the headline target was not evaluated" in text
    assert "fewer than two other checkpoints" not in text


def test_a_read_out_that_grows_over_training_is_shown_growing(page):
    frame = pl.read_parquet(page.with_suffix("") / "F11_checkpoints.parquet")
    own = frame.filter(pl.col("what") == "own probe")
    assert own["tokens"].to_list() == [1000, 250_000, 4_000_000, None]
    first, middle, late, _ = own.to_dicts()
    assert first["low"] < 0.5 < first["high"]
    assert first["value"] < middle["value"] < late["value"]
    assert late["low"] > 0.6
    assert '<figure id="F11">' in page.read_text()


def test_the_final_direction_reads_a_checkpoint_that_has_it_and_not_one_that_has_not(page):
    frame = pl.read_parquet(page.with_suffix("") / "F11_checkpoints.parquet")
    carried = frame.filter(pl.col("what") == "final model's direction")
    values = dict(carried.select("tokens", "value").iter_rows())
    assert abs(values[1000] - 0.5) < 0.06
    assert values[4_000_000] > 0.7
    assert carried["n_rows"].n_unique() == 1  # the same rows through every checkpoint


def test_tokens_trained_are_read_from_the_name():
    assert tokens_trained("000000234375@1f2e") == 234_375
    assert tokens_trained("wolf-7b-tokens-1000@0") == 1000
    assert tokens_trained("small@7a7a") is None
