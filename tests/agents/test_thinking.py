"""Thinking is never said, under any template: what is not closed is thinking, and options are scored outside of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from agents.backends.base import Generation, Prompt
from agents.llm.beliefs import elicit
from agents.llm.chat import ChatPlayer
from agents.llm.chat_reply import take_apart
from agents.llm.template import read_markers
from agents.llm.thinking import apart, reply
from agents.werewolf.lessons.games import scripted_game
from games import chance, load_game
from games.base import Observation
from games.play import observe
from games.records import Decision, Record, Request
from tests.fixtures.player_fixtures import (
    OPENED,
    STYLES,
    THOUGHTS,
    FakeBackend,
    chat_tokenizer,
    context_chain,
    decisions,
    game_of,
    key_of,
)

GAME = load_game("werewolf")
CONFIG = GAME.configure(preset="classic-7")
SECRET = "I am the wolf and will lie"


@cache
def first_speech() -> Observation:
    """What the first speaker of a game of scripted players sees."""
    log = scripted_game(CONFIG, 3)
    return seen_by(log, next(d for d in decisions(log) if d.kind == "speech"))


def seen_by(log: Sequence[Record], decision: Decision) -> Observation:
    """What a logged decision was made on."""
    request = Request(decision.seat, decision.kind, decision.options, day=decision.day, phase=decision.phase)
    own = [
        r for r in log if r.seq < decision.seq and (not isinstance(r, Decision) or r.seat == decision.seat)
    ]
    return observe(GAME, "g2", CONFIG, 3, own, request)


@pytest.mark.parametrize(
    ("answer", "opened", "said"),
    [
        (f"<think>{SECRET}</think> Hello.", False, "Hello."),
        (f"<think>{SECRET}", False, ""),
        (f"{SECRET}. SAY: x", True, ""),
        (f"{SECRET}</think>Hello.", True, "Hello."),
        (f"{SECRET}</think>Hello.", False, "Hello."),
        (f"<thinking>{SECRET}</thinking>Hello.", False, "Hello."),
        (f"<thinking>\n{SECRET}", False, ""),
        (f"<think>a</think>Hello.<think>{SECRET}", False, ""),
        (f"<think>a</think>x<think>{SECRET}</think>Hello.", False, "Hello."),
        (f"<THINK>{SECRET}</Think>Hello.", False, "Hello."),
        (f"[THINK]{SECRET}[/THINK]Hello.", False, "Hello."),
        (f"◁think▷{SECRET}", False, ""),
        (f"<|channel|>analysis<|message|>{SECRET}<|end|>", False, ""),
        (f"<|channel|>analysis<|message|>{SECRET}<|end|><|start|>assistant<|channel|>final<|message|>Hello.", False,
         "Hello."),
        ("Hello.", False, "Hello."),
    ],
)  # fmt: skip
def test_what_is_not_closed_is_thinking(answer: str, opened: bool, said: str) -> None:
    assert reply(answer, opened=opened) == said
    parts = take_apart(answer, opened=opened)
    assert not any(SECRET in part.text for part in parts if part.kind not in ("thinking", "unclosed"))
    found = apart(answer, opened=opened)
    assert found.closed(answer) is bool(said)


class Words(FakeBackend):
    """Tells no token ids, as a server asked by `api = "text"`."""

    def _one(self, prompt: Prompt) -> Generation:
        return replace(super()._one(prompt), output_ids=(), logprobs=())


class Messages(FakeBackend):
    """Takes messages and tells words, thinking and all."""

    def _one(self, prompt: Prompt) -> Generation:
        self.prompts.append(prompt)
        said = self.say("\n".join(m.content for m in prompt.messages), replace(prompt, ids=(1,)))
        return Generation((), said, finish_reason="length" if self.cut else "stop")

    cut = False


@pytest.mark.parametrize("scratchpad", [True, False])
@pytest.mark.parametrize("kind", [FakeBackend, Words, Messages])
@pytest.mark.parametrize("style", ["chatml", "qwen-think", *OPENED, "gpt-oss"])
@pytest.mark.parametrize(
    "draft",
    ["{open}{s}", "{open}{s} PRIVATE: x\nSAY: {s}\nCHOICE: nobody", "{open}a{close}SAY: x {tag}{s}"],
)
def test_an_unfinished_draft_is_never_said(style: str, kind: Any, scratchpad: bool, draft: str) -> None:
    tokenizer, end = chat_tokenizer(style), STYLES[style][2]
    open_, _, close = THOUGHTS.get(style, "<think>hm</think>").partition("hm")
    tag = "<|channel|>analysis<|message|>" if style == "gpt-oss" else "<think>"
    words = kind is Messages
    if words and not open_.strip():
        open_ = "<think>"  # where nothing tells that the template opens it, see below
    text = draft.format(open=open_, close=close, s=SECRET, tag=tag)
    player = ChatPlayer(
        "m",
        kind(tokenizer, lambda t, p: text + end),
        None if words else tokenizer,
        retries=1,
        factors={"scratchpad": scratchpad},
        choice="constrained" if kind is FakeBackend else "free",
    )
    made = asyncio.run(player.act(first_speech()))
    assert made.fallback == "malformed"
    assert "wolf" not in made.action.text
    assert made.trace is not None
    assert made.trace.attempts == 2


@pytest.mark.parametrize("told", ["setting", "length"])
def test_messages_without_marks_are_thinking_where_the_server_says_so_or_cuts_them(told: str) -> None:
    backend = Messages(None, lambda t, p: f"{SECRET}. SAY: {SECRET}\nCHOICE: nobody")
    backend.cut = told == "length"
    player = ChatPlayer("m", backend, None, retries=1, thinking={"opened": told == "setting"})
    assert asyncio.run(player.act(first_speech())).fallback == "malformed"


@pytest.mark.parametrize(
    ("style", "opener", "closer"),
    [
        ("llama3", "", ""),
        ("gemma", "", ""),
        ("mistral", "", ""),
        ("chatml", "", ""),
        ("qwen-think", "", ""),
        ("deepseek", "<think>\n", "\n</think>\n\n"),
        ("qwen-open", "<think>\n", "\n</think>\n\n"),
        ("smol", "<think>", "\n\n</think>\n"),
        ("gpt-oss", "", "<|channel|>final<|message|>"),
    ],
)
def test_the_form_that_closes_thinking_is_the_templates_own(style: str, opener: str, closer: str) -> None:
    markers = read_markers(chat_tokenizer(style))
    assert (markers.opener, markers.closer) == (opener, closer)


def player_of(style: str, **settings: Any) -> ChatPlayer:
    tokenizer = chat_tokenizer(style)
    names = ("Ada", "Una", "Cal", "Eve", "Jon", "Max", "Lea")

    def say(text: str, prompt: Prompt) -> str:
        name = chance.choice(names, key_of(prompt))
        return f"{THOUGHTS.get(style, '')}PRIVATE: I doubt {name}.\nSAY: I accuse {name}.{STYLES[style][2]}"

    return ChatPlayer("m", FakeBackend(tokenizer, say), tokenizer, **settings)


@pytest.mark.parametrize("style", ["llama3", *sorted(THOUGHTS)])
@pytest.mark.parametrize("history", ["keep", "hide"])
def test_later_prompts_are_the_tokens_as_played_and_options_are_scored_outside_of_thinking(
    style: str, history: str
) -> None:
    player = player_of(style, thinking={"history": history})
    log = game_of(player)
    assert player.turns is not None
    assert player.encoder is not None
    closer, markers = player.turns.closer, player.turns.markers
    prompts = list(player.backend.prompts)
    asked = {(p.ids, p.sampling.choices != ()) for p in prompts}
    contexts, fresh = context_chain(log), player_of(style, thinking={"history": history})
    hidden = 0
    for decision in decisions(log):
        assert decision.trace is not None
        sampling = decision.trace.sampling or {}
        prompt = contexts[decision.seq][0]
        assert (tuple(prompt), "choices" in sampling) in asked
        ours = fresh.context(seen_by(log, decision)).ids
        assert prompt[: len(ours)] == ours
        assert ("thinking" in sampling) is ("choices" in sampling and bool(closer))
        if history == "hide":
            earlier = player.encoder.decode(ours).split(markers.ask.removesuffix(markers.opener))[1:-1]
            assert not any(mark in text for text in earlier for mark in ("think>", "analysis", "hm", "doubt"))
            hidden += sum("SAY: I accuse" in text for text in earlier)
    assert hidden > 3 or history == "keep"
    assert all(p.ids[len(p.ids) - len(closer) :] == closer for p in prompts if p.sampling.choices)
    last = decisions(log)[-1]
    player.backend.prompts.clear()
    found = asyncio.run(elicit(player, seen_by(log, last), last.seq))
    assert all(p.ids[len(p.ids) - len(closer) :] == closer for p in player.backend.prompts)
    assert all(("closed" in b.note) is bool(closer) and b.option_mass is not None for b in found)


@pytest.mark.parametrize("style", ["qwen-think", "deepseek"])
@pytest.mark.parametrize(
    "thinking", [{"given": "Everybody lies."}, {"given": "Xylophone", "given_whole": False}, {"budget": 5}]
)
def test_given_or_bounded_thinking_holds_on_every_attempt(style: str, thinking: dict[str, Any]) -> None:
    tokenizer = chat_tokenizer(style)
    answers = iter(range(10**6))

    def say(text: str, prompt: Prompt) -> str:
        if prompt.sampling.max_tokens == 5:
            return "so and so and so and so on and on"
        ends = "</think>" if thinking.get("given_whole") is False else ""
        return f"{ends}{'SAY: Hello.' if next(answers) % 2 else 'No.'}{STYLES[style][2]}"

    player = ChatPlayer("m", FakeBackend(tokenizer, say), tokenizer, retries=3, thinking=thinking)
    made = asyncio.run(player.act(first_speech()))
    assert (made.action.text, made.fallback) == ("Hello.", None)
    assert made.trace is not None
    assert made.trace.attempts == 2
    assert tokenizer.decode(made.trace.prompt_ids).count(thinking.get("given", "</think>")) == 2
