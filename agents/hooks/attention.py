"""Attention of hooked models on a CPU: of the scores that a mask hides, most are not computed.

torch's fused attention computes every score and hides some. Under a causal mask that is half of them; where many
contexts are packed into one sequence, each of which sees a common prefix and itself, it is up to nine tenths (`make
bench-capture` and `make bench-experiment` take both in turns).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from agents.models.classes import (
    AttentionInterface,
    AttentionMaskInterface,
    sdpa_attention_forward,
    sdpa_mask,
)

NAME = "sdpa_of_what_is_seen"
"""Its name in transformers (`attn_implementation`)."""
BLOCK = 64
"""Queries that share their keys: fewer compute less that is hidden, but need more calls."""
DENSE = 0.7
"""Where at least this part of a block's keys, from the first to the last, is seen, none between them is left out."""


class Block(NamedTuple):
    """Some queries and the keys that any of them sees."""

    start: int
    end: int
    """The queries, `start <= i < end`."""
    keys: slice | Tensor
    mask: Tensor
    """Their part of the mask, `(n_rows, 1, end - start, n_keys)`."""


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """As transformers' `sdpa`, to rounding: `(n_rows, n_queries, n_heads, head_dim)`.

    query: `(n_rows, n_heads, n_queries, head_dim)`; key, value: `(n_rows, n_heads or fewer, n_keys, head_dim)`;
    attention_mask: `(n_rows or 1, 1, n_queries, n_keys)`, additive or bool. Where it is another, or none, there are
    no more than `BLOCK` queries, or a GPU computes, it is that function. A query that sees nothing, of padding, gets
    numbers that mean nothing.
    """
    n = query.shape[2]
    hidden = attention_mask is not None and attention_mask.shape[1:] == (1, n, key.shape[2])
    if attention_mask is None or not hidden or n <= BLOCK or query.device.type != "cpu":
        out: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **settings
        )
        return out
    if (groups := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scale, dropout = settings.get("scaling"), settings.get("dropout", 0.0)
    parts = [
        scaled_dot_product_attention(
            query[:, :, b.start : b.end], key[:, :, b.keys], value[:, :, b.keys], b.mask, dropout, scale=scale
        ).transpose(1, 2)
        for b in _blocks_of(attention_mask, query.shape[0] * query.shape[1])
    ]
    return torch.cat(parts, 1), None


def _blocks_of(mask: Tensor, at_once: int) -> list[Block]:
    """The blocks of a mask. All layers of a pass get the same tensor, which keeps them; nothing changes it.

    at_once: heads of all rows, which are computed side by side; fewer than threads, and blocks are larger.
    """
    kept: list[Block] | None = getattr(mask, "_wolfscope_blocks", None)
    if kept is None:
        kept = blocks(mask, BLOCK * max(1, torch.get_num_threads() // at_once))
        mask._wolfscope_blocks = kept  # type: ignore[attr-defined]
    return kept


def blocks(mask: Tensor, size: int) -> list[Block]:
    """The blocks of `size` queries of a mask `(n_rows, 1, n_queries, n_keys)`, additive or bool."""
    seen = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    together = seen.any(0)[0]
    found = []
    for start in range(0, len(together), size):
        end = min(start + size, len(together))
        index = together[start:end].any(0).nonzero()[:, 0]
        first, last = (int(index[0]), int(index[-1])) if len(index) else (0, 0)
        keys: slice | Tensor = slice(first, last + 1)
        if len(index) < DENSE * (last + 1 - first):
            keys = index
        found.append(Block(start, end, keys, mask[:, :, start:end, keys].contiguous()))
    return found


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
