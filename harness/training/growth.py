"""The weights that further training begins with: a model as it is, or with embeddings for more words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from agents.models.classes import LlamaForCausalLM
from agents.models.folder import load_tokenizer
from agents.models.small import make_config
from harness.training.attention import NAME

NEW_ROW = 0.05
"""Standard deviation of the starting embedding of a new word."""


def learning(folder: Path, device: str) -> Any:
    """The model in `folder` in float32 on a device, ready to be trained further."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=NAME)
    return model.to(device).train()


def grown(folder: Path, tokenizer: Any, seed: int, attention: str, layers: int | None = None) -> Any:
    """The model in `folder` with embeddings for the words that `tokenizer` adds, drawn from `seed`; only its first
    `layers`, if given. attention: transformers' name of its training attention.

    On texts without the added words its predictions are unchanged, except for the probability of the added words.
    Raises ValueError where the tokenizer does not keep its words at their ids.
    """
    source = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    known, ours = load_tokenizer(folder).get_vocab(), tokenizer.get_vocab()
    wrong = [word for word, i in known.items() if ours.get(word) != i]
    if wrong:
        raise ValueError(
            f"'{folder}' has the words {', '.join(wrong[:5])} in other places than the model that is to be "
            "trained: start from a model that was trained under the same lexicon"
        )
    config = make_config(
        len(tokenizer), source.config.hidden_size, layers or source.config.num_hidden_layers,
        source.config.intermediate_size,
    )  # fmt: skip
    model = LlamaForCausalLM._from_config(config, attn_implementation=attention)
    generator = torch.Generator().manual_seed(seed)
    weights = {k: v for k, v in source.state_dict().items() if k in model.state_dict()}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        old = weights[name]
        new = torch.empty(len(tokenizer) - len(old), old.shape[1])
        weights[name] = torch.cat([old, new.normal_(0.0, NEW_ROW, generator=generator)])
    model.load_state_dict(weights)
    return model
