"""transformers' classes that training is made of, imported without what they do not need (`agents.models.lean`)."""

from agents.models.lean import lean_imports

with lean_imports():
    from transformers import AttentionInterface, AttentionMaskInterface, Cache, LlamaForCausalLM
    from transformers.masking_utils import eager_mask
    from transformers.utils import logging

__all__ = [
    "AttentionInterface",
    "AttentionMaskInterface",
    "Cache",
    "LlamaForCausalLM",
    "eager_mask",
    "logging",
]
