"""The thinking model before its training: the small model's weights, and words of its own behind the frozen ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from agents.models.folder import load_tokenizer
from agents.models.small import make_config
from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer
from harness.training.thinking import attention as forks

NEW_ROW = 0.05
"""Standard deviation of the starting embedding of a new word."""


def grown(folder: Path, lexicon: str, seed: int, layers: int | None = None) -> Any:
    """The model in `folder` with embeddings for the added words, drawn from `seed`; its first `layers` alone, if given.

    What it says of texts without the added words is what it said before, but for the share that goes to them. Raises
    ValueError where its words are not those of `make_tokenizer`.
    """
    source = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = make_tokenizer(lexicon)
    known = load_tokenizer(folder).get_vocab()
    ours = tokenizer.get_vocab()
    wrong = [word for word, i in known.items() if ours.get(word) != i]
    if wrong:
        raise ValueError(
            f"'{folder}' has the words {', '.join(wrong[:5])} in other places than the thinking model: start from "
            f"a model that was trained under the lexicon {lexicon!r}, as `small` was under `classic`"
        )
    config = make_config(
        len(tokenizer), source.config.hidden_size, layers or source.config.num_hidden_layers,
        source.config.intermediate_size,
    )  # fmt: skip
    model = LlamaForCausalLM._from_config(config, attn_implementation=forks.NAME)
    generator = torch.Generator().manual_seed(seed)
    weights = {k: v for k, v in source.state_dict().items() if k in model.state_dict()}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        old = weights[name]
        new = torch.empty(len(tokenizer) - len(old), old.shape[1])
        weights[name] = torch.cat([old, new.normal_(0.0, NEW_ROW, generator=generator)])
    model.load_state_dict(weights)
    return model
