"""Games over real HTTP with servers that hang, fail, limit, talk garbage; and with vLLM's own server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

from agents.backends.base import BackendError, EngineLost, Message, Prompt, Sampling
from agents.backends.openai.client import ServerBackend
from agents.llm.chat import ChatPlayer
from agents.llm.transcript import TranscriptPlayer
from agents.models.folder import load_tokenizer
from agents.werewolf.vocabulary import make_tokenizer
from games import chance, load_game
from games.records import Record
from tests.fixtures.player_fixtures import FakeBackend, context_chain, decisions, play_out, transcript_line

GAME = load_game("werewolf")
CONFIG = GAME.configure(preset="classic-7")

Fault = Callable[[int], tuple[int, dict[str, str], bytes] | float | None]
"""Number of the request -> (status, headers, body) instead of the answer, seconds of delay before it, or nothing."""


class FaultyServer:
    """A model server on loopback whose model is `FakeBackend`; `fault` decides what goes wrong."""

    def __init__(self) -> None:
        self.fault: Fault = lambda n: None
        self.model = FakeBackend(make_tokenizer(), transcript_line)
        self.bodies: list[dict[str, Any]] = []
        self.n, self.busy, self.most_busy = 0, 0, 0
        self.times: list[float] = []
        lock, outer = Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.n += 1
                    n = outer.n
                    outer.busy += 1
                    outer.most_busy = max(outer.most_busy, outer.busy)
                    outer.bodies.append(body)
                    outer.times.append(time.monotonic())
                found = outer.fault(n)
                if isinstance(found, float):
                    time.sleep(found)
                    found = None
                status, headers, data = found or (200, {}, json.dumps(outer.answer(self.path, body)).encode())
                with lock:
                    outer.busy -= 1
                try:
                    self.send_response(status)
                    for key, value in headers.items():
                        self.send_header(key, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):  # the client has given up
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            request_queue_size, daemon_threads = 128, True

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """As vLLM's server would answer."""
        if path.endswith("chat/completions"):
            said = "PRIVATE: hm\nSAY: Hello.\nCHOICE: nobody"
            message = {"role": "assistant", "content": said, "reasoning_content": "let me see"}
            return {"choices": [{"message": message, "finish_reason": "stop"}]}
        ids = body["prompt"] if isinstance(body["prompt"], list) else self.model.ids(body["prompt"])
        allowed = tuple((token,) for token in body.get("allowed_token_ids", ()))
        stops = tuple(body.get("stop_token_ids") or self.model.ids("\n"))
        sampling = Sampling(
            seed=body.get("seed"), choices=allowed, stop_ids=stops, max_tokens=body["max_tokens"]
        )
        made = self.model._one(Prompt(ids=tuple(ids), sampling=sampling))
        choice: dict[str, Any] = {"text": made.text, "finish_reason": made.finish_reason}
        if body.get("return_token_ids"):
            choice |= {"token_ids": made.output_ids, "logprobs": {"token_logprobs": made.logprobs}}
        return {"choices": [choice], "usage": {"prompt_tokens_details": {"cached_tokens": len(ids) // 2}}}


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    made = FaultyServer()
    yield made
    made.http.shutdown()
    made.http.server_close()


def play_all(player: Any, n_games: int = 2) -> list[list[Record]]:
    """Concurrent games with the player in all seats; the connections are closed at the end."""

    async def run() -> list[list[Record]]:
        try:
            return list(
                await asyncio.gather(
                    *(play_out([player] * 7, CONFIG, seed, game_id=f"g{seed}") for seed in range(n_games))
                )
            )
        finally:
            await player.backend.close()

    return asyncio.run(run())


ATTEMPTS = 7
"""How often `player_of` asks before it gives up."""


def player_of(server: FaultyServer, retries: int = ATTEMPTS - 1, **settings: Any) -> TranscriptPlayer:
    backend = ServerBackend(server.url, "tiny", **settings)
    return TranscriptPlayer("m", backend, make_tokenizer(), backend_retries=retries, first_wait_s=0.01)


def test_concurrent_games_are_the_same_as_without_http(server: FaultyServer) -> None:
    logs = play_all(player_of(server))
    direct = TranscriptPlayer("m", FakeBackend(make_tokenizer(), transcript_line), make_tokenizer())
    ours = [asyncio.run(play_out([direct] * 7, CONFIG, seed, game_id=f"g{seed}")) for seed in range(2)]
    for log, other in zip(logs, ours, strict=True):
        assert [d.action for d in decisions(log)] == [d.action for d in decisions(other)]
        assert context_chain(log) == context_chain(other)
    assert all(d.trace and d.trace.n_cached for log in logs for d in decisions(log) if d.fallback is None)


def test_connections_are_bounded(server: FaultyServer) -> None:
    server.fault = lambda n: 0.01
    play_all(player_of(server, max_concurrent=3))
    assert 2 <= server.most_busy <= 3


FAULTS: dict[str, Any] = {
    "500": (500, {}, b"oops"),
    "503": (503, {}, b""),
    "429": (429, {"Retry-After": "0.02"}, b"slow down"),
    "html": (200, {}, b"<html>hello</html>"),
    "empty": (200, {}, b'{"choices": []}'),
    "wrong types": (200, {}, b'{"choices": [{"token_ids": ["x"], "text": 3}]}'),
    "no text": (200, {}, b"\xff\xfe{"),
}


def test_failures_now_and_then_cost_retries_and_no_decision(server: FaultyServer) -> None:
    clean = play_all(player_of(server))
    kinds, given = itertools.cycle(FAULTS), Counter[str]()

    def fault(n: int) -> Any:
        # of games at once, a request may by chance come third each time
        if n % 3 or server.bodies.count(server.bodies[n - 1]) >= ATTEMPTS:
            return None
        kind = next(kinds)
        given[kind] += 1
        return FAULTS[kind]

    server.fault = fault
    assert [[d.action for d in decisions(log)] for log in play_all(player_of(server))] == [
        [d.action for d in decisions(log)] for log in clean
    ]
    assert min(given[kind] for kind in FAULTS) > 2


def test_hanging_requests_are_given_up_and_asked_again(server: FaultyServer) -> None:
    server.fault = lambda n: 1.0 if n % 25 == 0 else None
    logs = play_all(player_of(server, timeout_s=0.2), n_games=2)
    assert all(d.fallback in (None, "malformed") for log in logs for d in decisions(log))


def test_pause_that_the_server_asks_for_is_kept(server: FaultyServer) -> None:
    server.fault = lambda n: (429, {"Retry-After": "0.4"}, b"") if n == 1 else None
    backend = ServerBackend(server.url, "tiny")
    ids = make_tokenizer()("Players: Ada Ben.\nAda votes", add_special_tokens=False)["input_ids"]
    prompt = Prompt(ids=tuple(ids), sampling=Sampling())
    from agents.backends.retry import ask

    asyncio.run(ask(backend, prompt, retries=1, key=0, first_wait_s=0.001))
    assert server.times[1] - server.times[0] >= 0.4


def test_prompt_that_is_refused_for_good_is_a_recorded_fallback(server: FaultyServer) -> None:
    long = 100  # tokens; the words of a probe are harmless, so the server takes them
    server.fault = lambda n: (
        (400, {}, b"context too long") if n % 5 == 0 and len(server.bodies[n - 1]["prompt"]) > long else None
    )
    logs = play_all(player_of(server))
    failed = [d for log in logs for d in decisions(log) if d.fallback == "backend_error"]
    assert failed
    for decision in failed:
        assert decision.trace is not None
        assert decision.trace.sampling is not None
        assert "context too long" in decision.trace.sampling["error"]
    for log in logs:
        assert len(context_chain(log)) == len(decisions(log))


def test_server_that_is_gone_stops_the_run_instead_of_filling_it_with_fallbacks(server: FaultyServer) -> None:
    server.fault = lambda n: (500, {}, b"")
    backend = ServerBackend(server.url, "tiny", give_up_s=0.2)
    prompt = Prompt(ids=(1, 2), sampling=Sampling())

    async def until_gone() -> None:
        for _ in range(50):
            with contextlib.suppress(BackendError):
                await backend.generate([prompt])
            await asyncio.sleep(0.02)

    with pytest.raises(EngineLost, match="run the same command again"):
        asyncio.run(until_gone())
    server.fault = lambda n: None


def test_choices_are_made_over_http(server: FaultyServer) -> None:
    player = player_of(server)
    player.choice = "constrained"
    logs = play_all(player, n_games=2)
    chosen = [d for log in logs for d in decisions(log) if d.kind != "speech"]
    assert all(d.fallback is None for d in chosen)
    assert any(body.get("allowed_token_ids") for body in server.bodies)


def test_choices_need_a_server_that_knows_them(server: FaultyServer) -> None:
    server.answer = lambda path, body: {"choices": [{"text": "x", "token_ids": [3]}]}  # type: ignore[method-assign]
    backend = ServerBackend(server.url, "tiny")
    wanted = Prompt(ids=(1,), sampling=Sampling(choices=((4, 5), (6, 5))))
    with pytest.raises(BackendError, match="allowed_token_ids"):
        asyncio.run(backend.generate([wanted]))


def test_text_api_plays_without_token_ids(server: FaultyServer, tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(str(tmp_path))
    player = player_of(server, api="text", tokenizer=str(tmp_path))
    logs = play_all(player, n_games=2)
    assert any(d.fallback is None for log in logs for d in decisions(log))
    assert all(isinstance(body["prompt"], str) for body in server.bodies)
    for log in logs:
        for decision in decisions(log):
            assert decision.trace is not None
            assert decision.trace.output_ids == ()
            assert decision.trace.sampling is not None
            assert "token_ids" in decision.trace.sampling


def test_chat_api_plays_by_messages_and_keeps_thinking_apart(server: FaultyServer) -> None:
    player = ChatPlayer("m", ServerBackend(server.url, "tiny", api="chat"), None, retries=0)
    (log,) = play_all(player, n_games=1)
    speeches = [d for d in decisions(log) if d.kind == "speech"]
    assert {d.action.text for d in speeches} == {"Hello."}
    assert all(d.trace and "let me see" in (d.trace.reasoning or "") for d in speeches)
    assert all(body["messages"][0]["role"] == "system" for body in server.bodies)


def test_prompts_of_the_wrong_kind_are_refused_with_the_remedy(server: FaultyServer) -> None:
    words = Prompt(ids=(), sampling=Sampling(), messages=(Message("user", "hello"),))
    ids = Prompt(ids=(1,), sampling=Sampling())
    for api, prompt, remedy in (("tokens", words, 'api = "chat"'), ("chat", ids, 'api = "tokens"')):
        backend = ServerBackend(server.url, "tiny", api=api)
        with pytest.raises(BackendError, match=remedy):
            asyncio.run(backend.generate([prompt]))
    with pytest.raises(ValueError, match="tokens, text, chat"):
        ServerBackend(server.url, "tiny", api="grpc")


def test_seeds_of_back_off_are_of_the_seat_not_of_the_clock() -> None:
    from agents.backends.retry import wait_s

    key = chance.key(1, "x")
    assert wait_s(2, key) == wait_s(2, key) != wait_s(2, key + 1)


@pytest.mark.engine
@pytest.mark.slow
def test_own_server_is_started_played_with_and_stopped() -> None:
    from agents.backends.openai.serve import start_server
    from agents.backends.vllm.settings import EngineSettings
    from agents.models.small import SMALL_MODEL

    with start_server(
        SMALL_MODEL, EngineSettings(device="cpu", max_context=2048, max_concurrent=32)
    ) as server:
        assert server.healthy()
        assert server.url.startswith("http://127.0.0.1:")
        backend = server.backend(max_concurrent=32)
        backend.check()
        assert backend.model.startswith("small@")
        tokenizer = load_tokenizer(SMALL_MODEL)
        logs = play_all(TranscriptPlayer("small", backend, tokenizer, choice="repair", max_tokens=48), 1)
        for log in logs:
            for decision in decisions(log):
                assert decision.fallback in (None, "malformed")
                assert decision.trace is not None
                ids = decision.trace.output_ids
                assert (
                    tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
                    == decision.trace.output_text
                )
                assert len(decision.trace.logprobs) == len(ids)
        traces = [d.trace for log in logs for d in decisions(log)]
        assert sum(t.n_cached for t in traces if t is not None) > 0
    assert not server.healthy()
    assert server.process.poll() is not None


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    from agents.backends.openai.serve import start_server
    from tests.fixtures.tiny_models import save_tiny_model

    folder = save_tiny_model(tmp_path / "tiny")
    (folder / "model.safetensors").write_bytes(b"broken")
    from agents.backends.vllm.settings import EngineSettings

    with pytest.raises(BackendError, match="last words"):
        start_server(folder, EngineSettings(device="cpu", start_timeout_s=0.5))
