"""Causal attention under arbitrary masks, in blocks of queries, each over the keys up to its end.

In training every row has its own mask, under which torch's fused attention is slower on a CPU than plain attention,
and plain attention computes all masked scores (`make bench-training` measures the three).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from agents.models.classes import AttentionInterface, AttentionMaskInterface, eager_mask
from harness.training.batches import Batch
from harness.training.precision import mixed_precision

NAME = "causal_blocks"
"""Its name in transformers (`attn_implementation`)."""
BLOCK = 112
"""Queries per block of float32 scores, twice as many of bfloat16: smaller blocks skip more masked scores, but need more
calls."""


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The result of plain attention, `(n_rows, n_tokens, n_heads, head_dim)`, without computing most masked scores.

    query: `(n_rows, n_heads, n_tokens, head_dim)`; key, value: the same, or fewer heads, each for a group of queries'
    heads; attention_mask: `(n_rows, 1, n_tokens, n_tokens)`, as `additive` gives it, in which no token sees a later
    one; scaling: None for 1 / sqrt(head_dim). There is no dropout of weights.
    """
    device = query.device.type
    if (groups := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    if torch.is_autocast_enabled(device):  # positions make float32 of queries and keys, not of values
        dtype = torch.get_autocast_dtype(device)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    n = query.shape[2]
    n_blocks = max(1, round(n * query.element_size() / (4 * BLOCK)))
    size = -(-n // n_blocks)
    with torch.autocast(device, enabled=False):
        out = in_blocks(query * scaling, key, value, attention_mask, size)
    return out.transpose(1, 2).contiguous(), None


@torch.compiler.disable  # it would compile anew for each number of blocks
def in_blocks(*args: Any) -> torch.Tensor:
    """`CausalBlocks` applied."""
    out: torch.Tensor = CausalBlocks.apply(*args)
    return out


class CausalBlocks(torch.autograd.Function):
    """Attention in blocks of queries, with a backward pass that adds each block's part of the gradients in place.

    Left to autograd, each block's part would be a tensor of its own for all keys, and the scores would be written
    five times instead of three (`make bench-training`).
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, size: int
    ) -> torch.Tensor:
        """`(n_rows, n_heads, n_tokens, head_dim)`: of scaled queries, keys and values of that shape, in blocks of
        `size` queries."""
        rows, heads, n, _ = query.shape
        q, k, v = (x.reshape(rows * heads, n, -1) for x in (query, key, value))
        out, weights = torch.empty_like(v), list[torch.Tensor]()
        for start in range(0, n, size):
            end = min(start + size, n)
            scores = q[:, start:end] @ k[:, :end].transpose(1, 2)
            scores.view(rows, heads, end - start, end).add_(mask[:, :, start:end, :end])
            weights.append(
                torch.softmax(scores, -1)
            )  # computed in float32 also where it is stored in bfloat16
            out[:, start:end] = weights[-1] @ v[:, :end]
        ctx.save_for_backward(q, k, v, out, *weights)
        ctx.rows, ctx.size = rows, size
        return out.view(rows, heads, n, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of the queries, keys and values. With weights `p = softmax(scores)`, those of the scores are
        `p * (dp - sum(p * dp))`, and that sum is the product of the output and its gradient."""
        q, k, v, out, *weights = ctx.saved_tensors
        n, size = q.shape[1], ctx.size
        g = gradients[0].reshape(v.shape)
        sums = (g * out).sum(-1, keepdim=True)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for p, start in zip(weights, range(0, n, size), strict=True):
            end = min(start + size, n)
            dv[:, :end].baddbmm_(p.transpose(1, 2), g[:, start:end])
            scores = (g[:, start:end] @ v[:, :end].transpose(1, 2)).sub_(sums[:, start:end]).mul_(p)
            dq[:, start:end] = scores @ k[:, :end]
            dk[:, :end].baddbmm_(scores.transpose(1, 2), q[:, start:end])
        shape = (ctx.rows, len(q) // ctx.rows, n, -1)
        return dq.view(shape), dk.view(shape), dv.view(shape), None, None


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


def predictor(model: Any, device: str, compiled: bool = False) -> Callable[[Batch], torch.Tensor]:
    """`predict` of a model, in bfloat16 where the device multiplies in it natively; its kernels fused by torch.compile,
    if wanted."""
    forward = torch.compile(model, dynamic=True) if compiled else model
    bf16 = mixed_precision(device)
    return lambda batch: predict(forward, batch, bf16)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
