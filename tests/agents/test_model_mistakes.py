"""What is given as a model folder and is none is named for what it is, with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.models.folder import ModelFilesError, check_model_dir
from harness.config.files import parse_config
from harness.errors import ConfigurationError
from harness.play.preflight.backends import check_backends
from tests.fixtures.tiny_models import save_tiny_model


def test_adapters_gguf_hub_names_and_missing_shards_are_named(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(
        ModelFilesError, match=r"LoRA adapter of 'org/base', which is no folder here.*merge_and_unload"
    ):
        check_model_dir(adapter)
    quantised = tmp_path / "q"
    quantised.mkdir()
    (quantised / "m.Q4.gguf").write_bytes(b"GGUF")
    for given in (quantised, quantised / "m.Q4.gguf"):
        with pytest.raises(ModelFilesError, match=r"GGUF.*gguf_file='m\.Q4\.gguf'"):
            check_model_dir(given)
    with pytest.raises(ModelFilesError, match=r"name of a model on a hub.*hf download meta/Llama-3"):
        check_model_dir("meta/Llama-3")
    sharded = save_tiny_model(tmp_path / "sharded")
    (sharded / "model.safetensors").rename(sharded / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ModelFilesError, match=r"lacks 1 of its 2 files of weights \(model-00002-of-00002"):
        check_model_dir(sharded)


def test_an_adapter_is_not_served_and_the_message_says_how_it_plays(tmp_path: Path) -> None:
    base, adapter = save_tiny_model(tmp_path / "base"), tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "../base", "r": 4}))
    (adapter / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (adapter / name).write_bytes((base / name).read_bytes())
    assert check_model_dir(adapter) == adapter.resolve()
    config = parse_config(
        {
            "agents": {"m": {"kind": "llm", "backend": "b"}},
            "backends": {"b": {"kind": "openai", "serve": True, "model": str(adapter)}},
            "roster": {"mix": {"m": 1}},
        }
    )
    with pytest.raises(
        ConfigurationError, match=r"LoRA adapter, which serve = true does not serve: use kind"
    ):
        check_backends(config.backends, keys=False)


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ({"kind": "vllm", "settings": {"max_model_len": 512}}, "our name for max_model_len is max_context"),
        (
            {"kind": "vllm", "settings": {"extra": {"trust_remote_code": True}}},
            "code of a model folder never runs",
        ),
        ({"kind": "vllm", "settings": {"gpu_memory": 1.5}}, "gpu_memory = 1.5"),
        ({"kind": "vllm", "settings": {"kv_cache_gb": 0}}, "kv_cache_gb = 0"),
        ({"kind": "transformers", "settings": {"dtype": "float8"}}, "float8"),
        ({"kind": "transformers", "settings": {"batch": 3}}, "known: dtype"),
        ({"kind": "openai", "url": "http://x/v1", "settings": {"api": "grpc"}}, "tokens, text, chat"),
        ({"kind": "openai", "url": "http://x/v1", "settings": {"fields": {"seed": 3}}}, "fields.seed"),
    ],
)
def test_settings_are_checked_before_anything_starts(backend: dict[str, object], says: str) -> None:
    config = parse_config(
        {
            "agents": {"m": {"kind": "llm", "backend": "b"}},
            "backends": {"b": backend},
            "roster": {"mix": {"m": 1}},
        }
    )
    with pytest.raises(ConfigurationError) as refused:
        check_backends(config.backends, keys=False)
    assert says in str(refused.value)
    assert "backends.b" in str(refused.value)


def test_an_engines_words_come_with_our_keys() -> None:
    from agents.backends.vllm.settings import in_our_words

    told = in_our_words(
        "1.13 GiB KV cache is needed; try increasing `gpu_memory_utilization` or decreasing `max_model_len`"
    )
    assert "max_model_len is settings.max_context here" in told
    assert "gpu_memory_utilization is settings.gpu_memory here" in told
    assert "raise settings.kv_cache_gb" in told
    assert in_our_words("out of cheese") == "out of cheese"
