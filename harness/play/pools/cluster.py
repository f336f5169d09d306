"""The Ray that a command works on: its own for as long as it needs one, or a cluster that is there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import ray

from agents.backends.environment import checkout
from harness.errors import ConfigurationError, TournamentError
from harness.play.progress import Progress, clock

OBJECT_STORE_BYTES = 256 * 2**20


@contextlib.contextmanager
def ray_for_now(address: str | None, progress: Progress) -> Iterator[None]:
    """Ray for the block: the one that this process has already, a cluster's at `address`, or one of our own.

    address: `auto` or `host:port` of a cluster that this machine is a node of. Every node needs this installation at
    the same path. Raises ConfigurationError where no cluster answers,
    TournamentError where our own does not start.
    """
    if address is not None:
        _check_address(address)
    if ray.is_initialized():
        yield
        return
    progress.say("starting Ray" if address is None else f"connecting to Ray at {address}")
    began = time.monotonic()
    with _own_signals():
        _init(address)
    # Ray tells stdout of every process that dies, whatever log_to_driver says; whoever needs to know tells it here.
    ray._private.worker._worker_logs_enabled = False
    try:
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        on = f", {nodes} nodes with {n_cpus()} CPUs" if address is not None else ""
        progress.say(f"Ray is up after {clock(time.monotonic() - began)}{on}")
        yield
    finally:
        ray.shutdown()


def n_cpus() -> int:
    """CPU cores that Ray may use, on all nodes together."""
    return max(1, int(ray.cluster_resources().get("CPU", os.cpu_count() or 1)))


def spread(n: int) -> list[str]:
    """The ids of the nodes for `n` processes: each node gets them in proportion to its cores."""
    cores = {node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]}
    taken = dict.fromkeys(cores, 0)
    for _ in range(n):
        taken[max(cores, key=lambda node: cores[node] / (taken[node] + 1))] += 1
    return [node for node, k in taken.items() for _ in range(k)]


def _init(address: str | None) -> None:
    environment = {
        "PYTHONPATH": str(checkout()),
        "OMP_NUM_THREADS": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    own: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": environment},
            **({} if address else own),
        )
    except Exception as error:  # of no kind of its own, as where a process did not answer in time
        if address is None:
            raise TournamentError(
                f"Ray did not start on this machine ({error}): it may be too busy, or out of memory; run the same "
                "command again"
            ) from error
        raise _unreachable(address, error) from error


def _check_address(address: str) -> None:
    """Raises ConfigurationError for an address at which nobody listens; Ray itself would try for minutes."""
    if "://" in address:
        raise ConfigurationError(
            f"--ray-address {address}: Ray's client protocol is not supported; run the command on a node of the "
            "cluster with --ray-address auto"
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"--ray-address {address}: no Ray cluster can be reached from this machine ({error}); start one with "
        "`ray start --head`, join it here with `ray start --address=HEAD:6379`, or leave --ray-address out"
    )


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers of SIGINT and SIGTERM: Ray puts its own there, which print a C stack and exit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    exiting = False
    try:
        yield
    except SystemExit:  # what Ray's handler makes of a signal
        exiting = True
    finally:
        for number, handler in ours.items():
            if handler is not None:
                signal.signal(number, handler)
    if exiting:
        signal.raise_signal(signal.SIGTERM)
