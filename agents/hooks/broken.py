"""Broken weights: names the layer and tensor that a model's first NaN comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from agents.hooks.model import HookedModel


def where_not_a_number(hooked: HookedModel, ids: Sequence[int]) -> str:
    """The layer that gives the first NaN on a context, and the weights that hold one.

    ids: the context's token ids. Layers are numbered as everywhere, 0 = output of block 0.
    """
    found: list[str] = []

    def watch(name: str, module: nn.Module) -> Any:
        def look(_: nn.Module, __: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if not found and torch.is_tensor(first) and bool(torch.isnan(first).any()):
                found.append(name)

        return module.register_forward_hook(look)

    layout, model = hooked.layout, cast(Any, hooked.model)
    named = [(f"layer {i}", layer) for i, layer in enumerate(layout.layers)]
    named = [
        ("embed", model.get_input_embeddings()),
        *named,
        ("the head", model.get_output_embeddings()),
    ]
    handles = [watch(name, module) for name, module in named if isinstance(module, nn.Module)]
    try:
        with torch.inference_mode():
            hooked.model(input_ids=torch.tensor([list(ids)], device=hooked.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return _in_words(
        found, [name for name, p in hooked.model.named_parameters() if bool(torch.isnan(p).any())]
    )


def not_a_number_on_disk(folder: Path) -> str:
    """As `where_not_a_number`, by the tensors of a model folder alone (they are all read)."""
    from safetensors import safe_open

    names = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            names += [name for name in tensors.keys() if bool(torch.isnan(tensors.get_tensor(name)).any())]  # noqa: SIM118
    return _in_words([], names)


def _in_words(found: Sequence[str], weights: Sequence[str]) -> str:
    at = f"the first NaN is in the output of {found[0]}" if found else "its layers are not known"
    if weights:
        more = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
        return f"{at}; NaN stands in the weights {weights[0]}{more}: take a checkpoint that is whole"
    return (
        f"{at}; no weight is NaN: numbers have become too large for its dtype (load it in bfloat16 or float32), or it "
        "is steered too hard"
    )
