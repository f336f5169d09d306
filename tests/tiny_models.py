"""Tiny random checkpoints for tests: real Hugging Face folders, made in a second, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VOCAB = 96
N_LAYERS = 3
D_MODEL = 128


def save_word_tokenizer(folder: Path, vocab_size: int = VOCAB) -> None:
    """A word-level tokenizer: `<pad> <bos> <eos> <unk> w4 w5 ...`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<bos>", "<eos>", "<unk>"] + [f"w{i}" for i in range(4, vocab_size)]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(str(folder))


def tiny_config(family: str, **changes: Any) -> Any:
    """A config of a small random model: 3 layers, width 128, head_dim 32, 512 positions."""
    import transformers as tf

    common: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": D_MODEL,
        "intermediate_size": 192,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "initializer_range": 0.08,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
    }
    grouped = {"num_key_value_heads": 2, "head_dim": 32}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "llama": (tf.LlamaConfig, grouped),
        "qwen2": (tf.Qwen2Config, {"num_key_value_heads": 2}),
        "qwen3": (tf.Qwen3Config, grouped),
        "gemma2": (tf.Gemma2Config, grouped | {"sliding_window": 16, "query_pre_attn_scalar": 32}),
        "gemma3": (tf.Gemma3TextConfig, grouped | {"sliding_window": 16, "query_pre_attn_scalar": 32}),
        "mistral": (tf.MistralConfig, grouped | {"sliding_window": 24}),
        "gpt_neox": (tf.GPTNeoXConfig, {}),
        "phi": (tf.PhiConfig, {}),
        "phi3": (tf.Phi3Config, {}),
        "gpt2": (tf.GPT2Config, {}),
    }
    cls, extra = kinds[family]
    return cls(**(common | extra | changes))


def tiny_model(family: str = "llama", seed: int = 0, **changes: Any) -> Any:
    """A random model in float32 and eval mode; the global torch seed is left as it was."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(family, **changes), dtype=torch.float32)
    return model.eval()


def save_tiny_model(folder: Path, family: str = "llama", seed: int = 0, **changes: Any) -> Path:
    """A whole model folder (config, weights, tokenizer); returns `folder`."""
    model = tiny_model(family, seed, **changes)
    model.save_pretrained(str(folder))
    save_word_tokenizer(folder, model.config.vocab_size)
    return folder
