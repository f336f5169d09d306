"""Attention that leaves out what masks hide is the attention that computes it."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.hooks.attention import BLOCK, attend, blocks
from agents.hooks.model import load_hooked_model
from agents.models.classes import sdpa_attention_forward
from agents.models.small import SMALL_MODEL

MODULE = SimpleNamespace(is_causal=True, num_key_value_groups=2)
LENGTHS = (BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 7)


def causal(n: int) -> Tensor:
    return torch.ones(n, n, dtype=torch.bool).tril()[None, None]


def packed(n: int, n_cached: int, width: int) -> Tensor:
    """A cached prefix, of which each run of `width` tokens sees another part, and its own tokens."""
    query, key = torch.arange(n)[:, None], torch.arange(n_cached + n)[None]
    branch = query // width
    own = (key >= n_cached + branch * width) & (key <= n_cached + query)
    return ((key < n_cached - 5 * branch) | own)[None, None]


def padded(n: int) -> Tensor:
    """Two contexts under causal masks, the second with nothing at its first seven places."""
    mask = causal(n).repeat(2, 1, 1, 1)
    mask[1, :, :, :7] = False
    return mask


def inputs(mask: Tensor, n_heads: int = 4, of_keys: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    rows, _, n, m = mask.shape
    shapes = ((rows, n_heads, n, 8), (rows, of_keys, m, 8), (rows, of_keys, m, 8))
    query, key, value = (torch.randn(shape, generator=drawn) for shape in shapes)
    return query, key, value


def additive(mask: Tensor) -> Tensor:
    return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)


MASKS: dict[str, Any] = {
    **{f"causal {n}": causal(n) for n in LENGTHS},
    **{f"packed {n}": packed(n, 150, 23) for n in LENGTHS},
    "padded": padded(2 * BLOCK + 3),
}


@pytest.mark.parametrize("form", [additive, lambda mask: mask], ids=["additive", "bool"])
@pytest.mark.parametrize("name", MASKS)
def test_what_is_seen_gives_what_torchs_attention_gives(name: str, form: Any) -> None:
    mask = MASKS[name]
    query, key, value = inputs(mask)
    ours, _ = attend(MODULE, query, key, value, form(mask), scaling=0.3)
    theirs, _ = sdpa_attention_forward(MODULE, query, key, value, form(mask), scaling=0.3)
    sees = mask.any(-1)[:, 0, :, None, None]  # padding sees nothing
    torch.testing.assert_close(ours * sees, theirs * sees, atol=1e-6, rtol=1e-5)
    assert ours.shape == theirs.shape and ours.is_contiguous()


def test_without_a_mask_it_is_causal() -> None:
    query, key, value = inputs(causal(3 * BLOCK))
    ours, _ = attend(MODULE, query, key, value, None)
    theirs, _ = attend(MODULE, query, key, value, causal(3 * BLOCK))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", MASKS)
def test_blocks_hold_every_query_once_and_every_key_that_it_sees(name: str) -> None:
    mask = MASKS[name]
    found = blocks(mask, BLOCK)
    n, m = mask.shape[2:]
    assert [found[0].start, *(b.end for b in found)][-1] == n and all(
        a.end == b.start for a, b in pairwise(found)
    )
    for block in found:
        held = torch.zeros(m, dtype=torch.bool)
        held[block.keys] = True
        assert not (mask[:, 0, block.start : block.end] & ~held).any()


def test_most_of_what_packed_contexts_hide_is_left_out() -> None:
    mask = packed(600, 400, 60)
    computed = sum(b.mask.numel() for b in blocks(mask, BLOCK))
    assert computed < 0.6 * mask.numel()


def test_gradients_are_those_of_torchs_attention() -> None:
    mask = MASKS["packed 192"]
    found = []
    for function in (attend, sdpa_attention_forward):
        leaves = [x.requires_grad_() for x in inputs(mask)]
        function(MODULE, *leaves, additive(mask))[0].square().sum().backward()
        found.append([x.grad for x in leaves])
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_a_model_on_the_cpu_reads_with_it_as_with_torchs() -> None:
    hooked = load_hooked_model(SMALL_MODEL, device="cpu")
    model: Any = hooked.model
    ids = torch.randint(4, hooked.vocab_size, (1, 3 * BLOCK), generator=torch.Generator().manual_seed(0))
    mask = packed(3 * BLOCK, 0, 50)
    logits = []
    with torch.inference_mode():
        for attention in (model.config._attn_implementation, "sdpa"):
            model.set_attn_implementation(attention)
            logits.append(model(input_ids=ids, attention_mask=mask, use_cache=False).logits)
    torch.testing.assert_close(*logits, atol=2e-4, rtol=1e-4)
    assert model.config._attn_implementation == "sdpa"
