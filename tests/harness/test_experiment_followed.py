"""What follows a moment is played once, and workers on Ray play it as this process does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from harness.errors import ConfigurationError
from harness.experiment.design import Design
from harness.experiment.run import run_experiment
from harness.run.folder import Run, load_run
from tests.harness.test_capture_playing import config_of, played
from tests.harness.test_experiment import design, saved_vector


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(played(tmp_path_factory.mktemp("followed") / "run", config_of(games=2)))


@pytest.fixture(scope="module")
def vector(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved_vector(tmp_path_factory.mktemp("vector"))


def followed(vector: str) -> Design:
    return design(vector, moments={"n": 4, "per_game": 2}, outcomes={"continuations": 2})


@pytest.fixture(scope="module")
def whole(run: Run, vector: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What follows, asked and played without a stop in this process, on one thread until its users have ended: as a
    worker has, since sums of several threads may round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole") / "whole"
    try:
        yield run_experiment(followed(vector), [run.path], out, force=True, executor="local")
    finally:
        torch.set_num_threads(threads)


def test_what_follows_is_played_once_and_a_stop_loses_no_moment(
    run: Run, vector: str, whole: Path, tmp_path: Path
) -> None:
    def stop(text: str) -> None:
        if text.startswith("continuations of 2 of 4 moments"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(followed(vector), [run.path], tmp_path / "cut", force=True, say=stop)
    assert len(list((tmp_path / "cut" / "continuations").glob("*.parquet"))) == 2
    run_experiment(followed(vector), [run.path], tmp_path / "cut", force=True)
    for name in ("outcomes.parquet", "futures.parquet"):
        assert pl.read_parquet(whole / name).equals(pl.read_parquet(tmp_path / "cut" / name))


@pytest.mark.usefixtures("ray_cluster")
def test_workers_on_ray_make_the_table_of_this_process_bit_for_bit(
    run: Run, vector: str, whole: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    there = run_experiment(
        followed(vector),
        [run.path],
        tmp_path / "there",
        force=True,
        executor="ray",
        n_workers=2,
        say=said.append,
    )
    assert any("starting 2 workers" in line for line in said)
    for name in ("outcomes.parquet", "futures.parquet"):
        assert pl.read_parquet(whole / name).equals(pl.read_parquet(there / name))
    assert pl.read_parquet(whole / "futures.parquet").height >= 4 * 2


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"executor": "local", "address": "auto"}, "leave out one"),
        ({"n_workers": 2}, "add --ray"),
    ],
)
def test_a_place_that_contradicts_itself_is_refused_before_anything_is_asked(
    run: Run, vector: str, tmp_path: Path, place: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        run_experiment(followed(vector), [run.path], tmp_path / "e", force=True, **place)
    assert not (tmp_path / "e").exists()  # not even drawn
