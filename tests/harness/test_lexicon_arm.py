"""A lexicon as an arm: the same game is told in other words, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from agents.models.small import SMALL_MODEL
from agents.werewolf.vocabulary import make_tokenizer
from games import load_game
from games.avalon.lexicon import LEXICONS as AVALON
from games.records import Decision, Event, SpeechAct
from games.werewolf.lexicon import lexicon
from harness.config.files import parse_config
from harness.errors import ConfigurationError
from harness.experiment.design import Design, ExperimentError, parse_design
from harness.experiment.run import run_experiment
from harness.experiment.scenes import Scenes
from harness.experiment.words import in_words, renamed_records
from harness.run.folder import Run, load_run
from tests.harness.test_capture_playing import config_of, played


def two_tongued(folder: Path) -> Path:
    """The small model that knows each word of `nonsense` by the same numbers as that of `classic`."""
    from transformers import AutoModelForCausalLM

    old, new = make_tokenizer(), make_tokenizer(("classic", "nonsense"))
    classic, nonsense = lexicon("classic").words, lexicon("nonsense").words
    meant = dict(zip(nonsense, classic, strict=True))
    ids = old.get_vocab()
    rows = [
        ids.get(meant.get(word, word), old.unk_token_id)
        for word in sorted(new.get_vocab(), key=new.get_vocab().get)
    ]
    model = AutoModelForCausalLM.from_pretrained(SMALL_MODEL, dtype=torch.float32)
    weights = {
        "embed": model.get_input_embeddings().weight[rows],
        "head": model.get_output_embeddings().weight[rows],
    }
    model.resize_token_embeddings(len(rows))
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(weights["embed"])
        model.get_output_embeddings().weight.copy_(weights["head"])
    model.save_pretrained(str(folder))
    new.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = two_tongued(tmp_path_factory.mktemp("tongues") / "two")
    # of two words with the same numbers the first is the likeliest: what is said stays classic
    plain = config_of(games=2, sampling={"temperature": 0.0, "max_tokens": 24}).plain()
    plain["backends"]["small"]["model"] = str(model)
    return load_run(played(tmp_path_factory.mktemp("lexicon") / "run", parse_config(plain), model))


def design(name: str | None, **more: Any) -> Design:
    arm = {"name": "other-words", "kind": "lexicon", "lexicon": name}
    return parse_design(
        {
            "name": "words", "question": "Do words matter?", "moments": {"n": 4, "per_game": 2}, "arms": [arm],
            "outcomes": {"beliefs": True}, "test": {"smallest": 1.0}, **more,
        }
    )  # fmt: skip


def test_a_model_that_knows_both_words_alike_answers_alike(run: Run, tmp_path: Path) -> None:
    folder = run_experiment(design("nonsense"), [run.path], tmp_path / "e", force=True)
    table = pl.read_parquet(folder / "outcomes.parquet")
    before, after = (
        table.filter(pl.col("arm") == arm).sort("moment") for arm in ("unchanged", "other-words")
    )
    assert before.select("moment", "options", "seats").equals(after.select("moment", "options", "seats"))
    np.testing.assert_allclose(
        after["beliefs"].explode().to_numpy(), before["beliefs"].explode().to_numpy(), atol=1e-4
    )
    for a, b in zip(before["logprobs"], after["logprobs"], strict=True):
        np.testing.assert_allclose(np.exp(a - a.max()), np.exp(b - b.max()), atol=1e-4)


def test_all_that_the_player_reads_is_in_the_other_words_its_own_lines_too(run: Run) -> None:
    from harness.experiment.arms import expand
    from harness.experiment.moments import draw_moments

    wanted = design("nonsense")
    base, other = (
        next(a for a in expand(wanted, {}, 8, 128)[0] if a.id == name)
        for name in ("unchanged", "other-words")
    )
    terms = {*lexicon("classic").words}
    own = 0
    for moment in draw_moments(wanted, [run], False):
        scene = Scenes(run).scene(moment)
        asked, plain = scene.options(other), scene.options(base)
        assert asked is not None and plain is not None
        words = scene.encoder.tokenizer.convert_ids_to_tokens(list(asked.ids))
        assert not terms & set(words)
        assert len(asked.ids) == len(plain.ids) and asked.answers == plain.answers
        assert [(s.kind, s.start, s.end, s.seat) for s in asked.spans if s.kind == "mention"] == [
            (s.kind, s.start, s.end, s.seat) for s in plain.spans if s.kind == "mention"
        ]
        own += sum(isinstance(r, Decision) for r in scene.observation.records)
    assert own


@pytest.mark.parametrize("name", ["mafia", "neutral", "nonsense", "symbols", "random-3"])
def test_speeches_say_the_same_in_the_other_words_and_come_back(run: Run, name: str) -> None:
    game, config, _ = run.game(run.game_ids[0])
    other = config.model_copy(update={"lexicon": name})
    there = dict(zip(game.text.words_in(config), game.text.words_in(other), strict=True))
    back = {b: a for a, b in there.items()}
    records = run.records(run.game_ids[0])
    renamed = renamed_records(records, there)
    words = game.text.words_of(other, renamed)
    said = [r for r in renamed if isinstance(r, Event) and r.acts]
    assert len(said) > 5
    for record in said:
        assert game.text.read_acts(record.text or "", words) == record.acts
    again = renamed_records(renamed, back)
    for a, b in zip(records, again, strict=True):
        if isinstance(a, Event):
            assert a == b
        elif isinstance(b, Decision):
            assert a.action == b.action


def test_other_games_are_told_in_other_words_too() -> None:
    game = load_game("avalon")
    one, other = game.configure(), game.configure(lexicon=AVALON[1])
    there = dict(zip(game.text.words_in(one), game.text.words_in(other), strict=True))
    setup = game.start(one, 0)[1]
    acts = (SpeechAct("accuse", 2), SpeechAct("vouch", 1))
    said = in_words(game.text.say(acts, game.text.words_of(one, setup)), there)
    assert game.text.read_acts(said, game.text.words_of(other, setup)) == acts


def test_capitals_stay_and_other_words_are_left() -> None:
    assert (
        in_words("Night falls, seer. A night!", {"night": "closed", "seer": "reader"})
        == "Closed falls, reader. A closed!"
    )
    assert in_words("b B x", {"b": "one", "B": "two"}) == "one two x"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("classic", "changes nothing"),
        ("klingon", "no lexicon is called 'klingon'; there are: classic"),
        ("mafia", r"lacks \d+ of the \d+ words of the lexicon 'mafia' \(townsman"),
    ],
)
def test_a_lexicon_that_cannot_be_an_arm_is_refused_before_anything_is_asked(
    run: Run, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises((ExperimentError, ConfigurationError), match=message):
        run_experiment(design(name), [run.path], tmp_path / "e", force=True)
    assert not (tmp_path / "e" / "manifest.json").exists()


def test_a_lexicon_arm_needs_its_lexicon_and_a_reasoning_none() -> None:
    with pytest.raises(ConfigurationError, match="a lexicon arm needs lexicon"):
        design(None)
    with pytest.raises(ConfigurationError, match="stays in the words it was written in"):
        design("mafia", reasoning={})
