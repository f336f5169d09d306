"""What all tests share: an offline environment, hypothesis settings, one Ray cluster, places for run folders."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything imports games, torch, ray or vllm: they read their environment at import.
ENGINE_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TORCH_COMPILE_DISABLE": "1",
    "WOLFSCOPE_COMPILED": "0",  # tests are of the sources; test_compiled.py holds the compiled form to them
    "OMP_NUM_THREADS": "1",  # without it a tiny model runs 10-50 times slower, and test workers crowd each other
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_niceness": "0",  # by its default of 15 engines wait for whatever else a busy machine does
}
for _name, _value in ENGINE_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
# Containers often forbid it; a third of the seconds before the first test is compiling the tests, which is kept so, and
# the processes that tests start, several hundred, each compile this checkout.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tests kill processes, but never cut the power: whoever waits for the disk here, in a seventh of the time of tests that
# write run folders, waits for nothing that is tested.
os.fsync = lambda fd: None

# What modules hold stays as long as the process: looking through it for garbage again and again costs 1 s in 60.
gc.disable()

import hypothesis  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep engines and clusters on one xdist worker, one after the other, and tests that share what one of their
    module's fixtures makes on the worker that makes it: apart, each worker would make it again."""
    sharing: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("engine") or "ray_cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("engine"))
        if shared_fixtures(item):
            sharing.setdefault(item.nodeid.partition("::")[0], []).append(item)
    for module, users in sharing.items():
        group = module.removeprefix("tests/").removesuffix(".py")
        named = [mark.args[0] for item in users for mark in item.iter_markers("xdist_group")]
        for item in users:
            if item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(named[0] if named else group))


def pytest_collection_finish() -> None:
    """From here on garbage is collected again, but not among what was imported."""
    gc.collect()
    gc.freeze()
    gc.enable()


def shared_fixtures(item: pytest.Item) -> set[str]:
    """The fixtures of a test's own module that are made once for several tests."""
    found = getattr(item, "_fixtureinfo", None)
    return {
        name
        for name, definitions in (found.name2fixturedefs.items() if found else ())
        for definition in definitions
        if definition.scope != "function" and ".py" in definition.baseid
    }


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A small Ray of this test session's own: four logical CPUs, workers that import this checkout."""
    import ray

    from harness.play.pools.cluster import without_helpers

    environment = {**ENGINE_ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    with without_helpers():
        ray.init(
            address="local",
            num_cpus=4,
            object_store_memory=200 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": environment},
        )
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture(scope="session")
def engine_host(ray_cluster: None) -> Iterator[Any]:
    """A `tests.fixtures.engine_host.Host`: vLLM engines one after the other in one process."""
    pytest.importorskip("vllm")
    from tests.fixtures.engine_host import Host

    host = Host()
    yield host
    host.end()


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    """Where a run folder may be made; it does not exist yet."""
    return tmp_path / "run"
