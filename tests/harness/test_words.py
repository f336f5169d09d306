"""No text enters a model's context in words that its tokenizer does not know: refused beforehand, or counted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.llm.encoder import Encoder
from agents.llm.transcript import TranscriptPlayer
from agents.werewolf.vocabulary import make_tokenizer
from games import load_game
from games.records import Action, Decision, Reply
from harness.branch.branch import Say, branch
from harness.config.files import parse_config
from harness.config.sections import Config
from harness.errors import ConfigurationError
from harness.play.factory import check_agents
from harness.replay.replay import open_replay
from tests.fixtures.local_runs import play_run
from tests.fixtures.player_fixtures import FakeBackend, play_out, transcript_line


def small(style: str = "transcript", game: dict[str, Any] | None = None, **settings: Any) -> Config:
    return parse_config(
        {
            "run": {"games": 1, "seed": 5},
            "game": game or {},
            "agents": {
                "small": {"kind": "llm", "backend": "small", "prompt": style, "settings": settings},
                "loud": {"kind": "scripted", "policy": "loud"},
            },
            "backends": {"small": {"kind": "transformers", "model": "small"}},
            "roster": {"mix": {"small": 2, "loud": 5}},
        }
    )


@pytest.mark.parametrize(
    ("config", "where"),
    [
        (small(prefix={"text": "I mistrust Hal", "decision": 0}), "agents.small.settings.prefix.text"),
        (small("chat", thinking={"given": "I mistrust Hal"}), "agents.small.settings.thinking.given"),
        (small("chat", factors={"persona": "I mistrust Hal"}), "agents.small.settings.factors.persona"),
        (small("chat", factors={"advice": "I mistrust Hal"}), "agents.small.settings.factors.advice"),
        (small("chat", factors={"monitored": "I mistrust Hal"}), "agents.small.settings.factors.monitored"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_text_of_a_configuration_in_words_that_its_model_does_not_know_is_refused(config, where):
    with pytest.raises(ConfigurationError) as refused:
        check_agents([config])
    assert str(refused.value).startswith(where)
    assert "'mistrust'" in str(refused.value) and "the tokenizer of small" in str(refused.value)
    assert "'Hal'" not in str(refused.value)


@pytest.mark.parametrize("style", ["transcript", "chat"])
def test_names_and_terms_that_the_model_does_not_know_are_refused_in_every_style(style):
    with pytest.raises(ConfigurationError, match=r"does not know \d+ of the \d+ words of the lexicon"):
        check_agents([small(style, {"lexicon": "nonsense"})])


def test_texts_that_are_known_pass():
    check_agents([small(prefix={"text": "I accuse Hal.", "decision": 0})], [("a speech", "I accuse Hal.")])


def test_branch_says_nothing_that_another_seat_cannot_read(tmp_path: Path):
    backend = FakeBackend(make_tokenizer(), transcript_line)
    run = play_run(small(), tmp_path / "run", {"small": backend})
    replay = open_replay(run, "0")
    speech = next(
        r
        for r in replay.records
        if isinstance(r, Decision) and r.kind == "speech" and r.agent == "loud" and r.action.text
    )
    with pytest.raises(ConfigurationError, match=r"'such', 'a', 'liar', 'trust', 'me'"):
        branch(run, "0", speech.seq, Say(text="Hal is such a liar, trust me"), 1, tmp_path / "b")
    assert not (tmp_path / "b").exists()


class Human:
    """Says what no lexicon has."""

    name = "human"

    async def act(self, observation: Any) -> Reply:
        action = load_game(observation.game).legal_fallback(observation.request, observation.seed)
        speaks = observation.request.kind == "speech"
        return Reply(Action(text="Trust me.") if speaks else action)


def test_words_said_in_the_game_that_a_model_does_not_know_are_counted_in_its_decisions():
    tokenizer = make_tokenizer()
    model = TranscriptPlayer("model", FakeBackend(tokenizer, transcript_line), tokenizer)
    config = load_game("werewolf").configure(preset="probe-6", first_night="no_kill")
    log = asyncio.run(play_out([Human(), *[model] * 5], config))
    traces = [r.trace for r in log if isinstance(r, Decision) and r.trace is not None]
    counts = [(trace.sampling or {}).get("unknown", 0) for trace in traces]
    unknown = tokenizer.unk_token_id
    assert sum(counts) > 0
    assert counts == [trace.prompt_ids.count(unknown) for trace in traces]


def test_unknown_words_are_named_whole_and_once():
    encoder = Encoder(make_tokenizer())
    assert encoder.unknown_words("Trust Hal, trust; Trust me — Hal.") == ["Trust", "trust", ";", "me", "—"]
    assert encoder.unknown_words("I accuse Hal.") == []
