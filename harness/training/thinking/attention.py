"""Attention over views with many forks: each token's scores are computed only for visible tokens.

A row is a view followed by stems (a thought, or `Ada believes`) with their rests. All tokens of a stem attend to the
same prefix of the view and to their own stem: so the view is one causal block, and each stem is one block of queries
over that prefix and itself. Under one mask for the whole row (`harness.training.attention`) most scores of a row with
many thoughts are masked, and computing them is most of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from agents.models.classes import AttentionInterface, AttentionMaskInterface, eager_mask
from harness.training.batches import Batch

NAME = "forks"
"""Its name in transformers (`attn_implementation`)."""


class Stem(NamedTuple):
    """Tokens `start` to `end` of a row, which attend to the view's first `limit` tokens and to each other by
    `mask`."""

    start: int
    end: int
    limit: int
    mask: torch.Tensor
    """Additive mask among the stem's own tokens `(n, n)`."""


Forks = list[tuple[int, list[Stem]]]
"""For each row of a batch: the length of its view, and its stems."""


def forks_of(batch: Batch) -> Forks:
    """The layout of a batch; padding is in no block."""
    found: Forks = []
    whole = batch.mask()[:, 0]
    for r in range(len(batch.ids)):
        stems = batch.stem[r]
        counts = torch.bincount(stems[stems >= 0])
        n_view = int(counts[0])
        parts, start = list[Stem](), n_view
        for n in counts[1:].tolist():
            end = start + n
            own = torch.zeros(n, n).masked_fill_(~whole[r, start:end, start:end], -torch.inf)
            parts.append(Stem(start, end, int(batch.limit[r, start]), own))
            start = end
        found.append((n_view, parts))
    return found


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    *,
    forks: Forks,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The result of attention under `Batch.mask`, `(n_rows, n_tokens, n_heads, head_dim)`; zeros for padding."""
    n = query.shape[2]
    rows = []
    for r, (n_view, stems) in enumerate(forks):
        q, k, v = query[r], key[r], value[r]
        view_k, view_v = k[:, :n_view], v[:, :n_view]
        out = [scaled_dot_product_attention(q[:, :n_view], view_k, view_v, is_causal=True, scale=scaling)]
        for start, end, limit, mask in stems:
            scores = (q[:, start:end] * scaling) @ torch.cat(
                [view_k[:, :limit], k[:, start:end]], 1
            ).transpose(1, 2)
            scores[:, :, limit:] += mask
            out.append(torch.softmax(scores, -1) @ torch.cat([view_v[:, :limit], v[:, start:end]], 1))
        end = stems[-1].end if stems else n_view
        out.append(q.new_zeros(q.shape[0], n - end, q.shape[2]))
        rows.append(torch.cat(out, 1))
    return torch.stack(rows).transpose(1, 2).contiguous(), None


def predict(forward: Callable[..., Any], batch: Batch) -> torch.Tensor:
    """Logits `(n_rows, n_tokens, n_words)` float32 of each next word by a model with this attention."""
    logits: torch.Tensor = forward(
        input_ids=batch.ids,
        attention_mask=torch.zeros(1, 1, 1, 1),
        position_ids=batch.position,
        use_cache=False,
        forks=forks_of(batch),
    ).logits
    return logits.float()


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
