"""How much memory a token of context takes in the key-value cache of a model."""

from __future__ import annotations

from pathlib import Path

from agents.models.folder import checkpoint_dtype, read_config


def cached_bytes(folder: Path, dtype: str = "auto") -> int | None:
    """Bytes that keys and values of one token take in all layers, or None where config.json does not tell.

    dtype: of the cache; `auto`: the checkpoint's. A layer with a window counts whole. Raises ModelFilesError.
    """
    plain = read_config(folder)
    nested = plain.get("text_config")
    plain = nested if isinstance(nested, dict) else plain
    layers = _first(plain, "num_hidden_layers", "n_layer")
    heads = _first(plain, "num_attention_heads", "n_head")
    width = _first(plain, "hidden_size", "n_embd")
    if not (layers and heads and width) or "kv_lora_rank" in plain:  # keys and values share a smaller vector
        return None
    groups = _first(plain, "num_key_value_heads") or heads
    each = _first(plain, "head_dim") or width // heads
    size = 4 if (checkpoint_dtype(folder) if dtype == "auto" else dtype) in ("float32", "float") else 2
    return 2 * layers * groups * each * size


def _first(plain: dict[str, object], *keys: str) -> int | None:
    return next((value for key in keys if isinstance(value := plain.get(key), int) and value > 0), None)
