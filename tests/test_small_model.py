"""The shipped model and its training: language, form, resumption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.small_model import SMALL_MODEL, make_tokenizer
from games import load_game
from games.werewolf.presets import NAMES
from harness.training_data import documents, scripted_game

GAME = load_game("werewolf")


@pytest.mark.parametrize("lexicon", ["classic", "nonsense"])
def test_the_tokenizer_knows_every_word_that_scripted_games_show(lexicon: str) -> None:
    tokenizer = make_tokenizer((lexicon,))
    for seed, preset in enumerate(NAMES):
        config = GAME.configure(preset=preset, lexicon=lexicon)
        text = "\n".join(GAME.transcript(scripted_game(config, seed), None, config))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        unknown = {
            text for text, i in zip(tokenizer.tokenize(text), ids, strict=True) if i == tokenizer.unk_token_id
        }
        assert not unknown, f"{preset} under {lexicon}"


def test_the_shipped_tokenizer_is_the_one_that_the_project_makes() -> None:
    shipped = json.loads((SMALL_MODEL / "tokenizer.json").read_text())
    assert shipped["model"]["vocab"] == make_tokenizer().get_vocab()


def test_training_documents_are_the_same_whenever_they_are_made() -> None:
    assert documents(7, 0, 0.5, "classic", 0.5) == documents(7, 0, 0.5, "classic", 0.5)
    assert documents(7, 0, 0.5, "classic", 0.5) != documents(8, 0, 0.5, "classic", 0.5)


def test_belief_questions_are_answered_with_the_truth() -> None:
    asked = 0
    for index in range(20):
        plain = documents(index, 0, 1.0, "classic", 0.0)
        roles = {}
        for text in plain:  # each seat's view states that seat's own role in its second line
            _, name, role = text.splitlines()[1].rstrip(".").split(".")[0].split()
            roles[name] = role
        for text in documents(index, 0, 1.0, "classic", 1.0):
            for line in text.splitlines():
                if " believes " in line:
                    viewer, _, subject, _, role = line.rstrip(".").split()
                    assert roles[subject] == role
                    assert viewer != subject
                    asked += 1
    assert asked > 50


class Stopped(Exception):
    """Stands for whatever ends a training run early."""


def test_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    from harness.train import train

    settings = {
        "tokens": 50_000,
        "polish": 10_000,
        "batch_tokens": 512,
        "hidden": 32,
        "layers": 1,
        "device": "cpu",
        "save_every": 10,
    }

    def stop(line: str) -> None:
        raise Stopped(line)

    with pytest.raises(Stopped):
        train(tmp_path / "small", say=stop, **settings)  # type: ignore[arg-type]
    state = json.loads((tmp_path / "small" / "training" / "state.json").read_text())
    assert 0 < state["tokens"] < 60_000
    said: list[str] = []
    train(tmp_path / "small", say=said.append, **settings)  # type: ignore[arg-type]
    assert said[0].startswith(f"resuming at {state['tokens']:,}")
    losses = [
        json.loads(x) for x in (tmp_path / "small" / "training" / "loss.jsonl").read_text().splitlines()
    ]
    assert [x["tokens"] for x in losses] == sorted(x["tokens"] for x in losses)
    assert losses[-1]["loss"] < losses[0]["loss"]


def test_training_refuses_a_folder_of_other_settings(tmp_path: Path) -> None:
    from harness.train import train

    settings = {
        "tokens": 1_500,
        "polish": 500,
        "batch_tokens": 512,
        "hidden": 32,
        "layers": 1,
        "device": "cpu",
    }
    train(tmp_path, say=lambda _: None, **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same settings"):
        train(tmp_path, say=lambda _: None, **settings, seed=1)  # type: ignore[arg-type]


def test_the_shipped_model_keeps_to_the_form_without_constraints() -> None:
    from harness.evaluate import measure_form

    total = measure_form(SMALL_MODEL, n_games=15)[-1]
    assert total.n > 300
    assert total.well_formed / total.n >= 0.93  # 96% over many games; this is a small sample
    assert 1 - total.fallbacks / total.n >= 0.99


@pytest.mark.engine
def test_transformers_and_vllm_continue_the_shipped_model_alike(ray_cluster: object) -> None:
    import asyncio

    from agents.backend import Prompt, Sampling
    from agents.hooked import load_hooked_backend
    from agents.vllm_engine import start_engines

    config = GAME.configure(preset="classic-7")
    tokenizer = make_tokenizer()
    log = scripted_game(config, 3)
    text = "\n".join(GAME.transcript(log, 0, config)) + "\n"
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    prompts = [
        Prompt(tuple(ids[:n]), Sampling(temperature=0.0, max_tokens=12))
        for n in range(40, len(ids), len(ids) // 8)
    ]

    async def both() -> None:
        hooked = load_hooked_backend(SMALL_MODEL)
        engine = start_engines(SMALL_MODEL)
        ours, theirs = await hooked.generate(prompts), await engine.generate(prompts)
        assert [g.output_ids for g in ours] == [g.output_ids for g in theirs]
        await hooked.close()
        await engine.close()

    asyncio.run(both())
