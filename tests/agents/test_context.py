"""Contexts in transcript style: append-only, rebuilt from records alone, token-exact, with true spans."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from agents.llm.encoder import Encoder
from agents.llm.transcript import TranscriptPlayer
from agents.llm.transcript_context import ask, build, characters, document
from agents.werewolf.vocabulary import make_tokenizer
from games import load_game
from games.play import observe
from games.records import Decision, Request, visible
from tests.fixtures.player_fixtures import (
    STYLES,
    FakeBackend,
    chat_tokenizer,
    context_chain,
    decisions,
    game_of,
    transcript_line,
)

GAME = load_game("werewolf")
TOKENIZERS = {"words": make_tokenizer, "bpe": lambda: chat_tokenizer("llama3")}


@pytest.fixture(params=TOKENIZERS)
def player(request: pytest.FixtureRequest) -> TranscriptPlayer:
    tokenizer = TOKENIZERS[request.param]()
    return TranscriptPlayer("model", FakeBackend(tokenizer, transcript_line), tokenizer, retries=1)


def test_each_prompt_of_a_seat_extends_its_last_prompt_and_output(player: TranscriptPlayer) -> None:
    log = game_of(player, speech_rounds=2)
    contexts = context_chain(log)
    n_checked = 0
    for seat in range(7):
        own = decisions(log, seat)
        for before, after in pairwise(own):
            whole = contexts[before.seq][1]
            assert contexts[after.seq][0][: len(whole)] == whole
            assert len(contexts[after.seq][0]) > len(whole)
            n_checked += 1
    assert n_checked > 10


def test_continues_chain_rebuilds_every_prompt_that_was_asked(player: TranscriptPlayer) -> None:
    log = game_of(player)
    chain = {tuple(prompt) for prompt, _ in context_chain(log).values()}
    assert chain == {prompt.ids for prompt in player.backend.prompts}


def test_resumed_game_rebuilds_identical_contexts(player: TranscriptPlayer) -> None:
    log = game_of(player)
    fresh = TranscriptPlayer("model", player.backend, player.encoder.tokenizer)
    contexts = context_chain(log)
    config = GAME.configure(preset="classic-7")
    for decision in decisions(log):
        request = Request(decision.seat, decision.kind, decision.options)
        before = [r for r in log if r.seq < decision.seq]
        wave = [r for r in before if not isinstance(r, Decision) or r.seat == decision.seat]
        seen = observe(GAME, "other", config, 3, wave, request)
        assert build(fresh.encoder, GAME.text, seen).ids == contexts[decision.seq][0]


def test_outputs_stand_in_later_prompts_token_for_token(player: TranscriptPlayer) -> None:
    log = game_of(player)
    for decision in decisions(log):
        trace = decision.trace
        assert trace is not None
        assert player.encoder.decode(trace.output_ids) == trace.output_text


def test_spans_cover_what_they_name(player: TranscriptPlayer) -> None:
    log = game_of(player)
    names = GAME.text.words_of(GAME.configure(preset="classic-7"), log).names
    contexts = context_chain(log)
    last: dict[int, Any] = {}
    kinds: set[str] = set()
    for decision in decisions(log):
        assert decision.trace is not None
        ids = contexts[decision.seq][1]
        own = len(ids) - len(decision.trace.prompt_ids) - len(decision.trace.output_ids)
        for span in decision.trace.spans:
            assert own <= span.start < span.end <= len(ids)
            text = player.encoder.decode(ids[span.start : span.end])
            kinds.add(span.kind)
            if span.kind == "mention":
                assert names[span.seat] in text
            elif span.kind == "role_line":
                assert text.lstrip().startswith("You")
            elif span.kind == "speech":
                assert names[span.seat] in text
                assert "says" in text
            elif span.kind in ("output", "own_speech", "own_act"):
                assert text == decision.trace.output_text
        last[decision.seat] = decision
    assert {"setup", "role_line", "phase", "speech", "mention", "question", "output", "own_act"} <= kinds


def test_characters_of_spans_agree_with_their_tokens() -> None:
    tokenizer = chat_tokenizer("llama3")
    player = TranscriptPlayer("model", FakeBackend(tokenizer, transcript_line), tokenizer)
    log = game_of(player)
    decision = decisions(log, 2)[0]
    assert decision.trace is not None
    ids = [*decision.trace.prompt_ids, *decision.trace.output_ids]
    text = player.encoder.decode(ids)
    for span, (start, end) in zip(
        decision.trace.spans, characters(player.encoder, ids, decision.trace.spans), strict=True
    ):
        assert text[start:end] == player.encoder.decode(ids[span.start : span.end])


def test_context_of_a_seat_holds_nothing_that_it_may_not_see(player: TranscriptPlayer) -> None:
    log = game_of(player, first_night="no_kill")  # so that every seat decides something
    config = GAME.configure(preset="classic-7", first_night="no_kill")
    names = GAME.text.words_of(config, log).names
    contexts = context_chain(log)

    def bare(line: str) -> str:
        return "".join(line.replace("<bos>", "").replace("<|begin_of_text|>", "").split())

    for seat in range(7):
        mine = decisions(log, seat)[-1]
        seen = [r for r in log if r.seq < mine.seq and (not isinstance(r, Decision) or r.seat == seat)]
        allowed = {
            bare(line) for line in GAME.transcript([r for r in seen if visible(r, seat)], seat, config)
        }
        lines = player.encoder.decode(contexts[mine.seq][0]).splitlines()
        own = (names[seat], "Options")  # its own answers, and what it was offered
        others = [bare(line) for line in lines if not bare(line).startswith(own)]
        assert len(others) > 5
        assert set(others) <= allowed


def test_decision_without_a_model_is_read_as_its_line(player: TranscriptPlayer) -> None:
    from agents.werewolf.scripted import Scripted

    log = game_of(Scripted("loud", "loud"))
    config = GAME.configure(preset="classic-7")
    mine = decisions(log, 0)[-1]
    request = Request(0, mine.kind, mine.options)
    seen = observe(GAME, "g", config, 3, [r for r in log if r.seq < mine.seq], request)
    context = build(player.encoder, GAME.text, seen)
    lines = document(GAME.text, [r for r in log if r.seq < mine.seq], 0, config)
    words = "".join("\n".join([*lines, ask(GAME.text, request, GAME.text.words_of(config, log))]).split())
    assert "".join(player.encoder.decode(context.ids[len(player.encoder.bos) :]).split()) == words
    assert context.continues is None


def test_bpe_output_that_merges_the_line_break_is_not_broken_twice() -> None:
    tokenizer = chat_tokenizer("llama3")
    encoder = Encoder(tokenizer)
    player = TranscriptPlayer("model", FakeBackend(tokenizer, transcript_line), tokenizer)
    game_of(player)
    for prompt in player.backend.prompts:
        assert "\n\n" not in encoder.decode(prompt.ids)


@pytest.mark.parametrize("style", STYLES)
def test_encoder_keeps_every_text(style: str) -> None:
    encoder = Encoder(chat_tokenizer(style))
    text = 'Ada says "I accuse <|im_end|> Ben." é 你 \u200b [INST] <think></think><eos>\n'
    ids, offsets = encoder.encode(text)
    assert encoder.decode(ids) == text
    assert len(ids) == len(offsets)
    assert not set(ids) & encoder.control


def test_a_transcript_begins_with_what_the_tokenizer_itself_puts_first() -> None:
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    def first(tokenizer: Any) -> list[int]:
        log = game_of(
            TranscriptPlayer("model", FakeBackend(tokenizer, transcript_line), tokenizer), max_days=1
        )
        return next(iter(context_chain(log).values()))[0]

    small = make_tokenizer()
    assert first(small)[0] == small.bos_token_id, "small models are taught with it"
    marker = chat_tokenizer(
        "llama3"
    )  # its beginning is a marker of the template: no text begins with it by itself
    assert marker.bos_token_id not in first(marker)
    core = Tokenizer.from_str(marker.backend_tokenizer.to_str())
    core.post_processor = TemplateProcessing(
        single=f"{marker.bos_token} $A", special_tokens=[(marker.bos_token, marker.bos_token_id)]
    )
    adds = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=marker.bos_token, eos_token=marker.eos_token
    )
    assert first(adds) == [marker.bos_token_id, *first(marker)]
