"""The Ray instance of a command: its own for the command's duration, or an existing cluster."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.node import Node
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

from agents.backends.environment import checkout
from agents.backends.secrets import know
from harness.errors import ConfigurationError, TournamentError
from harness.machine import cores
from harness.play.pools.workplace import workplace
from harness.play.progress import Progress, clock

OBJECT_STORE_BYTES = 256 * 2**20
HELPERS = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start what a private instance on one machine does not need."""
_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT}


@contextlib.contextmanager
def ray_for_now(address: str | None, progress: Progress) -> Iterator[None]:
    """Ray for the block: this process's existing instance, a cluster at `address`, or a new local one.

    address: `auto` or `host:port` of a cluster that this machine is a node of. Every node needs this installation at
    the same path. Raises ConfigurationError where no cluster answers,
    TournamentError where the local one does not start.
    """
    if address is not None:
        _check_address(address)
    if ray.is_initialized():
        yield
        return
    progress.say("starting Ray" if address is None else f"connecting to Ray at {address}")
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if address is None:
            stack.enter_context(_alone(stack.enter_context(workplace())))
        with _own_signals():
            _init(address)
        stack.callback(ray.shutdown)
        yield from _up(address, progress, began)


def _up(address: str | None, progress: Progress, began: float) -> Iterator[None]:
    """Set up once Ray runs; yields once."""
    # Ray prints every dead process to stdout in spite of log_to_driver; here the callers report deaths.
    ray._private.worker._worker_logs_enabled = False
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    on = f", {nodes} nodes with {n_cpus()} CPUs" if address is not None else ""
    progress.say(f"Ray is up after {clock(time.monotonic() - began)}{on}")
    yield


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a Ray instance started in the block listen on loopback only, with a private token. By default it listens
    on all addresses, with a token in the home folder that others may read."""
    token = secrets.token_hex(32)
    know(token, "Ray's token")
    path = folder / "token"
    path.touch(0o600)
    path.write_text(token)
    names = {"RAY_AUTH_TOKEN_PATH": str(path), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    before = {name: os.environ.get(name) for name in (*names, "RAY_AUTH_TOKEN", "RAY_AUTH_MODE")}
    os.environ.pop("RAY_AUTH_TOKEN", None)
    os.environ.update(names)
    of_cluster, ray_constants.ENABLE_RAY_CLUSTER = (
        ray_constants.ENABLE_RAY_CLUSTER,
        False,
    )  # loopback, see the variable
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = of_cluster
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        AuthenticationTokenLoader.instance().reset_cache()


def n_cpus() -> int:
    """CPU cores that Ray may use, on all nodes together."""
    return max(1, int(ray.cluster_resources().get("CPU", cores())))


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
    # no idle worker a core, started beside the engine: actors have an environment of their own and take none of them
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    own: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    if address is None:
        own["_temp_dir"] = os.environ["TMPDIR"]
    try:
        with without_helpers():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": environment},
                **({} if address else own),
            )
    except Exception as error:  # an untyped error, for instance where a process did not answer in time
        if address is None:
            raise TournamentError(f"Ray did not start on this machine ({_in_words(error)})") from error
        raise _unreachable(address, error) from error


@contextlib.contextmanager
def without_helpers() -> Iterator[None]:
    """A Ray instance started in the block has no processes beside it that scale clusters, pass on what workers print,
    and count usage: nobody asks them, and they cost time at the start and at the end."""
    started = {name: getattr(Node, name) for name in HELPERS if hasattr(Node, name)}
    for name in started:
        setattr(Node, name, lambda self, *args, **settings: None)
    try:
        yield
    finally:
        for name, method in started.items():
            setattr(Node, name, method)


def _in_words(error: Exception) -> str:
    """The error message for why Ray did not start, with the remedy."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)  # type: ignore[arg-type]
    disk = next((c for c in causes if isinstance(c, OSError) and c.errno in _DISK), None)
    if disk is not None:
        where = f"HOME is {Path.home()}, TMPDIR {tempfile.gettempdir()}"
        return f"{disk}; {where}: make room there, or make that place writable"
    return (
        f"{type(error).__name__}: {error}; it may be too busy, or out of memory: run the same command again"
    )


def _check_address(address: str) -> None:
    """Raises ConfigurationError for an address without a listener; Ray itself would try for minutes."""
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
    """Keep this process's signal handlers: Ray installs its own, which print a C stack and exit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    exiting = False
    try:
        yield
    except SystemExit:  # the exit status of Ray's handler
        exiting = True
    finally:
        for number, handler in ours.items():
            if handler is not None:
                signal.signal(number, handler)
    if exiting:
        signal.raise_signal(signal.SIGTERM)
