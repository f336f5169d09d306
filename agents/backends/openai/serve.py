"""vLLM's own OpenAI-compatible server as a child process: started, health-checked, stopped; on loopback only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from agents.backends.base import BackendError
from agents.backends.environment import checkout
from agents.backends.openai.client import ServerBackend
from agents.backends.secrets import know
from agents.backends.vllm.settings import EngineSettings, engine_arguments, engine_env
from agents.models.folder import check_model_dir, checkpoint_dtype, max_context, model_name
from games.printable import lines_of

LOOPBACK = "127.0.0.1"
POLL_S = 0.25
STOP_S = 20.0
_OURS = ("model", "seed", "skip_tokenizer_init", "use_tqdm_on_load")
"""Engine arguments that are not passed to the server as flags."""


def server_flags(arguments: dict[str, Any]) -> list[str]:
    """vLLM's engine arguments as flags of its server."""
    flags: list[str] = []
    for key, value in arguments.items():
        name = key.replace("_", "-")
        if key in _OURS or value is None:
            continue
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        else:
            flags += [f"--{name}", str(value)]
    return flags


class VllmServer:
    """A running server. `with start_server(...) as server: server.backend()`."""

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, served: str, log: Path, key: str | None = None
    ) -> None:
        """Use `start_server`."""
        self.process, self.url, self.served, self.log = process, url, served, log
        self.key = key
        """The API key; without it the server refuses every request."""

    def __enter__(self) -> VllmServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def healthy(self) -> bool:
        """Whether it answers its health check."""
        try:
            # Plain HTTP to this machine; certificates, which take longer to read than to ask, are not.
            with httpx.Client(
                timeout=5, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            ) as client:
                return client.get(f"{self.url.removesuffix('/v1')}/health").status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """End the server and everything that it started; calling it twice is harmless."""
        for number, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                break
        with contextlib.suppress(ProcessLookupError):  # what the server itself left behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self.log.unlink(missing_ok=True)

    def backend(self, **settings: Any) -> ServerBackend:
        """A client of this server that stops it when it is closed in this process."""
        return OwnServerBackend(self, **settings)


class OwnServerBackend(ServerBackend):
    """A client that owns its server; copies in other processes do not."""

    def __init__(self, server: VllmServer, **settings: Any) -> None:
        super().__init__(server.url, server.served, api_key=server.key, **settings)
        self._server: VllmServer | None = server

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_server": None}

    async def close(self) -> None:
        """Close the connections, and stop the server where it is ours."""
        await super().close()
        if self._server is not None:
            self._server.stop()


def start_server(
    model_dir: str | Path,
    settings: EngineSettings | None = None,
    *,
    port: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> VllmServer:
    """Start vLLM's server for a model folder and wait until it is healthy (10 to 20 s on a CPU).

    Raises ModelFilesError for an unusable folder, BackendError with the server's last words when it does not start.
    """
    settings = settings or EngineSettings()
    folder = check_model_dir(model_dir)
    device = settings.device
    if device == "auto":
        import torch

        device = "gpu" if torch.cuda.is_available() else "cpu"
    context = max_context(folder, settings.max_context)
    served = model_name(folder)
    port = port or _free_port()
    arguments = engine_arguments(settings, device, str(folder), checkpoint_dtype(folder), context)
    command = [
        *(sys.executable, "-m", "agents.backends.openai.vllm_server"),
        *("--model", str(folder), "--served-model-name", served),
        *("--host", LOOPBACK, "--port", str(port)),
        *server_flags(arguments),
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
    ]
    key = secrets.token_hex(32)
    know(key, "the engine's key")
    env = os.environ | engine_env(device, settings.kv_cache_gb)
    env |= {"PYTHONPATH": str(checkout()), "VLLM_API_KEY": key}  # not as a flag, which others could read
    with tempfile.NamedTemporaryFile(prefix="vllm-server-", suffix=".log", delete=False) as log:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    server = VllmServer(process, f"http://{LOOPBACK}:{port}/v1", served, Path(log.name), key)
    say(f"waiting for vLLM's server of {served} on port {port}")
    try:
        _wait(server, settings.start_timeout_s)
    except BaseException:
        server.stop()
        raise
    return server


def _wait(server: VllmServer, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not server.healthy():
        ended = server.process.poll() is not None
        if ended or time.monotonic() > until:
            words = lines_of(server.log.read_text(errors="replace").strip())[-8:]
            what = "ended" if ended else f"was not healthy within {timeout_s:g} s"
            raise BackendError(
                f"vLLM's server of {server.served} {what}; its last words: {' | '.join(words) or 'none'}. Check that "
                'there is memory for a second engine, or play with kind = "vllm"',
                retryable=False,
            )
        time.sleep(POLL_S)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])


def _die_with_parent() -> None:
    """In the child, before the server: the kernel ends it when the process that started it dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
