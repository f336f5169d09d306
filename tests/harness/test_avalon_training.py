"""The small model's training command with another game than Werewolf."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from agents.avalon.lessons import make_tokenizer, views  # noqa: E402
from agents.lessons import lessons_of  # noqa: E402
from games import register  # noqa: E402
from games.base import GameError  # noqa: E402
from harness.training.batches import CHOICE, NAMING, SPEECH, Row  # noqa: E402


def test_a_model_of_avalon_is_trained_by_the_same_command_and_resumed_under_the_same_game(
    tmp_path: Path,
) -> None:
    from harness.training.train import train

    settings = {"batch_tokens": 256, "hidden": 32, "layers": 1, "device": "cpu", "say": lambda _: None}
    train(tmp_path, game="avalon", tokens=3_000, **settings)  # type: ignore[arg-type]
    words = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert {"merlin", "picks", "believes", "failure"} <= set(words) and "werewolf" not in words
    state = json.loads((tmp_path / "training" / "state.json").read_text())
    assert state["tokens"] >= 3_000 and state["settings"]["game"] == "avalon"
    with pytest.raises(ValueError, match="same settings"):
        train(tmp_path, tokens=6_000, **settings)  # type: ignore[arg-type]


def test_a_model_of_werewolf_learns_avalon_beside_it_and_keeps_its_words_in_their_places(
    tmp_path: Path,
) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    from agents.models.folder import ModelFilesError
    from agents.models.small import make_config
    from agents.werewolf.vocabulary import make_tokenizer as werewolf_words
    from harness.training.checkpoint import save
    from harness.training.joint import learn_game

    base, both = tmp_path / "base", tmp_path / "both"
    words = werewolf_words()
    save(base, LlamaForCausalLM(make_config(len(words), 32, 1)), words)
    settings = {"batch_tokens": 256, "device": "cpu"}
    said: list[str] = []
    learn_game(both, base, "avalon", tokens=3_000, **settings)  # type: ignore[arg-type]
    known, before = AutoTokenizer.from_pretrained(both).get_vocab(), words.get_vocab()
    assert all(known[word] == i for word, i in before.items())
    assert set(known) == set(before) | set(make_tokenizer().get_vocab())
    weights = LlamaForCausalLM.from_pretrained(both)
    assert weights.config.vocab_size == len(known)
    assert json.loads((both / "joint.json").read_text())["games"] == {"avalon": 0.75, "werewolf": 0.25}
    learn_game(both, base, "avalon", tokens=6_000, say=said.append, **settings)  # type: ignore[arg-type]
    assert said[0].startswith("resuming at ")
    with pytest.raises(ModelFilesError, match=r"lacks words of werewolf under the lexicon 'nonsense'"):
        learn_game(tmp_path / "other", base, "avalon", lexicon="nonsense", **settings)  # type: ignore[arg-type]


def test_both_games_are_read_in_their_shares_and_the_new_one_begins_with_look_ups() -> None:
    from harness.training.joint import both

    stream = both({"werewolf": 0.25, "avalon": 0.75}, "avalon", 0, "classic", 200)
    first = [next(stream)[1] for _ in range(24)]
    is_avalon = [
        any("merlin" in line for line in found[0].lines[:12]) or "servant" in " ".join(found[0].lines)
        for found in first
    ]
    assert 11 <= sum(is_avalon) <= 23
    alone = [len(found) == 1 for found, avalon in zip(first, is_avalon, strict=True) if avalon]
    assert any(alone[:8])  # the moderator's view
    again = both({"werewolf": 0.25, "avalon": 0.75}, "avalon", 0, "classic", 200, 5)
    assert next(again) == (5, first[5])


def test_votes_cards_and_picks_are_choices_of_the_seat_and_count_as_such() -> None:
    tokenizer = make_tokenizer()
    words = tokenizer.get_vocab()
    back = {i: word for word, i in words.items()}
    chosen: dict[str, set[str]] = {}
    kinds = set()
    for i in range(6):
        for view in views(i, 0, 2.0, "classic", 0.0):
            row = Row(view, words, tokenizer)
            ids, _, kind, *_ = row.columns
            kinds.update(kind)
            for at, k in enumerate(kind):
                if k == CHOICE:
                    chosen.setdefault(back[ids[at]], set()).add(back[ids[at + 1]])
    assert chosen["votes"] == {"approve", "reject"}
    assert chosen["plays"] == {"success", "failure"}
    assert chosen[":"] <= set(views(0, 0, 2.0, "classic", 0.0)[0].names) | {w for w in words if w.istitle()}
    assert {SPEECH, NAMING} <= kinds


def test_a_game_without_lessons_is_refused_by_name() -> None:
    register("coin", "tests.fixtures.extending.coin:GAME")
    with pytest.raises(GameError, match="'coin' has no lessons"):
        lessons_of("coin")
