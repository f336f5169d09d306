"""The transcript player: bounded repair, constrained choice, fallbacks by policy that are recorded and counted."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from agents.backends.base import BackendError, Prompt
from agents.backends.retry import wait_s
from agents.llm.transcript import TranscriptPlayer, newline_ids
from agents.werewolf.vocabulary import make_tokenizer
from games import load_game
from games.play import observe
from games.records import NOBODY, Decision, Reply, Request
from tests.fixtures.player_fixtures import (
    FakeBackend,
    chat_tokenizer,
    context_chain,
    decisions,
    game_of,
    play_out,
    transcript_line,
)

GAME = load_game("werewolf")
CONFIG = GAME.configure(preset="classic-7")


def player_of(say: Any = transcript_line, **settings: Any) -> TranscriptPlayer:
    tokenizer = make_tokenizer()
    return TranscriptPlayer("model", FakeBackend(tokenizer, say), tokenizer, **settings)


def nonsense(text: str, prompt: Prompt) -> str:
    return " I I I\n"


def test_unreadable_reply_is_asked_again_with_another_seed_then_recorded() -> None:
    log = game_of(player_of(nonsense, retries=2))
    made = decisions(log)
    assert {d.fallback for d in made} == {"malformed"}
    for decision in made:
        assert decision.trace is not None
        assert decision.trace.attempts == 3
        assert len(decision.trace.rejected) == 2  # the third is the output
        assert "I I I" in decision.trace.output_text


def test_seeds_of_attempts_differ() -> None:
    player = player_of(nonsense, retries=3)
    game_of(player)
    first = player.backend.prompts[:4]
    assert len({p.ids for p in first if p.ids == first[0].ids}) == 1
    seeds = [p.sampling.seed for p in player.backend.prompts]
    assert len(set(seeds)) == len(seeds)


def test_constrained_choice_repairs_what_retries_do_not() -> None:
    log = game_of(player_of(nonsense, retries=1, choice="repair"))
    for decision in decisions(log):
        assert decision.trace is not None
        if decision.kind == "speech":  # nothing to choose from
            assert decision.fallback == "malformed"
        else:
            assert decision.fallback is None
            assert decision.action.option in decision.options
            assert len(decision.trace.rejected) == 2
            assert decision.trace.sampling is not None
            assert decision.trace.sampling["choices"] == len(decision.options)


def test_constrained_from_the_start_asks_once() -> None:
    log = game_of(player_of(nonsense, choice="constrained"))
    chosen = [d for d in decisions(log) if d.kind != "speech"]
    assert chosen
    assert all(d.fallback is None and d.trace and d.trace.attempts == 1 for d in chosen)


def test_policy_abstain_abstains_where_it_may() -> None:
    log = game_of(player_of(nonsense, fallback="abstain"))
    ballots = [d for d in decisions(log) if d.kind == "ballot"]
    assert ballots
    assert all(d.action.option == NOBODY for d in ballots)


def test_policy_random_draws_from_the_options_by_seed() -> None:
    logs = [game_of(player_of(nonsense, fallback="random")) for _ in range(2)]
    assert logs[0] == logs[1]
    ballots = [d for d in decisions(logs[0]) if d.kind == "ballot"]
    assert {d.action.option for d in ballots} != {NOBODY}


def test_policy_forfeit_asks_the_model_no_more() -> None:
    player = player_of(nonsense, fallback="forfeit", retries=0)
    log = game_of(player)
    for seat in range(7):
        kinds = [d.fallback for d in decisions(log, seat)]
        assert kinds[:1] in ([], ["malformed"])
        assert set(kinds[1:]) <= {"forfeited"}
    assert len(player.backend.prompts) == sum(d.fallback == "malformed" for d in decisions(log))


def test_contexts_stay_append_only_through_fallbacks() -> None:
    def sometimes(text: str, prompt: Prompt) -> str:
        return nonsense(text, prompt) if len(prompt.ids) % 3 == 0 else transcript_line(text, prompt)

    log = game_of(player_of(sometimes, retries=0))
    assert {d.fallback for d in decisions(log)} == {None, "malformed"}
    contexts = context_chain(log)
    for seat in range(7):
        own = decisions(log, seat)
        for before, after in pairwise(own):
            whole = contexts[before.seq][1]
            assert contexts[after.seq][0][: len(whole)] == whole


def test_fallback_is_read_by_its_seat_as_what_was_recorded() -> None:
    player = player_of(nonsense, retries=0)
    log = game_of(player)
    ballot = next(d for d in decisions(log) if d.kind == "ballot")
    later = [d for d in decisions(log, ballot.seat) if d.seq > ballot.seq]
    text = player.encoder.decode(context_chain(log)[later[0].seq][0])
    assert "votes nobody." in text


def test_failing_backend_is_tried_again_then_recorded() -> None:
    player = player_of(backend_retries=2, first_wait_s=0.001)
    player.backend.fail = [BackendError("busy") for _ in range(2)]
    log = game_of(player)
    assert all(d.fallback != "backend_error" for d in decisions(log))
    player = player_of(backend_retries=1, first_wait_s=0.001)
    player.backend.fail = [BackendError("busy") for _ in range(8)]  # four first calls fail for good
    log = game_of(player)
    failed = [d for d in decisions(log) if d.fallback == "backend_error"]
    assert len(failed) == 4
    for decision in failed:
        assert decision.trace is not None
        assert decision.trace.sampling is not None
        assert "busy" in decision.trace.sampling["error"]
        assert decision.trace.output_ids == ()
    assert len(context_chain(log)) == len(decisions(log))


def test_backend_that_says_trying_again_is_useless_is_not_tried_again() -> None:
    player = player_of(backend_retries=5)
    player.backend.fail = [BackendError("too long", retryable=False) for _ in range(4)]
    began = time.monotonic()
    log = game_of(player)
    assert sum(d.fallback == "backend_error" for d in decisions(log)) == 4
    assert time.monotonic() - began < 5


def test_waits_double_and_differ_between_seats() -> None:
    waits = [wait_s(attempt, 1) for attempt in range(12)]
    assert waits[0] <= 0.5
    assert all(0.25 * 2**a <= w <= 0.5 * 2**a for a, w in enumerate(waits[:6]))
    assert max(waits) <= 30
    assert waits == [wait_s(attempt, 1) for attempt in range(12)]
    assert waits != [wait_s(attempt, 2) for attempt in range(12)]


def test_end_of_sequence_ends_a_line_as_a_line_break_does() -> None:
    def says(text: str, prompt: Prompt) -> str:
        return transcript_line(text, prompt).rstrip("\n") + "<eos>"

    player = player_of(says)
    player.stop_ids = (*player.stop_ids, 2)  # what a backend does by itself
    log = game_of(player)
    assert any(d.fallback is None and d.kind == "speech" for d in decisions(log))


def test_line_break_ids_are_found_in_a_byte_level_tokenizer() -> None:
    tokenizer = chat_tokenizer("chatml")
    ids = newline_ids(tokenizer)
    assert ids
    assert all("\n" in tokenizer.decode([i]) for i in ids)


def test_game_is_the_same_when_it_is_resumed_in_the_middle() -> None:
    whole = game_of(player_of())
    cut = next(r.seq for r in whole if r.kind == "speech" and isinstance(r, Decision))
    replayed = [r for r in whole if r.seq <= cut + 4]
    again = asyncio.run(play_out([player_of()] * 7, CONFIG, 3, replayed=replayed))
    assert again == whole


def test_server_that_tells_no_token_ids_is_logged_as_such() -> None:
    class Words(FakeBackend):
        def _one(self, prompt: Prompt) -> Any:
            from msgspec.structs import replace

            made = super()._one(prompt)
            return replace(made, output_ids=(), logprobs=(), text=made.text)

    tokenizer = make_tokenizer()
    player = TranscriptPlayer("model", Words(tokenizer, transcript_line), tokenizer)
    log = game_of(player)
    good = [d for d in decisions(log) if d.fallback is None]
    assert good
    for decision in good:
        assert decision.trace is not None
        assert decision.trace.output_ids == ()
        assert decision.trace.output_text
        assert decision.trace.sampling is not None
        assert "token_ids" in decision.trace.sampling
    asked = {p.ids for p in player.backend.prompts}
    assert {tuple(prompt) for prompt, _ in context_chain(log).values()} == asked


def test_unknown_policies_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="abstain, random, forfeit"):
        player_of(fallback="cheat")
    with pytest.raises(ValueError, match="free, repair, constrained"):
        player_of(choice="forced")


def test_reply_holds_the_seed_and_settings_it_was_sampled_with() -> None:
    player = player_of(temperature=0.7, top_p=0.9, max_tokens=20)
    log = game_of(player)
    decision = decisions(log)[0]
    assert decision.trace is not None
    sampling = decision.trace.sampling
    assert sampling is not None
    assert {"temperature": 0.7, "top_p": 0.9, "max_tokens": 20}.items() <= sampling.items()
    assert sampling["seed"] in [p.sampling.seed for p in player.backend.prompts]
    assert isinstance(asyncio.run(player.act(observe_first(log))), Reply)


def observe_first(log: list[Any]) -> Any:
    first = decisions(log)[0]
    request = Request(first.seat, first.kind, first.options)
    return observe(GAME, "g2", CONFIG, 3, [r for r in log if r.seq < first.seq], request)
