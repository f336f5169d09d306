"""Do stored activations equal a plain forward pass? Recomputes a sample without sharing, batching or early stop."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import torch

from agents.hooks.model import HookedModel
from harness.activations.items import CaptureItem, wanted_rows
from harness.activations.store import KEY, Activations, ActivationsError, token_hash

TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 8e-2}
"""Largest relative error |stored - plain| / |plain| of a row at a layer, by the coarser of store and model dtype.

It bounds the worst of thousands of rows, and rounding accumulates over layers in both computations. A row of a wrong
token or layer has an error of order 1.
"""


class RowCheck(msgspec.Struct, frozen=True):
    """One stored row compared with a plain forward pass."""

    game_id: str
    seq: int
    site: str
    subject: int | None
    variant: str
    error: float
    """Largest relative error over the layers; infinite for a row that was read on other token ids."""
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.error <= self.tolerance


@torch.inference_mode()
def check_sample(
    items: Iterable[CaptureItem], hooked: HookedModel, store: Activations, *, n_items: int = 20, seed: int = 0
) -> list[RowCheck]:
    """Check the stored rows of up to `n_items` of the items, drawn with `seed`.

    Layers are read with one plain hook each on the whole model, context by context. Raises ActivationsError when none
    of the items is in the store, or the model is not the store's.
    """
    if hooked.name != store.info.model:
        raise ActivationsError(
            f"the store holds {store.info.model}, the model given is {hooked.name}; give that model"
        )
    lines = store.index(variant=None)
    stored = {key: i for i, key in enumerate(lines.select(*KEY).iter_rows())}
    known = [item for item in items if any(_key(row.key) in stored for row in wanted_rows(item, set()))]
    if not known:
        raise ActivationsError(
            f"none of the decisions given has a row in {store.path}; is it the store of this run?"
        )
    picked = np.random.default_rng(seed).permutation(len(known))[:n_items]
    bound = max(TOLERANCE[store.info.dtype], TOLERANCE[str(hooked.dtype).removeprefix("torch.")])
    checks: list[RowCheck] = []
    for i in sorted(picked):
        item = known[i]
        plain = plain_rows(hooked, item.ids, store.layers)
        for row in wanted_rows(item, set()):
            at = stored.get(_key(row.key))
            if at is None:
                continue
            line = lines[at]
            expected = plain[:, list(row.indices)].mean(axis=1)
            found = store.read_rows(line)[0]
            error = float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())
            if line["token_hash"][0] != token_hash(item.ids[: max(row.indices) + 1]):
                error = float("inf")
            key = row.key
            checks.append(RowCheck(key.game_id, key.seq, key.site, key.subject, key.variant, error, bound))
    return checks


def _key(key: object) -> tuple[object, ...]:
    return tuple(getattr(key, field) for field in KEY)


def plain_rows(hooked: HookedModel, ids: tuple[int, ...], layers: tuple[str, ...]) -> np.ndarray:
    """float32 (n_layers, n_tokens, d_model) of one context, by plain PyTorch hooks."""
    kept: dict[str, torch.Tensor] = {}
    handles = []
    for name in layers:
        point, _, number = name.partition(".")
        layer = int(number) if number else 0
        if point == "embed":

            def before(_: object, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
                kept["embed"] = args[0] if args else kwargs["hidden_states"]

            handles.append(hooked.layout.layers[0].register_forward_pre_hook(before, with_kwargs=True))
            continue
        modules = {
            "resid_post": hooked.layout.layers,
            "attn_out": hooked.layout.attention,
            "mlp_out": hooked.layout.mlp,
        }[point]
        module = modules[layer]
        if module is None:
            raise ValueError(f"the model has no module for {name}")

        def after(_: object, args: object, out: object, name: str = name) -> None:
            first = out[0] if isinstance(out, tuple) else out
            if isinstance(first, torch.Tensor):
                kept[name] = first

        handles.append(module.register_forward_hook(after))
    try:
        hooked.model(input_ids=torch.tensor([ids], device=hooked.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat([kept[name] for name in layers]).float().cpu().numpy()
