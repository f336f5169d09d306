"""The second pass gives the same rows through a vLLM engine and through several readers at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from harness.activations import Activations, open_activations
from harness.capture_run import CaptureJob, capture_run
from harness.check import check_activations
from harness.errors import ConfigurationError
from tests.test_capture_playing import config_of, played, relative

SITES = ("prompt_last", "speech_mean", "mention")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("engines") / "run", config_of(games=3))


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
    assert store.verify() == []
    capture_run(copy, sites=SITES, device="cpu", devices=2, say=said.append)
    assert said[-1].startswith("0 rows")


@pytest.mark.slow
@pytest.mark.engine
def test_vllm_reads_what_transformers_reads(
    ray_cluster: None, run: Path, plain: Activations, tmp_path: Path
) -> None:
    pytest.importorskip("vllm")
    import ray

    from agents.engine_settings import engine_env
    from harness.capture_devices import CaptureActor

    copy = shutil.copytree(run, tmp_path / "run")
    job = CaptureJob("small", SITES, ("all",), engine="vllm", device="cpu")
    remote = ray.remote(CaptureActor).options(num_cpus=0, runtime_env={"env_vars": engine_env("cpu")})
    actor = remote.remote()
    try:
        ray.get(actor.capture.remote(str(copy), job, 0, 1), timeout=300)
    finally:
        ray.kill(actor)
    store = open_activations(copy / "activations")
    assert store.info == plain.info
    assert keys(store).equals(keys(plain))
    assert relative(store.read_rows(store.index()), plain.read_rows(plain.index())) < 1e-4
    assert np.isfinite(store.read_rows(store.index())).all()
    assert check_activations(copy) == []
