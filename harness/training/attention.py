"""Causal attention under arbitrary masks, in blocks of queries, each over the keys up to its end.

In training every row has its own mask, under which torch's fused attention is slower on a CPU than plain attention,
and plain attention computes all masked scores (`make bench-training` measures the three).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from harness.training.batches import Batch

NAME = "causal_blocks"
"""Its name in transformers (`attn_implementation`)."""
BLOCK = 192
"""Queries per block: smaller blocks skip more masked scores, but need more calls."""


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The result of plain attention, `(n_rows, n_tokens, n_heads, head_dim)`, without computing most masked scores.

    query, key, value: `(n_rows, n_heads, n_tokens, head_dim)`; attention_mask: `(n_rows, 1, n_tokens, n_tokens)`, as
    `additive` gives it, in which no token sees a later one.
    """
    n = query.shape[2]
    n_blocks = max(1, round(n / BLOCK))
    size = -(-n // n_blocks)
    out = []
    for start in range(0, n, size):
        end = min(start + size, n)
        seen = key[:, :, :end].transpose(2, 3)
        scores = query[:, :, start:end] @ seen * scaling + attention_mask[:, :, start:end, :end]
        weights = torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype)
        out.append(weights @ value[:, :, :end])
    return torch.cat(out, 2).transpose(1, 2).contiguous(), None


def additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The additive mask, of the shape of `mask`: 0 where it is true, else the lowest number."""
    lowest = torch.tensor(torch.finfo(dtype).min, dtype=dtype, device=mask.device)
    return torch.where(mask, torch.zeros_like(lowest), lowest)


def predict(forward: Callable[..., Any], batch: Batch, bf16: bool) -> torch.Tensor:
    """Logits `(n_views, n_tokens, n_words)` of each next word by a model with this attention; `bf16`: matrix products
    in bfloat16."""
    with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=bf16):
        logits: torch.Tensor = forward(
            input_ids=batch.ids,
            attention_mask=additive(batch.mask(), torch.bfloat16 if bf16 else torch.float32),
            position_ids=batch.position,
            use_cache=False,
        ).logits
    return logits


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
