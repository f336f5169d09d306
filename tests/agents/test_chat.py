"""The chat player: its own template, one growing context, notes apart from words, factors, thinking, repairs."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agents.backends.base import Generation, Prompt
from agents.backends.hooked.backend import load_hooked_backend
from agents.llm.chat import ChatPlayer
from agents.llm.chat_prompt import prompts_hash
from agents.llm.chat_reply import Unreadable, chosen, spoken, take_apart
from agents.llm.encoder import Encoder, TokenizerError
from agents.llm.template import read_markers
from agents.models.folder import model_name
from agents.werewolf.vocabulary import make_tokenizer
from games import chance, load_game
from games.play import observe, play
from games.records import Decision, Request
from games.werewolf.words.rules_text import rules_text
from harness.activations.sites import game_items
from harness.check.check import check_run
from harness.config.files import parse_config
from harness.play.factory import prompt_hashes
from harness.play.runner import Runner
from harness.run.folder import load_run
from harness.run.held import RunFolder, new_manifest
from harness.schedule.tournament import Schedule
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
    play_out,
)
from tests.fixtures.tiny_models import tiny_model

GAME = load_game("werewolf")
CONFIG = GAME.configure(preset="classic-7")
NAMES = ("Ada", "Una", "Cal", "Eve", "Jon", "Max", "Lea")  # of seed 3


def answer_of(style: str, thinks: bool = False) -> Any:
    """A chat model that takes notes, speaks, and chooses somebody, legal or not."""
    end = STYLES[style][2]

    def say(text: str, prompt: Prompt) -> str:
        name = chance.choice(NAMES, key_of(prompt))
        asked = text.rpartition("It is your turn.")[2]
        answer = THOUGHTS[style] if thinks or style in OPENED else ""
        if "PRIVATE" in asked:
            answer += f"PRIVATE: I do not trust {name}.\n"
        if "SAY:" in asked:
            answer += f"SAY: Hello all. I accuse {name}. What now?\n"
        if "CHOICE" in asked:
            answer += f"CHOICE: **{name}**"
        return answer + end

    return say


def player_of(style: str = "chatml", thinks: bool = False, **settings: Any) -> ChatPlayer:
    tokenizer = chat_tokenizer(style)
    return ChatPlayer("model", FakeBackend(tokenizer, answer_of(style, thinks)), tokenizer, **settings)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("choice", ["free", "constrained"])
def test_contexts_grow_by_appending_under_every_template(style: str, choice: Any) -> None:
    player = player_of(style, choice=choice, retries=1)
    log = game_of(player)
    contexts = context_chain(log)
    n_checked = 0
    for seat in range(7):
        for before, after in pairwise(decisions(log, seat)):
            whole = contexts[before.seq][1]
            assert contexts[after.seq][0][: len(whole)] == whole
            n_checked += 1
    assert n_checked > 10
    asked = [p.ids for p in player.backend.prompts]
    assert {tuple(prompt) for prompt, _ in contexts.values()} <= set(asked)
    if choice == "constrained":
        assert all(d.fallback is None for d in decisions(log))


@pytest.mark.parametrize("style", ["chatml", "llama3", "gemma", "mistral"])
def test_first_context_is_what_the_template_itself_renders(style: str) -> None:
    player = player_of(style)
    game_of(player)
    prompt = player.backend.prompts[0]
    assert player.encoder is not None
    text = player.encoder.decode(prompt.ids)
    tokenizer = player.encoder.tokenizer
    markers = read_markers(tokenizer)
    body = text.removeprefix(markers.head).removesuffix(markers.ask)
    if markers.after_system is None:
        turns = [{"role": "user", "content": body}]
    else:
        system, _, user = body.partition(markers.after_system)
        if (
            style == "mistral"
        ):  # two line breaks stand in the words too: cut after the last line of the system text
            cut = body.index("Players:")
            system, user = body[: cut - 2], body[cut:]
        turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    assert tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) == text


@pytest.mark.parametrize("choice", ["free", "constrained"])
@pytest.mark.parametrize("history", ["keep", "hide"])
def test_contexts_are_rebuilt_from_records_alone(choice: Any, history: str) -> None:
    settings: dict[str, Any] = {"choice": choice, "thinking": {"history": history}, "retries": 1}
    player = player_of("qwen-think", thinks=True, **settings)
    log = game_of(player)
    fresh = player_of("qwen-think", thinks=True, **settings)
    contexts = context_chain(log)
    for decision in decisions(log):
        request = Request(
            decision.seat, decision.kind, decision.options, day=decision.day, phase=decision.phase
        )
        before = [
            r
            for r in log
            if r.seq < decision.seq and (not isinstance(r, Decision) or r.seat == decision.seat)
        ]
        ours = fresh.context(observe(GAME, "g2", CONFIG, 3, before, request)).ids
        assert contexts[decision.seq][0][: len(ours)] == ours


def test_game_is_the_same_when_it_is_resumed_in_the_middle() -> None:
    whole = game_of(player_of(retries=0))
    cut = next(r.seq for r in whole if r.kind == "speech" and isinstance(r, Decision))
    replayed = [r for r in whole if r.seq <= cut + 4]
    again = asyncio.run(play_out([player_of(retries=0)] * 7, CONFIG, 3, replayed=replayed))
    assert again == whole


def test_private_notes_and_words_are_kept_apart() -> None:
    log = game_of(player_of())
    speeches = [d for d in decisions(log) if d.kind == "speech"]
    for decision in speeches:
        assert decision.action.text.startswith("Hello all. I accuse ")
        assert decision.action.text.endswith("What now?")
        assert [act.kind for act in decision.action.acts] == ["accuse"]
        assert decision.trace is not None
        assert "I do not trust" in (decision.trace.reasoning or "")
    shown = [r.text for r in log if r.kind == "speech" and not isinstance(r, Decision)]
    assert shown
    assert not any("trust" in (text or "") for text in shown)


def test_spans_cover_notes_words_choice_role_and_speakers() -> None:
    for choice in ("free", "constrained"):
        player = player_of(choice=choice)
        log = game_of(player)
        contexts = context_chain(log)
        kinds = set()
        assert player.encoder is not None
        for decision in decisions(log):
            assert decision.trace is not None
            ids = contexts[decision.seq][1]
            for span in decision.trace.spans:
                text = player.encoder.decode(ids[span.start : span.end])
                kinds.add(span.kind)
                if span.kind == "own_speech":
                    assert text.strip() == decision.action.text
                elif span.kind == "reasoning":
                    assert "I do not trust" in text
                elif span.kind == "role_line":
                    assert text.startswith("You: ")
                elif span.kind == "speech":
                    assert ' says "Hello all.' in text
                elif span.kind == "system":
                    assert "# Rules" in text
        assert {"system", "role_line", "speech", "mention", "question", "own_speech", "own_act", "reasoning",
                "output", "template"} <= kinds  # fmt: skip


def test_rules_are_those_of_the_configuration() -> None:
    for preset in ("arena-8", "aiwolf-5", "foaster-6"):
        config = GAME.configure(preset=preset)
        step = next(play(GAME, config, 3))
        player = player_of()
        asyncio.run(player.act(observe(GAME, "g", config, 3, step.new, step.requests[0])))
        assert player.encoder is not None
        assert rules_text(config).strip() in player.encoder.decode(player.backend.prompts[0].ids)


@pytest.mark.parametrize("preset", ["classic-7", "arena-8", "kaggle-8", "aiwolf-5", "foaster-6", "xu-7"])
def test_every_preset_is_played_without_a_fallback(preset: str) -> None:
    log = game_of(player_of(), preset)
    assert decisions(log)
    assert all(d.fallback is None for d in decisions(log))


def first_night() -> Any:
    """Seat 0's first observation."""
    step = next(play(GAME, CONFIG, 3))
    return observe(GAME, "g", CONFIG, 3, step.new, step.requests[0])


def test_factors_are_off_by_default_and_change_the_prompt_when_on() -> None:
    def first(**factors: Any) -> str:
        player = player_of(factors=factors)
        asyncio.run(player.act(first_night()))
        assert player.encoder is not None
        return player.encoder.decode(player.backend.prompts[0].ids)

    plain = first()
    assert not any(word in plain for word in ("monitored", "# Advice", "# Who you are", "BELIEFS"))
    assert "Your reasoning is being monitored." in first(monitored=True)
    assert "# Advice" in first(advice=True)
    assert "Trust nobody." in first(advice="Trust nobody.")
    assert "You are a careful judge." in first(persona="You are a careful judge.")
    assert "BELIEFS:" in first(beliefs=True)
    assert "PRIVATE" not in first(scratchpad=False)
    with pytest.raises(Exception, match="advise"):
        player_of(factors={"advise": True})


def test_hash_of_the_templates_stands_on_every_decision() -> None:
    log = game_of(player_of())
    assert prompts_hash().startswith("chat-1@")
    for decision in decisions(log):
        assert decision.trace is not None
        assert decision.trace.sampling is not None
        assert decision.trace.sampling["prompts"] == prompts_hash()


def test_unreadable_answer_is_told_why_and_repaired() -> None:
    tokenizer = chat_tokenizer("chatml")

    def stubborn(text: str, prompt: Prompt) -> str:
        if "could not be used" in text.rpartition("It is your turn.")[2]:
            return (
                f"SAY: Fine.\nCHOICE: {text.rpartition('one of: ')[2].split(',')[0].split('.')[0]}<|im_end|>"
            )
        return "I would rather not.<|im_end|>"

    log = game_of(ChatPlayer("m", FakeBackend(tokenizer, stubborn), tokenizer, choice="free", retries=1))
    assert all(d.fallback is None for d in decisions(log))
    for decision in decisions(log):
        assert decision.trace is not None
        assert decision.trace.rejected == ("I would rather not.",)
        assert decision.trace.attempts == 2
        assert any(span.kind == "rejected" for span in decision.trace.spans)
    log = game_of(
        ChatPlayer("m", FakeBackend(tokenizer, lambda t, p: "No.<|im_end|>"), tokenizer, choice="free")
    )
    assert {d.fallback for d in decisions(log)} == {"malformed"}


def test_notes_come_first_and_the_choice_is_constrained() -> None:
    player = player_of()
    log = game_of(player)
    ballots = [d for d in decisions(log) if d.kind == "ballot"]
    for decision in ballots:
        assert decision.trace is not None
        assert decision.trace.sampling is not None
        assert decision.trace.sampling["choices"] == len(decision.options)
        assert decision.action.option in decision.options
        kinds = [s.kind for s in decision.trace.spans]
        assert kinds.index("reasoning") < kinds.index("own_act")
    free = [p for p in player.backend.prompts if not p.sampling.choices]
    assert free


def test_thinking_is_kept_apart_from_the_reply() -> None:
    log = game_of(player_of("qwen-think", thinks=True))
    for decision in decisions(log):
        if decision.kind == "speech":
            assert "hm" not in decision.action.text
        assert decision.trace is not None
        assert (decision.trace.reasoning or "").startswith("hm")


def test_thinking_can_be_hidden_from_later_prompts() -> None:
    player = player_of("qwen-think", thinks=True, thinking={"history": "hide"})
    log = game_of(player)
    contexts = context_chain(log)
    assert player.encoder is not None
    for seat in range(7):
        own = decisions(log, seat)
        for decision in own[1:]:
            assert decision.trace is not None
            assert decision.trace.continues is None
        if len(own) > 1:
            first = contexts[own[0].seq][0]
            later = contexts[own[-1].seq][0]
            text = player.encoder.decode(later)
            assert text.count("<think>") <= 1  # that of the decision in hand
            assert text.count("I do not trust") <= 1
            assert first[:50] == later[:50]


def test_thinking_is_cut_off_at_its_budget() -> None:
    tokenizer = chat_tokenizer("qwen-think")
    reply = answer_of("qwen-think")

    def endless(text: str, prompt: Prompt) -> str:
        asked = text.rpartition("It is your turn.")[2]
        return reply(text, prompt) if "</think>" in asked else "<think>\n" + "so and so " * 200

    player = ChatPlayer("m", FakeBackend(tokenizer, endless), tokenizer, thinking={"budget": 12})
    log = game_of(player)
    assert all(d.fallback is None for d in decisions(log))
    contexts = context_chain(log)
    for decision in decisions(log):
        assert decision.trace is not None
        spans = [s for s in decision.trace.spans if s.kind == "reasoning"]
        assert any(s.end - s.start == 12 for s in spans)
        text = player.encoder.decode(contexts[decision.seq][1]) if player.encoder else ""
        assert "</think>" in text


def test_thinking_can_be_given() -> None:
    tokenizer = chat_tokenizer("qwen-think")
    player = ChatPlayer(
        "m", FakeBackend(tokenizer, answer_of("qwen-think")), tokenizer, thinking={"given": "Everybody lies."}
    )
    log = game_of(player)
    assert all(d.fallback is None for d in decisions(log))
    first = tokenizer.decode(player.backend.prompts[0].ids)
    assert first.endswith("<think>\nEverybody lies.\n</think>\n\n")
    decision = decisions(log)[0]
    assert decision.trace is not None
    assert (decision.trace.reasoning or "").startswith("Everybody lies.")


class Server(FakeBackend):
    """Takes messages and tells text alone, thinking apart, as chat completions do."""

    def _one(self, prompt: Prompt) -> Generation:
        assert prompt.messages
        assert not prompt.ids
        self.prompts.append(prompt)
        text = "\n".join(m.content for m in prompt.messages)
        asked = replace(prompt, ids=tuple(range(len(text))))
        return Generation((), self.say(text, asked).removesuffix("<|im_end|>"), reasoning="secret thoughts")


def test_server_without_token_ids_is_played_by_messages() -> None:
    def make() -> ChatPlayer:
        return ChatPlayer("m", Server(None, answer_of("chatml")), None, retries=2)

    player = make()
    log = game_of(player)
    assert any(d.fallback is None for d in decisions(log))
    for decision in decisions(log):
        assert decision.trace is not None
        assert decision.trace.output_ids == ()
        assert decision.trace.sampling is not None
        assert "token_ids" in decision.trace.sampling
        if decision.fallback is None:
            assert "secret thoughts" in (decision.trace.reasoning or "")
    by_seat: dict[str, Any] = {}
    for prompt in player.backend.prompts:
        before = by_seat.get(prompt.session or "", ())
        assert prompt.messages[: len(before)] == before
        by_seat[prompt.session or ""] = prompt.messages
        roles = [m.role for m in prompt.messages]
        assert roles == ["system", *(["user", "assistant"] * len(roles))[: len(roles) - 1]]
    cut = decisions(log)[6].seq
    again = asyncio.run(play_out([make()] * 7, CONFIG, 3, replayed=[r for r in log if r.seq <= cut]))
    assert again == log


def test_tokenizer_without_a_template_is_refused_with_the_remedy() -> None:
    with pytest.raises(TokenizerError, match='prompt = "transcript"'):
        ChatPlayer("m", FakeBackend(None, answer_of("chatml")), make_tokenizer())


def test_budget_without_a_marker_token_is_refused() -> None:
    with pytest.raises(TokenizerError, match="one token"):
        player_of("chatml", thinking={"budget": 5})


@pytest.mark.parametrize(
    ("answer", "say"),
    [
        ("PRIVATE: a\nSAY: b", "b"),
        ("**PRIVATE:** a\n**SAY:** b\nc", "b\nc"),
        ("<think>SAY: x</think>\nPRIVATE: a\n\nSAY:\nb", "b"),
        ("PRIVATE: a\nSAY: b\nCHOICE: Ben", "b"),
        ("PRIVATE: I could SAY: nothing\nSAY: b", "b"),
    ],
)
def test_words_under_say_are_what_is_said(answer: str, say: str) -> None:
    part = spoken(take_apart(answer), headed=True)
    assert part.text == say
    assert answer[part.start : part.end] == say


def test_words_without_heading_are_not_said_where_notes_are_asked_for() -> None:
    with pytest.raises(Unreadable, match="SAY"):
        spoken(take_apart("I think Ben is bad."), headed=True)
    assert spoken(take_apart("Ben is bad."), headed=False).text == "Ben is bad."


def test_choice_is_read_through_markdown_and_case_but_not_guessed() -> None:
    options = {"Ben": 1, "Ada": 0, "nobody": -1}
    for answer in ("CHOICE: Ben", "choice\nCHOICE: **ben**.", "CHOICE: Ben, because he lies"):
        assert chosen(take_apart(answer), options)[1] == 1
    with pytest.raises(Unreadable, match="not one of"):
        chosen(take_apart("CHOICE: Zoe"), options)
    with pytest.raises(Unreadable, match="no line"):
        chosen(take_apart("Ben!"), options)


def test_encoder_of_template_text_knows_its_markers() -> None:
    encoder = Encoder(chat_tokenizer("chatml"))
    assert set(encoder.template("<|im_end|>")) <= encoder.control


def test_sites_read_words_and_notes_apart() -> None:
    player = player_of("llama3", choice="free")
    log = game_of(player)
    assert player.encoder is not None
    n_found = 0
    for item in game_items("g", log, player.backend.model, ("speech_mean", "reasoning_mean", "prompt_last")):
        decision = log[item.seq]
        for site, (_, tokens) in item.sites.items():
            text = player.encoder.decode([item.ids[i] for i in tokens])
            if site == "speech_mean":
                assert text.strip() == decision.action.text
                n_found += 1
            elif site == "reasoning_mean":
                assert text.strip().startswith("I do not trust")
    assert n_found


def test_run_of_a_chat_model_is_sound_from_configuration_to_check(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer("qwen-think")
    model = tiny_model(vocab_size=len(tokenizer), max_position_embeddings=8192)
    model.save_pretrained(str(tmp_path / "model"))
    tokenizer.save_pretrained(str(tmp_path / "model"))
    plain = {
        "run": {"games": 1, "seed": 4},
        "game": {"preset": "probe-6", "speech_rounds": 1},
        "agents": {
            "chat": {
                "kind": "llm",
                "backend": "tiny",
                "prompt": "chat",
                "retries": 1,
                "sampling": {"max_tokens": 12},
                "settings": {"factors": {"monitored": True}, "thinking": {"budget": 4}},
            },
            "cautious": {"kind": "scripted", "policy": "cautious"},
        },
        "backends": {"tiny": {"kind": "transformers", "model": str(tmp_path / "model")}},
        "roster": {"mix": {"chat": 2, "cautious": 4}},
        "beliefs": {"enabled": True},
    }
    config = parse_config(plain)
    schedule = Schedule(config)
    wanted = new_manifest("t", config.plain(), config.hash(), len(schedule), schedule.cells)
    wanted.prompts = prompt_hashes(schedule.configs)
    wanted.models = {"tiny": model_name(tmp_path / "model")}
    assert wanted.prompts == {"chat": prompts_hash()}
    backend = load_hooked_backend(tmp_path / "model", device="cpu")
    with RunFolder.claim(tmp_path / "run", wanted) as folder:
        journal = folder.journal_folder / "s0001-r000.jsonl"
        runner = Runner(journal, schedule.cells, schedule.configs, {"tiny": backend})

        async def play_all() -> None:
            await asyncio.gather(*(runner.play(planned) for planned in schedule))
            await runner.close()
            await backend.close()

        asyncio.run(play_all())
        folder.finish()
    assert check_run(tmp_path / "run") == []
    run = load_run(tmp_path / "run")
    assert run.games.collect()["status"].to_list() == ["finished"]
    made = run.decisions.filter(run.decisions.collect()["model"].is_not_null()).collect()
    chosen = made.filter(made["kind"] != "speech")
    assert len(chosen) > 0
    assert chosen["fallback"].is_null().all()  # a random model can choose where the choice is constrained
    beliefs = run.beliefs.collect()
    assert set(beliefs["source"]) == {"stated"}
    assert beliefs["p_werewolf"].is_between(0, 1).all()


@pytest.mark.parametrize("lexicon", ["mafia", "nonsense", "symbols"])
def test_other_lexicons_are_played_and_leak_no_word_of_the_classic_one(lexicon: str) -> None:
    player = player_of()
    log = game_of(player, lexicon=lexicon)
    assert all(d.fallback is None for d in decisions(log))
    assert player.encoder is not None
    text = player.encoder.decode(player.backend.prompts[0].ids).casefold()
    assert not any(word in text for word in ("werewolf", "seer", "village"))


def test_limits_that_a_configuration_leaves_open_are_the_players_own_in_every_cell_of_a_run() -> None:
    from harness.config.files import parse_config
    from harness.play.factory import make_agent
    from harness.schedule.tournament import Schedule

    config = parse_config(
        {
            "agents": {"chat": {"kind": "llm", "backend": "server", "prompt": "chat"}},
            "backends": {
                "server": {
                    "kind": "openai",
                    "url": "http://127.0.0.1:9/v1",
                    "model": "m",
                    "settings": {"api": "chat"},
                }
            },
            "roster": {"mix": {"chat": 7}},
            "experiment": {"factors": {"agents.chat.sampling.temperature": [0.5, 1.0]}},
        }
    )
    for cell, temperature in zip(Schedule(config).configs, (0.5, 1.0), strict=True):
        player = make_agent("chat", cell, {"server": FakeBackend(None, answer_of("chatml"))})
        assert player.settings == {"temperature": temperature, "top_p": 1.0, "max_tokens": 512}  # type: ignore[attr-defined]
