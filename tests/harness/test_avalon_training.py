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
    train(tmp_path, game="avalon", tokens=1_000, **settings)  # type: ignore[arg-type]
    words = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert {"merlin", "picks", "believes", "failure"} <= set(words) and "werewolf" not in words
    state = json.loads((tmp_path / "training" / "state.json").read_text())
    assert state["tokens"] >= 1_000 and state["settings"]["game"] == "avalon"
    with pytest.raises(ValueError, match="same settings"):
        train(tmp_path, tokens=2_000, **settings)  # type: ignore[arg-type]


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
