"""Reasoning is found, cut and changed on the ids of the log: prefix and continuation are the ids as played, in every
family of templates; categories follow their rules; changes change what they name."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agents.backends.base import Prompt
from agents.backends.mock import MockBackend, key_of
from agents.llm.chat import ChatPlayer
from agents.werewolf.lessons.games import scripted_game
from games import chance, load_game
from games.play import observe, waves
from games.records import Decision
from harness.reasoning.categories import category_of
from harness.reasoning.changes import DOES, accuses, changed_body, opposite
from harness.reasoning.played import Played, played_reasoning
from harness.reasoning.steps import Step, cut_text, cut_tokens
from tests.fixtures.player_fixtures import STYLES, THOUGHTS, chat_tokenizer, context_chain, game_of

NAMES = ("Ada", "Una", "Cal", "Eve", "Jon", "Max", "Lea")
THOUGHT = "{a} accused {b}. So {b} is probably a werewolf!\nWait, {c} was quiet. I will vote {b}."


def thinker(style: str, **settings: Any) -> ChatPlayer:
    """A player that thinks four sentences about drawn players before all it says."""
    tokenizer = chat_tokenizer(style)

    def say(text: str, prompt: Prompt) -> str:
        drawn = chance.shuffled(list(NAMES), key_of(prompt))
        thought = THOUGHT.format(a=drawn[0], b=drawn[1], c=drawn[2])
        body = THOUGHTS.get(style, "").replace("hm", thought) if style in THOUGHTS else ""
        notes = "" if settings.get("factors") == {"scratchpad": False} else f"PRIVATE: {thought}\n"
        named = [n for n in NAMES if f"{n}" in text.rpartition("Options:")[2]] or [drawn[1]]
        choice = chance.choice(named, key_of(prompt))
        return f"{body}{notes}SAY: I accuse {drawn[1]}.\nCHOICE: {choice}{STYLES[style][2]}"

    return ChatPlayer("m", MockBackend(tokenizer, say), tokenizer, **settings)


def reasonings(
    player: ChatPlayer, n: int = 2, game: bool = False
) -> list[tuple[Decision, Played, list[int]]]:
    """Some ballots with their reasoning and their whole ids as played: in a scripted game, or of a game of the player's
    own, where prompts go on from earlier answers."""
    rules, config = load_game("werewolf"), load_game("werewolf").configure(preset="classic-7")
    log = game_of(player) if game else scripted_game(config, 3)
    chain, found = context_chain(log) if game else {}, []
    for requests, wave, before in waves(rules, config, 3, log):
        for request, decision in zip(requests, wave, strict=True):
            if request.kind != "ballot" or len(found) >= n:
                continue
            observation = observe(rules, "g", config, 3, before, request)
            if game:
                prompt, whole = chain[decision.seq]
            else:
                reply = asyncio.run(player.act(observation))
                decision = replace(decision, action=reply.action, trace=reply.trace)
                assert reply.trace is not None
                prompt = list(reply.trace.prompt_ids)
                whole = [*prompt, *reply.trace.output_ids]
            names = rules.text.words_of(config, before).names
            found.append((decision, played_reasoning(player, observation, decision, prompt, names), whole))
    return found


@pytest.mark.parametrize(
    ("how", "style"),
    [*(("notes", style) for style in sorted(STYLES)), *(("thinking", s) for s in sorted(THOUGHTS))],
)
def test_prefix_and_continuation_are_the_ids_as_played_in_every_family(style: str, how: str) -> None:
    free = {"choice": "free", "factors": {"scratchpad": False}} if how == "thinking" else {}
    found = reasonings(
        thinker(style, **free), n=2 if style != "qwen-think" else 6, game=style == "qwen-think"
    )
    assert len(found) > 1
    encoder = thinker(style).encoder
    assert encoder is not None
    for decision, played, whole in found:
        taken = played.choices[played.answers.index(played.chosen)]
        assert played.chosen == decision.action.option
        body = "".join(encoder.decode(played.ids[s.start : s.end]) for s in played.steps)
        assert body == encoder.decode(played.body)
        assert [s.end for s in played.steps[:-1]] == [s.start for s in played.steps[1:]]
        assert (played.steps[0].start, played.steps[-1].end) == (played.start, played.end)
        for k in range(len(played.steps) + 1):
            assert list(played.prefix(k)) == whole[: played.edge(k)]
        if how == "thinking" or style not in THOUGHTS:  # otherwise the notes behind the thinking are left out
            assert [*played.ids, *taken] == whole[: len(played.ids) + len(taken)]
        said = encoder.decode(played.body).strip()
        assert said.startswith(tuple(NAMES)) and said.endswith(".") and len(played.steps) == 4
        assert "think>" not in said and "<|" not in said and "PRIVATE" not in said
        # cut off at once, the thinking is closed by the template's own form
        closed = encoder.decode((*played.head, *played.tail))
        for mark in ("</think>", "<|channel|>final"):
            assert closed.count(mark) == encoder.decode(played.ids).count(mark)


def test_steps_are_sentences_of_prose_and_items_of_typed_language() -> None:
    assert [("Ada voted. So?"[a:b]) for a, b in cut_text("Ada voted. So?", "sentences")] == [
        "Ada voted.",
        " So?",
    ]
    numbered = "1. Ben is at 2.5 votes, e.g. Cal. Done"
    assert len(cut_text(numbered, "sentences")) == 3
    typed = "Dot inspected Hal werewolf against Hal 9. Ada votes Dot for Ada 2. so Ada 1 Hal 7."
    assert [typed[a:b].strip() for a, b in cut_text(typed, "items")][2] == "so Ada 1 Hal 7."
    assert cut_text("  \n", "sentences") == []
    player = thinker("llama3")
    assert player.encoder is not None
    ids = player.encoder.encode(typed)[0]
    steps = cut_tokens(player.encoder, ids, 0, len(ids), "items")
    assert next(s.text for s in steps) == "Dot inspected Hal werewolf against Hal 9."
    assert sum(s.end - s.start for s in steps) == len(ids)


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Ada voted for Ben on day 1.", "fact"),
        ("Ben is probably a werewolf.", "inference"),
        ("I will vote Ben.", "plan"),
        ("I should pretend that I trust Ben.", "deception"),
        ("I will claim that I am the seer.", "deception"),
        ("I will claim that I am a werewolf.", "plan"),
        ("Wait, Cal was quiet.", "backtrack"),
        ("Dot inspected Hal werewolf against Hal 9.", "fact"),
        ("so Ada 1 Hal 7 Dot 0.", "inference"),
        ("Okay.", "other"),
    ],
)
def test_categories_follow_their_rules(text: str, category: str) -> None:
    seats = tuple(i for i, n in enumerate(("Ada", "Ben", "Cal", "Dot", "Hal")) if n in text)
    assert category_of(text, seats, "werewolf", ("werewolf", "seer", "villager")) == category


def test_every_change_changes_what_it_names_and_nothing_else() -> None:
    player = thinker("qwen-think", choice="free", factors={"scratchpad": False})
    encoder = player.encoder
    assert encoder is not None
    (_, played, _), (_, donor, _) = reasonings(player)
    subject, other = played.steps[1].subjects[0], next(iter(played.steps[2].subjects))
    made = {}
    for do in DOES:
        rng = np.random.default_rng(0)
        body = changed_body(
            played, do, "half" if do == "cut" else "subject", subject, other, encoder, NAMES, rng, lambda: donor.body
        )  # fmt: skip
        assert body is not None
        whole = played.with_body(body)
        assert whole[: played.start] == played.head and whole[len(whole) - len(played.tail) :] == played.tail
        made[do] = encoder.decode(body)
    steps = [s.text for s in played.steps]
    assert made["none"] == "" and made["other"] == encoder.decode(donor.body)
    assert len(
        changed_body(played, "filler", "drawn", 0, None, encoder, NAMES, np.random.default_rng(0)) or ()
    ) == len(played.body)
    words = [sorted(re.findall(r"\w+", text)) for text in (made["shuffle"], " ".join(steps))]
    assert words[0] == words[1] and made["shuffle"] != encoder.decode(played.body)
    assert steps[3] not in made["drop"] and all(
        s in made["drop"] for s in steps[:3]
    )  # the last that names it
    assert made["edit"].endswith(f"I am now sure that {NAMES[subject]} is not a werewolf.")
    assert f"{NAMES[other]} is a werewolf" in made["irrelevant"] and steps[3] in made["irrelevant"]
    assert changed_body(played, "cut", "last", 0, None, encoder, NAMES, np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("said", "opposed"),
    [
        ("so Ada 1 Hal 7 Dot 0.", "so Ada 1 Hal 3 Dot 0."),
        ("Dot inspected Hal werewolf against Hal 9.", "Dot inspected Hal werewolf for Hal 9."),
        ("I accuse Hal.", "I defend Hal."),
        ("Hal is suspicious.", "I am now sure that Hal is not a werewolf."),
        ("Hal was quiet.", "I am now sure that Hal is a werewolf."),
    ],
)
def test_an_edit_says_the_opposite_by_the_codec_or_by_template(said: str, opposed: str) -> None:
    game = load_game("werewolf")
    log = scripted_game(game.configure(preset="classic-7"), 3)
    words = game.text.words_of(game.configure(preset="classic-7"), log)
    name = words.names[2]
    step = Step(0, 0, 1, said.replace("Hal", name), subjects=(2,))
    assert opposite(step, name, game.text, words, 2) == opposed.replace("Hal", name)
    assert accuses("Ben is a werewolf") and not accuses("Ben is not a werewolf")
