"""Activations and steering on a real Ray: kept while playing, read by several readers, read through a vLLM engine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from agents.models.small import SMALL_MODEL
from harness.activations.store import Activations, open_activations
from harness.activations.verify import verify
from harness.capture.job import CaptureJob
from harness.capture.parity import TOLERANCE
from harness.capture.run import capture_run
from harness.check.check import check_activations, check_run
from harness.errors import ConfigurationError
from harness.play.tournament import run_tournament
from tests.harness.test_capture_playing import config_of, decisions, played, relative, vector

SITES = ("prompt_last", "speech_mean", "mention")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("engines") / "run", config_of(games=2))


@pytest.fixture(scope="module")
def plain(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Activations:
    copy = shutil.copytree(run, tmp_path_factory.mktemp("plain") / "run")
    return open_activations(capture_run(copy, sites=SITES, device="cpu"))


def keys(store: Activations) -> pl.DataFrame:
    return store.index().drop("shard", "row", "checksum")


def test_streams_that_an_engine_does_not_show_are_refused(run: Path) -> None:
    with pytest.raises(ConfigurationError, match="mlp_out cannot be read through vLLM"):
        capture_run(run, sites=SITES, layers=("mlp_out",), engine="vllm", device="cpu")
    with pytest.raises(ConfigurationError, match="need --engine transformers"):
        capture_run(run, sites=SITES, engine="vllm", untrained=True)


@pytest.fixture(scope="module")
def tournament(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first game of `run` played by actors, with seat 0 steered and the other seats' activations kept."""
    folder = tmp_path_factory.mktemp("tournament")
    steering = {"vector": str(vector(folder)), "key": "lie", "layer": 3, "scale": 4.0, "seats": [0]}
    config = config_of(games=1, activations={"while_playing": True}, steering=steering)
    return run_tournament(config, folder / "run")


@pytest.mark.slow
def test_rows_kept_by_a_tournament_equal_those_of_the_second_pass(tournament: Path, tmp_path: Path) -> None:
    assert check_run(tournament) == [] and check_activations(tournament) == []
    kept = open_activations(tournament / "activations")
    copy = shutil.copytree(tournament, tmp_path / "run", ignore=shutil.ignore_patterns("activations"))
    second = open_activations(capture_run(copy, device="cpu"))
    assert second.info == kept.info
    unsteered = second.index().filter(pl.col("seat") != 0)
    assert unsteered.height > 100
    assert unsteered.drop("shard", "row", "checksum").equals(keys(kept))
    assert relative(kept.read_rows(kept.index()), second.read_rows(unsteered)) < TOLERANCE["float32"]


@pytest.mark.slow
def test_steering_of_a_tournament_reaches_its_seat_and_the_log(tournament: Path, run: Path) -> None:
    for decision in decisions(tournament):
        assert decision.trace is not None and decision.trace.sampling is not None
        touched = decision.trace.sampling.get("steered")
        if decision.seat == 0:
            assert touched is not None and touched >= len(decision.trace.prompt_ids)
        else:
            assert touched is None
    steered, plain = (next(d.trace for d in decisions(path) if d.seat == 0) for path in (tournament, run))
    assert steered is not None and plain is not None
    assert steered.prompt_ids == plain.prompt_ids
    assert abs(steered.logprobs[0] - plain.logprobs[0]) > 0.01


@pytest.mark.slow
def test_two_readers_append_to_one_store(
    ray_cluster: None, run: Path, plain: Activations, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    said: list[str] = []
    store = open_activations(capture_run(copy, sites=SITES, device="cpu", devices=2, say=said.append))
    assert keys(store).equals(keys(plain))
    assert {name.split("-")[0] for name in store.index()["shard"]} == {"w0", "w1"}
    assert relative(store.read_rows(store.index()), plain.read_rows(plain.index())) < 1e-4
    assert verify(store) == []
    capture_run(
        copy, sites=SITES, device="cpu", say=said.append
    )  # nothing is left, so one reader is enough to tell
    assert said[-1].startswith("0 rows")


@pytest.mark.slow
@pytest.mark.engine
def test_vllm_reads_what_transformers_reads(
    engine_host: Any, run: Path, plain: Activations, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    engine_host.capture(copy, CaptureJob("small", SITES, ("all",), engine="vllm", device="cpu"))
    store = open_activations(copy / "activations")
    assert store.info == plain.info
    assert keys(store).equals(keys(plain))
    assert relative(store.read_rows(store.index()), plain.read_rows(plain.index())) < 1e-4
    assert np.isfinite(store.read_rows(store.index())).all()
    assert check_activations(copy) == []


@pytest.mark.slow
@pytest.mark.engine
def test_vllm_reads_what_transformers_reads_in_bfloat16(engine_host: Any, run: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    rounded = shutil.copytree(SMALL_MODEL, tmp_path / "rounded", ignore=shutil.ignore_patterns("checkpoints"))
    AutoModelForCausalLM.from_pretrained(SMALL_MODEL, dtype=torch.bfloat16).save_pretrained(rounded)
    ours = shutil.copytree(run, tmp_path / "ours", ignore=shutil.ignore_patterns("activations"))
    theirs = shutil.copytree(ours, tmp_path / "theirs")
    plain = open_activations(
        capture_run(ours, model=str(rounded), sites=SITES, layers=("all",), device="cpu")
    )
    job = CaptureJob("small", SITES, ("all",), engine="vllm", device="cpu", model=str(rounded))
    engine_host.capture(theirs, job)
    store = open_activations(theirs / f"activations-{rounded.name}")
    assert keys(store).equals(keys(plain))
    error = relative(store.read_rows(store.index()), plain.read_rows(plain.index()))
    assert 1e-4 < error < TOLERANCE["bfloat16"]  # it is bfloat16 that was read, and it agrees
