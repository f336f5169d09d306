"""What models, their attention and their training are made of, of transformers, imported without what it does not need
(`agents.models.lean`). Importing this takes seconds."""

from agents.models.lean import lean_imports

with lean_imports():
    from transformers import (
        AttentionInterface,
        AttentionMaskInterface,
        AutoConfig,
        AutoModelForCausalLM,
        Cache,
        LlamaForCausalLM,
    )
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import eager_mask, sdpa_mask
    from transformers.utils import logging

__all__ = [
    "AttentionInterface",
    "AttentionMaskInterface",
    "AutoConfig",
    "AutoModelForCausalLM",
    "Cache",
    "LlamaForCausalLM",
    "eager_mask",
    "logging",
    "sdpa_attention_forward",
    "sdpa_mask",
]
