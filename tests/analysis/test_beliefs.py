"""Beliefs asked on forks: they are the model's own distribution, and the game is the same with and without them."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from agents.backends.base import BackendError, Capabilities, Generation, Prompt
from agents.llm.beliefs import (
    FAILED,
    STATED,
    WORDS,
    chains,
    elicit,
    living_others,
    questions,
    read_percentages,
    role_words,
)
from agents.llm.chat import ChatPlayer
from agents.llm.transcript import TranscriptPlayer
from agents.llm.transcript_context import mentions
from agents.werewolf.vocabulary import make_tokenizer
from games import load_game
from games.play import observe
from games.records import Decision, Request
from harness.config.files import parse_config
from harness.config.sections import BeliefsSection
from harness.play.elicitation import elicit_game
from harness.play.runner import Runner
from harness.schedule.tournament import Schedule
from tests.agents.test_chat import answer_of
from tests.fixtures.player_fixtures import (
    FakeBackend,
    chat_tokenizer,
    decisions,
    game_of,
    play_out,
    transcript_line,
)

GAME = load_game("werewolf")
CONFIG = GAME.configure(preset="classic-7")
ROLES = {"werewolf", "seer", "doctor", "villager"}


class Reading(FakeBackend):
    """Tells the log-probabilities that are asked for: those of `p`, by word."""

    p: ClassVar = {"werewolf": 0.5, "seer": 0.25, "doctor": 0.125, "villager": 0.125}

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named, capabilities=Capabilities(reads=True))

    def _one(self, prompt: Prompt) -> Generation:
        made = super()._one(prompt)
        read = tuple(math.log(self.p[self.text((token,)).strip()]) for token in prompt.sampling.read)
        return msgspec.structs.replace(made, read=read)


def transcript_player(kind: Any = Reading) -> TranscriptPlayer:
    tokenizer = make_tokenizer()
    return TranscriptPlayer("m", kind(tokenizer, transcript_line), tokenizer)


def at(log: list[Any], decision: Decision) -> Any:
    request = Request(decision.seat, decision.kind, decision.options, day=decision.day, phase=decision.phase)
    before = [
        r for r in log if r.seq < decision.seq and (not isinstance(r, Decision) or r.seat == decision.seat)
    ]
    return observe(GAME, "g", CONFIG, 3, before, request)


def beliefs_of(player: Any, **settings: Any) -> tuple[list[Any], Any]:
    log = game_of(player)
    seen = at(log, decisions(log)[-1])
    return asyncio.run(elicit(player, seen, 99, **settings)), seen


def test_belief_is_the_models_distribution_over_role_words() -> None:
    found, seen = beliefs_of(transcript_player())
    assert [b.subject for b in found] == living_others(seen)
    for belief in found:
        assert (belief.seq, belief.viewer, belief.source, belief.about) == (
            99,
            seen.request.seat,
            STATED,
            None,
        )
        assert belief.probabilities == pytest.approx(Reading.p)


def test_question_is_the_line_that_the_small_model_was_trained_on() -> None:
    player = transcript_player()
    _, seen = beliefs_of(player, second_order=True)
    words = GAME.text.words_of(CONFIG, seen.records)
    asked = [
        "".join(player.encoder.decode(p.ids).rpartition("\n")[2].split()) for p in player.backend.prompts
    ]
    viewer = words.name(seen.request.seat)
    first, second = living_others(seen)[:2]
    assert f"{viewer}believes{words.name(first)}" in asked
    assert f"{viewer}believes{words.name(first)}believes{words.name(second)}" in asked
    text = player.encoder.decode(player.backend.prompts[-1].ids)
    assert text.count("believes") <= 2  # a fork holds one question


def test_dead_players_are_not_asked_about() -> None:
    _, seen = beliefs_of(transcript_player())
    gone = {r.target for r in seen.records if r.kind in ("death", "exile")}
    assert gone
    assert not gone & {seat for chain in chains(seen, True) for seat in chain}


def test_second_order_covers_every_pair_and_the_viewer_itself() -> None:
    found, seen = beliefs_of(transcript_player(), second_order=True)
    others, viewer = living_others(seen), seen.request.seat
    pairs = {(b.subject, b.about) for b in found if b.about is not None}
    assert pairs == {(i, k) for i in others for k in (*others, viewer) if i != k}


def test_backend_that_reads_one_token_a_request_gives_the_same() -> None:
    class Forced(FakeBackend):
        def logprobs(self, prompt: Prompt, ids: Any) -> tuple[float, ...]:
            return tuple(math.log(Reading.p.get(self.text((token,)).strip(), 1e-3)) for token in ids)

    found, _ = beliefs_of(transcript_player(Forced))
    assert all(b.probabilities == pytest.approx(Reading.p) for b in found)


def test_backend_that_fails_gives_rows_that_say_so() -> None:
    player = transcript_player()
    log = game_of(player)
    player.backend.fail = [BackendError("gone", retryable=False) for _ in range(100)]
    found = asyncio.run(elicit(player, at(log, decisions(log)[-1]), 5))
    assert found
    assert all(b.source == FAILED and b.probabilities == {} and "gone" in b.note for b in found)


@pytest.mark.parametrize("style", ["chatml", "gemma"])
def test_chat_belief_is_averaged_over_orders_of_the_options(style: str) -> None:
    tokenizer = chat_tokenizer(style)

    class Biased(FakeBackend):
        """Prefers the option that is shown first."""

        def logprobs(self, prompt: Prompt, ids: Any) -> tuple[float, ...]:
            shown = self.text(prompt.ids).rpartition("Options: ")[2].partition(". Answer")[0].split(", ")
            first = self.text(ids).startswith(shown[0])
            return tuple((-0.1 if first else -3.0) / len(ids) for _ in ids)

    player = ChatPlayer("m", Biased(tokenizer, answer_of(style)), tokenizer)
    log = game_of(player)
    seen = at(log, decisions(log)[-1])
    one = asyncio.run(elicit(player, seen, 1, orders=1))[0].probabilities
    many = asyncio.run(elicit(player, seen, 1, orders=24))[0].probabilities
    assert max(one.values()) > 0.7
    assert max(many.values()) < 0.6
    assert set(many) == ROLES
    assert sum(many.values()) == pytest.approx(1)


@pytest.mark.parametrize("style", ["transcript", "chatml", "gemma"])
def test_question_names_the_subject_where_its_spans_say(style: str) -> None:
    """That token is the site belief_mention; all before the question is what the decision was asked on, too."""
    player: Any = transcript_player()
    if style != "transcript":
        tokenizer = chat_tokenizer(style)
        player = ChatPlayer("m", FakeBackend(tokenizer, answer_of(style)), tokenizer)
    log = game_of(player)
    seen = at(log, decisions(log)[-1])
    words = GAME.text.words_of(CONFIG, seen.records)
    viewer = seen.request.seat
    for subject in living_others(seen):
        ((question,),) = questions(player, seen, [(viewer, subject)], role_words(seen), orders=1)
        ids = question.prompt.ids
        start = max(s.start for s in question.spans if s.kind == "question")
        assert tuple(player.context(seen).ids[:start]) == ids[:start]
        name = player.encoder.decode([ids[mentions(question.spans)[subject]]]).strip()
        assert words.name(subject).endswith(name) and mentions(question.spans)[subject] > start


def test_server_without_logprobs_is_asked_in_words() -> None:
    class Server(FakeBackend):
        def _one(self, prompt: Prompt) -> Generation:
            assert prompt.messages
            question = prompt.messages[-1].content
            if "believes" in question:
                return Generation((), "werewolf: 40%\nseer: 10%\ndoctor: 10%\nvillager: 40%")
            return Generation((), "PRIVATE: x\nSAY: Hello.\nCHOICE: nobody")

    player = ChatPlayer("m", Server(None, answer_of("chatml")), None, retries=0)
    found, _ = beliefs_of(player)
    assert found
    assert all(b.source == WORDS and b.probabilities["werewolf"] == pytest.approx(0.4) for b in found)


def test_percentages_are_read_or_refused_whole() -> None:
    roles = {"werewolf": "mafioso", "villager": "townsman"}
    assert read_percentages("- **Mafioso**: 30\n- townsman: 70%", roles) == {"werewolf": 0.3, "villager": 0.7}
    assert read_percentages("mafioso: 30%", roles) == {}
    assert read_percentages("mafioso: 0\ntownsman: 0", roles) == {}


@pytest.mark.parametrize("style", ["transcript", "chat"])
def test_game_with_elicitation_is_byte_identical_to_the_game_without(style: str, tmp_path: Path) -> None:
    def play(name: str, enabled: bool) -> tuple[list[Any], list[Any]]:
        config = parse_config(
            {
                "run": {"games": 2, "seed": 5},
                "game": {"preset": "classic-7"},
                "agents": {"m": {"kind": "llm", "backend": "b"}},
                "backends": {"b": {"kind": "transformers"}},
                "roster": {"mix": {"m": 1}},
                "beliefs": {"enabled": enabled, "before": ["ballot", "speech"], "second_order": True},
            }
        )
        schedule = Schedule(config)
        tokenizer = chat_tokenizer("chatml")
        player = (
            transcript_player()
            if style == "transcript"
            else ChatPlayer("m", FakeBackend(tokenizer, answer_of("chatml")), tokenizer)
        )
        backends = {"b": player.backend}
        runner = Runner(tmp_path / f"{name}.jsonl", schedule.cells, schedule.configs, backends)
        runner._agents[0, "m"] = player
        from harness.run.journal import Journal

        async def both() -> None:
            await asyncio.gather(*(runner.play(planned) for planned in schedule))
            await runner.close()

        asyncio.run(both())
        journal = Journal([tmp_path / f"{name}.jsonl"])
        logs = [journal.log(i) for i in sorted(journal.game_ids)]
        return [msgspec.json.encode(records) for records, _ in logs], [beliefs for _, beliefs in logs]

    without, none = play("without", False)
    with_them, beliefs = play("with", True)
    assert with_them == without
    assert none == [[], []]
    assert all(len(found) > 20 for found in beliefs)
    assert all(b.probabilities for found in beliefs for b in found)


def test_beliefs_are_keyed_by_the_decisions_they_precede() -> None:
    player = transcript_player()
    log = asyncio.run(play_out([player] * 7, CONFIG, 3))
    section = BeliefsSection(enabled=True, before=("ballot",))
    found = asyncio.run(elicit_game(section, GAME, "g", CONFIG, 3, log, [player] * 7))
    ballots = {d.seq: d.seat for d in decisions(log) if d.kind == "ballot"}
    assert {(b.seq, b.viewer) for b in found} == set(ballots.items())


def test_belief_contexts_are_the_decisions_own_contexts_up_to_the_question() -> None:
    player = transcript_player()
    log = asyncio.run(play_out([player] * 7, CONFIG, 3))
    played = {p.ids for p in player.backend.prompts}
    player.backend.prompts.clear()
    section = BeliefsSection(enabled=True, before=("ballot",))
    asyncio.run(elicit_game(section, GAME, "g", CONFIG, 3, log, [player] * 7))
    for prompt in player.backend.prompts:
        lines = prompt.ids[: max(i for i, t in enumerate(prompt.ids) if t == player.encoder.newline[0]) + 1]
        assert any(ids[: len(lines)] == lines for ids in played)


def test_hooked_model_reads_what_forced_choices_give() -> None:
    from agents.backends.base import Sampling
    from agents.backends.hooked.backend import HookedBackend
    from agents.hooks.model import hook_model
    from tests.fixtures.tiny_models import tiny_model

    async def both() -> tuple[Any, Any]:
        backend = HookedBackend(hook_model(tiny_model(), "tiny@0"))
        try:
            read = await backend.generate(
                [Prompt(ids=(1, 5, 9), sampling=Sampling(temperature=0.0, max_tokens=1, read=(4, 7, 11)))]
            )
            forced = await backend.generate(
                [Prompt(ids=(1, 5, 9), sampling=Sampling(choices=((i,),))) for i in (4, 7, 11)]
            )
            return read[0].read, tuple(g.logprobs[0] for g in forced)
        finally:
            await backend.close()

    read, forced = asyncio.run(both())
    assert read == pytest.approx(forced, abs=1e-4)
