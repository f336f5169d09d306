"""The client for OpenAI-compatible servers, against a small HTTP server that answers as vLLM's does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.backends.base import BackendError, Capture, Generation, Prompt, Sampling
from agents.backends.openai.client import ServerBackend

Answer = tuple[int, Any]


def completion(body: dict[str, Any]) -> Answer:
    """The prompt's ids backwards, as vLLM's server would return them."""
    ids = list(reversed(body["prompt"]))[: body["max_tokens"]]
    choice = {
        "text": " ".join(map(str, ids)),
        "token_ids": ids,
        "logprobs": {"token_logprobs": [-0.5] * len(ids)},
        "finish_reason": "length",
    }
    return 200, {"choices": [choice], "usage": {"prompt_tokens_details": {"cached_tokens": 2}}}


class FakeServer:
    """Answers `/v1/models` and `/v1/completions` on loopback; `answer` may be replaced."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Answer] = completion
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _send(self, status: int, content: Any) -> None:
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # the client has given up
                    self.wfile.write(data)

            def do_GET(self) -> None:
                outer.keys.append(self.headers.get("Authorization"))
                found = self.path == "/v1/models"
                self._send(
                    200 if found else 404, {"data": [{"id": "tiny"}]} if found else {"detail": "Not Found"}
                )

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                outer.keys.append(self.headers.get("Authorization"))
                self._send(*outer.answer(body))

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.http.shutdown()
    fake.http.server_close()


def ask(backend: ServerBackend, *prompts: Prompt) -> list[Generation]:
    async def both() -> list[Generation]:
        try:
            return await backend.generate(prompts)
        finally:
            await backend.close()

    return asyncio.run(both())


def prompt(*ids: int, **sampling: Any) -> Prompt:
    return Prompt(ids=ids, sampling=Sampling(**sampling))


def test_token_ids_go_out_and_come_back_in_order(server: FakeServer) -> None:
    backend = ServerBackend(server.url, "tiny")
    backend.check()
    found = ask(backend, prompt(5, 6, 7), *(prompt(i, i + 1, max_tokens=1) for i in range(40)))
    assert found[0] == Generation((7, 6, 5), "7 6 5", (-0.5, -0.5, -0.5), 2, "length")
    assert [one.output_ids for one in found[1:]] == [(i + 1,) for i in range(40)]


def test_sampling_is_passed_on(server: FakeServer) -> None:
    settings = Sampling(temperature=0.7, top_p=0.9, max_tokens=3, seed=11, stop_ids=(2, 4))
    ask(ServerBackend(server.url, "tiny", extra={"min_p": 0.1}), Prompt(ids=(5,), sampling=settings))
    (body,) = server.bodies
    sent = {
        key: body[key] for key in ("model", "temperature", "top_p", "max_tokens", "seed", "stop_token_ids")
    }
    assert sent == {
        "model": "tiny",
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 3,
        "seed": 11,
        "stop_token_ids": [2, 4],
    }
    assert body["return_token_ids"] is True
    assert body["min_p"] == 0.1


def test_text_without_token_ids_is_refused(server: FakeServer) -> None:
    server.answer = lambda body: (200, {"choices": [{"text": "hello"}]})
    with pytest.raises(BackendError, match="return_token_ids") as caught:
        ask(ServerBackend(server.url, "tiny"), prompt(5))
    assert not caught.value.retryable


@pytest.mark.parametrize(("status", "retryable"), [(429, True), (503, True), (400, False), (401, False)])
def test_refusals_say_whether_another_try_may_help(server: FakeServer, status: int, retryable: bool) -> None:
    server.answer = lambda body: (status, {"error": "no"})
    with pytest.raises(BackendError, match=f"status {status}") as caught:
        ask(ServerBackend(server.url, "tiny"), prompt(5))
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    "garbage", ["<html>", "[]", '{"choices": []}', '{"choices": [{"token_ids": "abc"}]}']
)
def test_garbage_is_a_retryable_error(server: FakeServer, garbage: str) -> None:
    server.answer = lambda body: (200, garbage)
    with pytest.raises(BackendError, match="something else than a completion") as caught:
        ask(ServerBackend(server.url, "tiny"), prompt(5))
    assert caught.value.retryable


def test_hanging_server_is_given_up_on(server: FakeServer) -> None:
    free = threading.Event()

    def hang(body: dict[str, Any]) -> Answer:
        free.wait(10)
        return completion(body)

    server.answer = hang
    with pytest.raises(BackendError, match="did not answer") as caught:
        ask(ServerBackend(server.url, "tiny", timeout_s=0.2), prompt(5))
    free.set()
    assert caught.value.retryable


def test_unknown_model_is_refused_with_what_is_served(server: FakeServer) -> None:
    with pytest.raises(BackendError, match="does not serve 'other'; it serves: tiny"):
        ServerBackend(server.url, "other").check()


def test_wrong_address_is_refused_with_the_remedy(server: FakeServer) -> None:
    with pytest.raises(BackendError, match=r"status 404.*check url"):
        ServerBackend(server.url.removesuffix("/v1"), "tiny").check()
    with pytest.raises(BackendError, match="no server answers"):
        ServerBackend("http://127.0.0.1:1/v1", "tiny").check()


def test_key_is_sent_and_never_shown(server: FakeServer) -> None:
    backend = ServerBackend(server.url, "tiny", api_key="key-7")
    backend.check()
    ask(backend, prompt(5))
    assert server.keys == ["Bearer key-7"] * 2
    assert "key-7" not in repr(backend)


def test_copies_in_other_processes_open_their_own_connections(server: FakeServer) -> None:
    backend = ServerBackend(server.url, "tiny")

    async def use_then_copy() -> bytes:
        await backend.generate([prompt(5)])
        return pickle.dumps(backend)

    copy = pickle.loads(asyncio.run(use_then_copy()))  # noqa: S301 - as Ray does between its processes
    assert ask(copy, prompt(8))[0].output_ids == (8,)


def test_capture_is_refused(server: FakeServer) -> None:
    wanted = Prompt(ids=(5,), sampling=Sampling(), capture=Capture({"prompt_last": (0,)}))
    with pytest.raises(BackendError, match="no activations"):
        ask(ServerBackend(server.url, "tiny"), wanted)
