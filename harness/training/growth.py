"""Extending a small model's vocabulary: its own words keep their ids, new ones follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from agents.models.folder import load_tokenizer
from agents.models.small import make_config, word_tokenizer

NEW_ROW = 0.05
"""Standard deviation of the starting embedding of a new word."""


def words_of(tokenizer: Any) -> list[str]:
    """The words of a tokenizer; the index is the token id."""
    known: dict[str, int] = tokenizer.get_vocab()
    return sorted(known, key=known.__getitem__)


def widened(tokenizer: Any, words: Sequence[str]) -> Any:
    """A tokenizer with all words of another at their ids, followed by those of `words` that it lacks."""
    return word_tokenizer(list(dict.fromkeys([*words_of(tokenizer), *words])))


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
