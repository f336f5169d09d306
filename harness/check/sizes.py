"""What a model needs, from its configuration alone: memory for weights and cache, disk for activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agents.models.folder import checkpoint_dtype, read_config

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


class Sizes(msgspec.Struct, frozen=True):
    """Sizes of one model, in bytes unless stated otherwise."""

    architecture: str
    parameters: int
    layers: int
    d_model: int
    dtype: str
    weights: int
    cache_token: int
    """Keys and values of one token."""
    row: int
    """One activation row of all blocks and the embeddings, as it is stored in float32."""
    adapter: int
    """A LoRA of rank 8 on all linear maps, bfloat16."""

    def lines(self, context: int, games: int) -> list[str]:
        """The sizes in words, for contexts of `context` tokens and `games` games at a time."""
        cache = self.cache_token * context * games
        return [
            f"{self.architecture}: {self.parameters / 1e9:.2f}B parameters, {self.layers} layers, width {self.d_model}",
            f"weights in {self.dtype}: {gb(self.weights)}",
            f"cache for {games} contexts of {context:,} tokens: {gb(cache)} ({self.cache_token / 1024:.0f} KB a token)",
            f"activations of all layers: {self.row / 1024:.0f} KB a row in float32, half in bfloat16",
            f"a LoRA of rank 8 on all linear maps: {self.adapter / 2**20:.1f} MB",
        ]


def gb(n: float) -> str:
    """Bytes as GB."""
    return f"{n / 2**30:.1f} GB"


def sizes_of(folder: Path) -> Sizes:
    """The sizes from a folder's config.json, through a model without allocated weights. Raises ModelFilesError,
    ValueError."""
    import torch

    from agents.models.classes import AutoConfig, AutoModelForCausalLM

    read_config(folder)
    dtype = checkpoint_dtype(folder)
    config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, dtype), trust_remote_code=False
        )
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    n, size = sum(p.numel() for p in model.parameters()), BYTES[dtype]
    head = model.get_output_embeddings()
    pairs = sum(8 * (m.in_features + m.out_features) for m in model.modules()
                if isinstance(m, torch.nn.Linear) and m is not head)  # fmt: skip
    return Sizes(
        architecture=type(model).__name__,
        parameters=n,
        layers=text.num_hidden_layers,
        d_model=text.hidden_size,
        dtype=dtype,
        weights=n * size,
        cache_token=2 * text.num_hidden_layers * heads * width * size,
        row=4 * text.hidden_size * (text.num_hidden_layers + 1),
        adapter=2 * pairs,
    )
