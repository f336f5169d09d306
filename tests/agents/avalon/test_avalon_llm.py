"""Language models play Avalon: chat and transcript prompts, constrained choices, one growing context."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from agents.backends.base import Prompt
from agents.llm.chat import ChatPlayer
from agents.llm.transcript import TranscriptPlayer
from games import chance
from games.avalon import GAME
from games.avalon.presets import configure
from games.records import Decision
from tests.fixtures.player_fixtures import (
    FakeBackend,
    chat_tokenizer,
    context_chain,
    decisions,
    key_of,
    names_in,
    play_out,
)


def chat_answer(text: str, prompt: Prompt) -> str:
    """Notes, a speech with a typed act about somebody, a choice, legal or not."""
    asked = text.rpartition("It is your turn.")[2]
    name = chance.choice(("Ada", "Ben", "Cal"), key_of(prompt))
    answer = "PRIVATE: Who is it?\n" if "PRIVATE" in asked else ""
    if "SAY:" in asked:
        answer += f"SAY: I suggest {name}. I am not the merlin. Hm.\n"
    return answer + (f"CHOICE: {name}" if "CHOICE" in asked else "") + "<|im_end|>"


def chat_player(**settings: Any) -> ChatPlayer:
    tokenizer = chat_tokenizer("chatml")
    return ChatPlayer("model", FakeBackend(tokenizer, chat_answer), tokenizer, **settings)


@pytest.mark.parametrize("preset", ["resistance-5", "avalon-7"])
@pytest.mark.parametrize("choice", ["constrained", "free"])
def test_a_chat_model_plays_every_kind_of_request_in_one_growing_context(preset: str, choice: Any) -> None:
    config = configure(preset, max_rejections=2)
    player = chat_player(choice=choice, retries=1)
    log = asyncio.run(play_out([player] * config.n_players, config, game="avalon"))
    made = decisions(log)
    assert {"speech", "pick", "vote"} <= {d.kind for d in made}
    if choice != "free":  # a free answer may name a seat that cannot be picked, and is then replaced
        assert all(d.fallback is None for d in made)
    chain = context_chain(log)
    for seat in range(config.n_players):
        own = [chain[d.seq] for d in decisions(log, seat)]
        assert all(later[0][: len(earlier[1])] == earlier[1] for earlier, later in pairwise(own))
    assert player.encoder is not None
    text = player.encoder.decode(player.backend.prompts[0].ids)
    assert GAME.rules_text(config).splitlines()[3] in text
    assert not any(word in text.casefold() for word in ("werewolf", "village", "seer"))


def test_a_speech_of_a_chat_model_holds_typed_acts_and_its_options_are_the_games_words() -> None:
    config = configure("avalon-5", max_rejections=2)
    player = chat_player()
    log = asyncio.run(play_out([player] * 5, config, 0, game="avalon"))
    spoken = [d for d in decisions(log) if d.kind == "speech"]
    assert all(d.action.acts[-1].kind == "deny" for d in spoken)
    assert player.encoder is not None
    asked = [player.encoder.decode(p.ids).rpartition("It is your turn.")[2] for p in player.backend.prompts]
    assert any("approve" in text and "reject" in text for text in asked)
    assert any("success" in text and "failure" not in text for text in asked)  # a good player's card


def line(text: str, prompt: Prompt) -> str:
    """A well-formed line, legal or not."""
    name = chance.choice(names_in(text), key_of(prompt))
    question = text.rpartition("\n")[2].rstrip()
    if question.endswith('"'):
        return f' I accuse {name}."\n'
    return (
        " approve.\n"
        if question.endswith("votes")
        else " success.\n"
        if question.endswith("plays")
        else f" {name}.\n"
    )


def test_a_transcript_model_plays_with_constrained_repairs() -> None:
    config = configure("avalon-6", max_rejections=2)
    tokenizer = chat_tokenizer("chatml")
    player = TranscriptPlayer("model", FakeBackend(tokenizer, line), tokenizer, choice="repair")
    log = asyncio.run(play_out([player] * 6, config, game="avalon"))
    made = [d for d in decisions(log) if d.kind != "speech"]
    assert {d.kind for d in made} >= {"pick", "vote", "card"}
    assert all(d.fallback is None and isinstance(d, Decision) and d.trace is not None for d in made)
    assert GAME.statements(config, log)
