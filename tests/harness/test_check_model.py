"""`check-model` says of a folder what the house will ask of it, and `model-size` needs its config alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.models.small import SMALL_MODEL
from harness.check.model import check_model
from harness.check.sizes import sizes_of
from tests.fixtures.player_fixtures import chat_tokenizer
from tests.fixtures.tiny_models import tiny_config, tiny_model


def found(folder: Path, weights: bool = True) -> dict[str, tuple[bool, str]]:
    findings = check_model(folder, "werewolf", "probe-6", weights=weights, device="cpu")
    return {one.what: (one.ok, one.told) for one in findings}


def test_a_sound_model_passes_and_plays_one_decision() -> None:
    told = found(SMALL_MODEL)
    assert list(told) == ["files", "size", "tokenizer", "names", "template", "layers", "parity", "decision"]
    assert all(ok for ok, _ in told.values())
    assert "are one token" in told["names"][1] and 'prompt = "transcript"' in told["template"][1]
    assert told["decision"][1].startswith("transcript, speech, at once: ")


@pytest.mark.parametrize(("style", "words"), [("deepseek", "opens thinking"), ("gemma", "no system role")])
def test_a_chat_models_template_is_described(style: str, words: str, tmp_path: Path) -> None:
    tokenizer = chat_tokenizer(style)
    tiny_model(vocab_size=len(tokenizer), num_hidden_layers=2, max_position_embeddings=8192).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    told = found(tmp_path)
    assert words in told["template"][1] and "no control token" in told["template"][1]
    assert told["parity"][0] and told["decision"][1].startswith("chat, speech")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    ((what, (ok, told)),) = found(tmp_path / "nothing").items()
    assert (what, ok) == ("files", False) and "does not exist" in told
    tokenizer = chat_tokenizer("chatml")
    tiny_model(num_hidden_layers=1).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ok, told = found(tmp_path, weights=False)["tokenizer"]
    assert not ok and "it is another model's" in told


def test_sizes_need_no_weights(tmp_path: Path) -> None:
    wide = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128_256, "dtype": "bfloat16"}  # fmt: skip
    tiny_config("llama", **wide).save_pretrained(tmp_path)
    sizes = sizes_of(tmp_path)
    assert sizes.parameters == 8_030_261_248  # Llama 3 8B
    assert sizes.weights == 2 * sizes.parameters
    assert sizes.cache_token == 2 * 32 * 8 * 128 * 2
    assert sizes.row == 4 * 4096 * 33
