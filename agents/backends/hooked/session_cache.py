"""Keys and values kept between the turns of a session, and batches built from them without gaps.

A batch has one width. Every row is right-aligned: padding on the left only, then tokens from the cache, then
tokens to compute. All rows compute the same number of columns, so a row with less to compute recomputes the end of
what it had cached; that costs nothing (the column is there anyway) and leaves no hole between cached and new
tokens, which sliding-window attention would measure wrongly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LayerKV = list[tuple[Tensor, Tensor]]
"""Per layer, keys and values of one row: (n_kv_heads, n_tokens, head_dim)."""


@dataclass(frozen=True)
class _Entry:
    ids: tuple[int, ...]
    layers: LayerKV


class SessionCache:
    """Least-recently-used store of keys and values, bounded by its number of tokens."""

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.n_tokens = 0
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def prefix(self, session: str | None, ids: Sequence[int]) -> int:
        """How many leading tokens of `ids` are cached; at most `len(ids) - 1`, since one must be computed."""
        entry = self._entries.get(session) if session is not None else None
        if entry is None:
            return 0
        n = min(len(entry.ids), len(ids) - 1)
        if tuple(ids[:n]) == entry.ids[:n]:
            return n
        return next(i for i in range(n) if ids[i] != entry.ids[i])

    def layers(self, session: str) -> LayerKV:
        """Keys and values of a session that `prefix` found."""
        self._entries.move_to_end(session)
        return self._entries[session].layers

    def keep(self, session: str, ids: tuple[int, ...], layers: LayerKV) -> None:
        """Store what the next turn may reuse; the oldest sessions make room."""
        old = self._entries.pop(session, None)
        self.n_tokens += len(ids) - (len(old.ids) if old is not None else 0)
        self._entries[session] = _Entry(ids, layers)
        while self.n_tokens > self.max_tokens and self._entries:
            _, dropped = self._entries.popitem(last=False)
            self.n_tokens -= len(dropped.ids)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.n_tokens = 0


@dataclass(frozen=True)
class Aligned:
    """A right-aligned batch: columns 0..n_cached are from the cache, the rest is computed."""

    input_ids: Tensor
    """int64 (n_rows, n_new), padded on the left."""
    attention_mask: Tensor
    """int64 (n_rows, n_cached + n_new): 0 at padding."""
    position_ids: Tensor
    """int64 (n_rows, n_new)."""
    cached: tuple[int, ...]
    """Tokens of each row taken from the cache."""
    starts: tuple[int, ...]
    """Column (in the whole width) of each row's token 0: token i is at column starts + i."""
    cache: Any
    """transformers' DynamicCache, already filled with n_cached columns."""

    @property
    def n_cached(self) -> int:
        return self.attention_mask.shape[1] - self.input_ids.shape[1]


def align(
    contexts: Sequence[tuple[int, ...]],
    reusable: Sequence[int],
    entries: Sequence[LayerKV | None],
    device: torch.device,
    pad: int = 0,
) -> Aligned:
    """Build a batch. reusable[i] < len(contexts[i]) leading tokens of row i may come from entries[i]."""
    from transformers import DynamicCache

    n_new = max(len(ids) - n for ids, n in zip(contexts, reusable, strict=True))
    cached = tuple(min(n, max(0, len(ids) - n_new)) for ids, n in zip(contexts, reusable, strict=True))
    n_cached = max(cached)
    width = n_cached + n_new
    starts = tuple(width - len(ids) for ids in contexts)
    inputs = torch.full((len(contexts), n_new), pad, dtype=torch.long)
    mask = torch.zeros((len(contexts), width), dtype=torch.long)
    for i, ids in enumerate(contexts):
        new = ids[cached[i] :]
        inputs[i, n_new - len(new) :] = torch.tensor(new, dtype=torch.long)
        mask[i, starts[i] :] = 1
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, n_cached:]
    cache = DynamicCache()
    if n_cached:
        template = next(e for e, n in zip(entries, cached, strict=True) if e is not None and n)
        for layer, (k0, v0) in enumerate(template):
            keys = k0.new_zeros((len(contexts), k0.shape[0], n_cached, k0.shape[2]))
            values = v0.new_zeros((len(contexts), v0.shape[0], n_cached, v0.shape[2]))
            for i, entry in enumerate(entries):
                if entry is not None and cached[i]:
                    keys[i, :, n_cached - cached[i] :] = entry[layer][0][:, : cached[i]]
                    values[i, :, n_cached - cached[i] :] = entry[layer][1][:, : cached[i]]
            cache.update(keys, values, layer)
    return Aligned(inputs.to(device), mask.to(device), positions.to(device), cached, starts, cache)


def row_layers(cache: Any, row: int, start: int, n_tokens: int) -> LayerKV:
    """One row's keys and values out of a batch's cache, copied: columns start to start + n_tokens."""
    end = start + n_tokens
    return [
        (layer.keys[row, :, start:end].clone(), layer.values[row, :, start:end].clone())
        for layer in cache.layers
    ]


def keep_rows(cache: Any, rows: Tensor) -> None:
    """Drop all other rows of a batch's cache."""
    for layer in cache.layers:
        layer.keys = layer.keys.index_select(0, rows)
        layer.values = layer.values.index_select(0, rows)
