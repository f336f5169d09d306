"""Versions of the prompts, the digest of the table, worked examples, a given beginning, and a tolerant reading."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from agents.backends.base import Prompt
from agents.backends.mock import MockBackend
from agents.llm.chat import ChatPlayer
from agents.llm.chat_reply import Part
from agents.llm.prompts.digest import digest
from agents.llm.prompts.reading import narrowed
from agents.llm.prompts.versions import VERSIONS, check_version, prompts_hash
from games import load_game
from games.records import Event
from games.seat_view.views import see
from tests.fixtures.player_fixtures import (
    OPENED,
    STYLES,
    THOUGHTS,
    chat_tokenizer,
    context_chain,
    decisions,
    game_of,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "digest": {"digest": True},
    "examples": {"examples": 3},
    "prefill": {"prefill": True, "scratchpad": False},
    "short": {"version": "short", "digest": True, "examples": 2, "prefill": True, "scratchpad": False},
}


def say(text: str, prompt: Prompt) -> str:
    """A well-formed speech, by whether its heading stands in the prompt."""
    name = re.findall(r"Players: (\w+)", text)[-1]
    line = f" I accuse {name}."
    return line if text.rstrip().endswith("SAY:") else f"PRIVATE: hm\nSAY:{line}"


def player(style: str, factors: dict[str, Any]) -> tuple[ChatPlayer, MockBackend]:
    tokenizer, thought = chat_tokenizer(style), THOUGHTS[style] if style in OPENED else ""
    backend = MockBackend(tokenizer, lambda text, prompt: thought + say(text, prompt) + STYLES[style][2])
    return ChatPlayer("chat", backend, tokenizer, factors=factors), backend


@pytest.mark.parametrize(
    "style", ["chatml", "llama3", "gemma", "mistral", "deepseek", "qwen-think", "gpt-oss"]
)
def test_prompts_of_every_version_only_grow(style: str) -> None:
    for name, factors in OPTIONS.items():
        made, _ = player(style, factors)
        log = game_of(made, "probe-6", speech_rounds=1, max_days=1)
        chain = context_chain(log)
        own = [d for d in decisions(log, 1) if d.trace is not None]
        for before, after in pairwise(own):
            assert chain[after.seq][0][: len(chain[before.seq][1])] == chain[before.seq][1], name
        spoken = [d for d in decisions(log) if d.kind == "speech" and d.fallback is None]
        assert spoken and all(d.action.acts for d in spoken), name
        assert all(d.trace is not None and d.trace.attempts == 1 for d in spoken), name


def test_the_digest_is_of_the_seats_own_view() -> None:
    game = load_game("werewolf")
    made, backend = player("chatml", {"digest": True, "scratchpad": False})
    log = game_of(made, "classic-7")
    config = game.configure(preset="classic-7")
    words = game.text.words_of(config, log)
    roles = {r.target: r.value for r in log if isinstance(r, Event) and r.kind == "role"}
    hidden = [i for i in range(7) if roles.get(i) == "werewolf"] or [0]
    for seat in set(range(7)) - set(hidden):
        told = digest(game, config, words, seat, see(log, seat))
        assert f"{words.names[seat]} (you)" in told or "Out of the game" in told
        living = told.partition("Still in the game: ")[2].partition(".")[0]
        gone = {r.target for r in log if isinstance(r, Event) and r.kind in game.exit_kinds}
        assert all((words.names[i] in living) == (i not in gone) for i in range(7))
    before_anything = digest(game, config, words, 0, see(log[:3], 0))
    assert "has said" not in before_anything and "Out of" not in before_anything
    asked = [backend.text(p.ids) for p in backend.prompts]
    assert any("has said: I accuse" in text for text in asked)


def test_examples_are_of_no_game_that_is_played() -> None:
    made, backend = player("chatml", {"examples": 4})
    log = game_of(made, "probe-6", speech_rounds=1, max_days=1)
    names = load_game("werewolf").text.words_of(load_game("werewolf").configure(preset="probe-6"), log).names
    text = backend.text(backend.prompts[0].ids)
    shown = text.partition("Example:")[2].partition("<|im_end|>")[0]
    assert shown.count("You write:") == 4 and "SAY: I accuse Pim." in shown
    assert not any(re.search(rf"\b{name}\b", shown) for name in names)


def test_versions_are_named_and_hashed_and_the_standard_ones_hash_is_what_it_was() -> None:
    assert len({prompts_hash(version) for version in VERSIONS}) == len(VERSIONS)
    assert prompts_hash() == "chat-1@90847b942fe6"
    assert prompts_hash("short").startswith("short-1@")
    made, _ = player("chatml", OPTIONS["short"])
    log = game_of(made, "probe-6", speech_rounds=1, max_days=1)
    traces = [d.trace for d in decisions(log) if d.trace is not None]
    assert {t.sampling["prompts"] for t in traces if t.sampling} == {prompts_hash("short")}
    with pytest.raises(
        ValueError, match=r"no version of the prompts is called 'long'; there are: standard, short"
    ):
        check_version("long")
    with pytest.raises(ValueError, match=r"factors\.prefill needs prompts of token ids"):
        ChatPlayer("m", MockBackend(), None, factors={"prefill": True, "scratchpad": False})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I accuse Ben.", "I accuse Ben."),
        ('\n I accuse Ben. \nCal says "no"', "I accuse Ben."),
        ('"I accuse Ben."', "I accuse Ben."),
        ('Ada says "I accuse Ben." Ben says "no"', "I accuse Ben."),
        ("“I accuse Ben.” he said", "I accuse Ben."),
        ('I said "no" to Ben.', 'I said "no" to Ben.'),
        ("Ben is a werewolf.", "Ben is a werewolf."),
        ('""', '""'),
    ],
)
def test_what_a_small_model_says_is_its_first_line_without_the_logs_dress(answer: str, said: str) -> None:
    whole = "SAY: " + answer
    found = narrowed(Part("say", 5, len(whole), answer), ("Ada", "Ben", "Cal"))
    assert found.text == said
    assert whole[found.start : found.end] == said
