"""Every answer of a server has one meaning for the run: taken, asked again, a fallback of its own kind, or a stop."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from agents.backends.base import (
    BackendError,
    EngineLost,
    Generation,
    Message,
    Prompt,
    Sampling,
    ServerRefuses,
)
from agents.backends.openai.client import ServerBackend
from agents.backends.openai.http import LONGEST_ANSWER, Answer
from agents.backends.openai.outcomes import wait_of
from agents.backends.retry import ask
from agents.backends.secrets import know
from agents.llm.chat import ChatPlayer
from games import load_game
from games.records import Record
from tests.fixtures.hostile_server import Asked, HostileServer, Reply, hostile_server, said
from tests.fixtures.player_fixtures import decisions, play_out

CONFIG = load_game("werewolf").configure(preset="classic-7")


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server() as made:
        yield made


def prompt(text: str = "It is your turn.") -> Prompt:
    messages = (Message("system", "Rules."), Message("user", text))
    return Prompt(ids=(), sampling=Sampling(), messages=messages)


def asked(
    server: HostileServer, *, retries: int = 2, text: str = "It is your turn.", **settings: Any
) -> Generation:
    backend = ServerBackend(server.url, "tiny", **({"api": "chat"} | settings))

    async def run() -> Generation:
        try:
            return await ask(backend, prompt(text), retries=retries, key=1, first_wait_s=0.001)
        finally:
            await backend.close()

    return asyncio.run(run())


def played(server: HostileServer, **settings: Any) -> list[Record]:
    """A game of players who are behind the server."""
    backend = ServerBackend(server.url, "tiny", api="chat")
    player = ChatPlayer("m", backend, None, backend_retries=2, first_wait_s=0.001, **settings)

    async def play() -> list[Record]:
        try:
            return await play_out([player] * 7, CONFIG)
        finally:
            await backend.close()

    return asyncio.run(play())


REFUSALS = [
    (307, "", {"Location": "https://elsewhere.example/v1"}, "moved to https://elsewhere.example"),
    (400, {"error": {"message": "unknown parameter"}}, {}, "unknown parameter"),
    (401, {"error": {"message": "bad key"}}, {}, "bad key.*api_key_env"),
    (402, {"error": {"message": "no credit left"}}, {}, "no credit left"),
    (403, {"error": {"message": "not allowed"}}, {}, "not allowed"),
    (404, {"detail": "no such model"}, {}, "no such model.*check url"),
    (422, {"detail": [{"msg": "extra fields"}]}, {}, "extra fields"),
    (
        429,
        {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
        {},
        "quota",
    ),
    (200, {"error": {"message": "no endpoints", "code": 404}}, {}, "status 404.*no endpoints"),
]


@pytest.mark.parametrize(("status", "body", "headers", "words"), REFUSALS)
def test_a_server_that_refuses_everybody_stops_the_run_with_its_words(
    server: HostileServer, status: int, body: Any, headers: dict[str, str], words: str
) -> None:
    good, answers = 6, []

    def answer(asked: Asked) -> Reply:
        answers.append(asked)
        return said() if len(answers) <= good else Reply(status, body, headers)

    server.answer = answer
    with pytest.raises(ServerRefuses, match=words) as stopped:
        played(server)
    assert "same command again" in str(stopped.value)
    assert len(answers) < good + 30


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_one_prompt_alone_is_its_own_fallback(server: HostileServer, status: int) -> None:
    def answer(asked: Asked) -> Reply:
        wrong = "prompt" if "ballot" in str(asked.body) or "votes" in str(asked.body["messages"][-1]) else ""
        return Reply(status, {"error": {"message": "this prompt is too long"}}) if wrong else said()

    server.answer = answer
    log = played(server)
    kinds = {d.fallback for d in decisions(log)}
    assert "backend_error" in kinds
    assert any(d.fallback is None for d in decisions(log))
    failed = next(d for d in decisions(log) if d.fallback == "backend_error")
    assert "too long" in (failed.trace.sampling or {})["error"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (said("I", finish_reason="content_filter"), "content_filter"),
        (said("", finish_reason="SAFETY"), "content_filter"),
        (said(None, message={"refusal": "I cannot lie to people."}), "refused"),
        (said([{"type": "refusal", "refusal": "I cannot lie to people."}]), "refused"),
        (Reply(400, {"error": {"code": "content_filter", "message": "no"}}), "content_filter"),
        (Reply(403, {"error": {"message": "your input was flagged"}}), "content_filter"),
        (said("Hello \ud83d"), "malformed"),
    ],
)  # fmt: skip
def test_what_is_withheld_is_a_fallback_of_its_own_kind(
    server: HostileServer, reply: Reply, kind: str
) -> None:
    def answer(asked: Asked) -> Reply:
        return reply if asked.body["messages"][-1]["content"].count("You speak") else said()

    server.answer = answer
    log = played(server, retries=1)
    speeches = [d for d in decisions(log) if d.kind == "speech"]
    assert speeches
    assert {d.fallback for d in speeches} == {kind}
    for decision in speeches:
        assert decision.trace is not None
        assert decision.trace.sampling is not None
        assert decision.trace.attempts == 2
        assert decision.trace.sampling["withheld"]
        assert decision.action.text == ""


TROUBLE = [
    Reply(500, b"oops"),
    Reply(529, b"overloaded"),
    Reply(200, b"[" * 200_000),
    Reply(200, b'{"choices":[{"message":' + b'{"a":' * 100_000),
    Reply(200, b'{"id":"\\\\","x":' + b"[" * 100_000 + b"]" * 100_000 + b',"y":""}'),
    Reply(200, b'["' + b'\\\\"' * 200_000 + b"[" * 100),
    Reply(200, gzip.compress(b" " * 2 * LONGEST_ANSWER, 1), {"Content-Encoding": "gzip"}),
    Reply(200, b"\x1f\x8b broken", {"Content-Encoding": "gzip"}),
    Reply(200, b"x", {"Content-Encoding": "br"}),
    Reply(200, b" " * (LONGEST_ANSWER + 1)),
    Reply(200, b"\xff\xfe"),
    Reply(200, {"error": {"message": "overloaded", "code": 503}}),
    said("Hel", finish_reason="error"),
    said(["x", 3]),
    said([{"type": "image", "image": "?"}]),
    said({"text": "?"}),
    Reply(200, {"choices": {"0": "x"}}),
    Reply(200, {"choices": [{"message": "hello"}]}),
    Reply(204),
]


@pytest.mark.parametrize("reply", TROUBLE, ids=range(len(TROUBLE)))
def test_what_cannot_be_read_is_asked_again_and_then_stops_the_run(
    server: HostileServer, reply: Reply
) -> None:
    server.answer = lambda asked: reply if len(server.asked) < 3 else said()
    assert asked(server).text.startswith("SAY")
    server.answer = lambda asked: reply
    with pytest.raises(EngineLost, match="same command again"):
        asked(server, retries=3)


@pytest.mark.parametrize(
    "text", ['SAY: "[[' + "{[" * 80, 'SAY: \\" ' + "[" * 80 + "\\", "SAY: \\" + "]" * 80]
)
def test_brackets_quotes_and_backslashes_in_words_are_words(server: HostileServer, text: str) -> None:
    server.answer = lambda asked: said(text)
    assert asked(server, retries=0).text == text


@pytest.mark.parametrize("ended", ["\ud800", "x" * 10**6, "\x1b[2J", "sk-live-0123456789", 7, None, ["stop"]])
def test_whatever_a_server_says_of_an_end_is_one_short_line(server: HostileServer, ended: Any) -> None:
    know("sk-live-0123456789", "MY_KEY")
    server.answer = lambda asked: said(finish_reason=ended)
    told = asked(server, retries=0).finish_reason
    assert len(told) <= 40
    assert told.isprintable()
    assert "0123456789" not in told


@pytest.mark.parametrize(
    ("words", "headers"),
    [
        ("You exceeded your current quota. Please retry in 34s.", {}),
        ("Resource has been exhausted (e.g. check quota).", {"Retry-After": "0"}),
        ("Rate limit reached for requests. To raise it, add a payment method: /account/billing", {}),
    ],
)
def test_a_quota_by_the_minute_is_waited_for(
    server: HostileServer, words: str, headers: dict[str, str]
) -> None:
    busy = Reply(429, {"error": {"message": words}}, headers)
    server.answer = lambda asked: busy if len(server.asked) < 3 else said()
    assert asked(server).text.startswith("SAY")


def test_an_answer_that_drips_is_given_up_in_time(server: HostileServer) -> None:
    slow = Reply(200, said().data, drip_s=0.05)
    server.answer = lambda asked: slow
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"did not answer.*not within 0\.3 s"):
        asked(server, retries=0, timeout_s=0.3)
    server.models = lambda asked: slow
    with pytest.raises(BackendError, match="not within"):
        ServerBackend(server.url, "tiny", timeout_s=0.3).check()
    assert time.monotonic() - began < 5


def test_content_in_parts_is_read_by_type(server: HostileServer) -> None:
    server.answer = lambda asked: said(
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "I am a wolf"}]},
            {"type": "text", "text": "SAY: Hi."},
        ]
    )
    found = asked(server)
    assert (found.text, found.reasoning) == ("SAY: Hi.", "I am a wolf")


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (
            {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 99}},
            (12, 12, 3),
        ),
        ({"prompt_tokens": -5, "completion_tokens": "many", "prompt_tokens_details": None}, (None, 0, None)),
        ({"prompt_tokens": 1e300, "completion_tokens": 7.0, "prompt_tokens_details": "x"}, (None, 0, 7)),
        ({"input_tokens": 4, "output_tokens": 2}, (4, 0, 2)),
        (["odd"], (None, 0, None)),
        ({"prompt_tokens": True}, (None, 0, None)),
    ],
)
def test_odd_usage_never_loses_an_answer(server: HostileServer, usage: Any, counted: Any) -> None:
    server.answer = lambda asked: said(usage=usage)
    found = asked(server)
    assert (found.n_prompt, found.n_cached, found.n_generated) == counted


def test_a_pause_is_read_as_seconds_milliseconds_or_date() -> None:
    def wait(**headers: str) -> float | None:
        return wait_of(Answer(429, {k.replace("_", "-"): v for k, v in headers.items()}, b""), now=1000.0)

    assert wait(retry_after="7") == 7
    assert wait(retry_after_ms="250") == 0.25
    assert wait(retry_after="40ms") == 0.04
    assert wait(retry_after=formatdate(1030.0, usegmt=True)) == 30
    assert wait(retry_after=formatdate(900.0, usegmt=True)) == 0
    for nonsense in ("soon", "nan", "inf", "Mon, 99 Foo 9999 99:99:99 GMT", ""):
        assert wait(retry_after=nonsense) is None


def test_a_server_is_told_in_its_own_fields(server: HostileServer) -> None:
    def strict(asked: Asked) -> Reply:
        for name in ("max_tokens", "top_p", "seed"):
            if name in asked.body:
                return Reply(400, {"error": {"message": f"Unsupported parameter: '{name}'"}})
        if asked.body["messages"][0]["role"] == "system":
            return Reply(400, {"error": {"message": "this model has no system role"}})
        return said()

    server.answer = strict
    remedies = {}
    fields: dict[str, Any] = {}
    role = "system"
    for wanted in ("fields.max_tokens", "fields.top_p = false", 'system_role = "user"'):
        with pytest.raises(ServerRefuses) as stopped:
            asked(server, fields=fields, system_role=role)
        remedies[wanted] = wanted in str(stopped.value)
        fields = fields | (
            {"max_tokens": "max_completion_tokens"} if not fields else {"top_p": False, "seed": False}
        )
    assert all(remedies.values()), remedies
    assert asked(server, fields=fields, system_role="user").text.startswith("SAY")
    body = server.asked[-1].body
    assert body["max_completion_tokens"] == 64
    assert [m["role"] for m in body["messages"]] == ["user"]
    assert body["messages"][0]["content"].startswith("Rules.")
    for wrong in ({"max_tokens": 3}, {"messages": False}, ["x"]):
        with pytest.raises(ValueError, match="fields"):
            ServerBackend(server.url, "tiny", fields=wrong)  # type: ignore[arg-type]


def test_a_server_without_a_list_of_models_can_be_taken_as_it_is(server: HostileServer) -> None:
    for reply in (
        Reply(404, b"nothing here"),
        Reply(200, b"<html>"),
        Reply(200, {"data": [{"id": "an-alias"}]}),
    ):
        server.models = lambda asked, reply=reply: reply  # type: ignore[misc]
        with pytest.raises(BackendError, match=r"settings\.check = false"):
            ServerBackend(server.url, "tiny", api="chat").check()
        ServerBackend(server.url, "tiny", api="chat", check=False).check()


def test_a_budget_needs_a_server_that_counts(server: HostileServer) -> None:
    backend = ServerBackend(server.url, "tiny", api="chat")
    with pytest.raises(BackendError, match=r"budget.*cannot be kept"):
        backend.check(usage=True)
    server.answer = lambda asked: said(usage={"prompt_tokens": 3, "completion_tokens": 1})
    backend.check(usage=True)
    assert json.dumps(server.asked[-1].body).count("yes") == 1
