"""Layer names in other tools' conventions, verified by values before anything is written.

| here | transformers' `output_hidden_states` | engine layer ids | TransformerLens |
| --- | --- | --- | --- |
| `embed` | `[0]` | 0 | `blocks.0.hook_resid_pre` |
| `resid_post.k`, output of block k | `[k + 1]` | k + 1 | `blocks.k.hook_resid_post` |
| `resid_post.last` | none: the last entry is after the final norm | n_layers | `blocks.last.hook_resid_post` |

Engine layer ids are those of vLLM's `extract_hidden_states`: 0 the embeddings, k the raw output of the k-th block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.activations.store import ActivationsError

TOLERANCE = 1e-3
"""Largest relative error of a stored row against the model's own values; bfloat16 rows: 40 times as much."""


class Names(msgspec.Struct, frozen=True):
    """One layer under every convention."""

    name: str
    """The layer's name in the store."""
    block: int | None
    """The block whose output it is; None for the embeddings, which enter block 0."""
    hidden_states: int | None
    """Index into transformers' `output_hidden_states`; None where that holds something else."""
    engine: int | None
    """vLLM's layer id; None for a layer outside the residual stream."""
    hook: str
    """TransformerLens' and SAELens' hook."""


def names_of(layer: str, n_layers: int) -> Names:
    """The names of a layer. Raises ActivationsError for one that the model lacks."""
    what, _, number = layer.partition(".")
    if what == "embed":
        return Names(layer, None, 0, 0, "blocks.0.hook_resid_pre")
    if what not in ("resid_post", "attn_out", "mlp_out") or not number.isdigit() or int(number) >= n_layers:
        raise ActivationsError(
            f"layer {layer!r} is no stream of a model of {n_layers} blocks (0 to {n_layers - 1})"
        )
    block = int(number)
    if what != "resid_post":
        return Names(layer, block, None, None, f"blocks.{block}.hook_{what}")
    last = block == n_layers - 1
    return Names(layer, block, None if last else block + 1, block + 1, f"blocks.{block}.hook_resid_post")


def check_names(
    names: Names,
    hooked: Any,
    contexts: Sequence[tuple[Sequence[int], Sequence[int]]],
    rows: NDArray[Any],
    dtype: str,
) -> Mapping[str, float]:
    """Check rows against the model: the block's output, and transformers' entry under the converted index.

    contexts: (token ids, token indices that a row is the mean of) of each of the `rows` (n, d_model). Returns the
    largest relative error of each comparison that can be made. Raises ActivationsError where one is beyond `TOLERANCE`.
    """
    import torch

    from agents.hooks.hooks import Hooks, Reads, named_points

    point, _, number = names.name.partition(".")
    word = "embed" if point == "embed" else number if point == "resid_post" else point
    points = named_points(hooked.layout, [word] if word in (number, "embed") else [number, word])
    place = points.names().index(names.name)
    hooks, off = Hooks(hooked.layout, points), {"block output": 0.0}
    tolerance = TOLERANCE if dtype == "float32" else 40 * TOLERANCE
    with hooks.attached(), torch.inference_mode():
        for (ids, at), row in zip(contexts, rows, strict=True):
            columns = torch.tensor(list(at), device=hooked.device)
            slots = torch.zeros_like(columns)
            hooks.plan(Reads(torch.zeros_like(columns), columns, slots, 1))
            inputs = torch.tensor([list(ids)], device=hooked.device)
            states = hooked.model(input_ids=inputs, use_cache=False, output_hidden_states=True).hidden_states
            own = hooks.take()[0, place].float().cpu().numpy()
            off["block output"] = max(off["block output"], _relative(row, own))
            if names.hidden_states is not None:
                theirs = states[names.hidden_states][0, list(at)].float().mean(dim=0).cpu().numpy()
                key = f"hidden_states[{names.hidden_states}]"
                off[key] = max(off.get(key, 0.0), _relative(row, theirs))
    for what, error in off.items():
        if not error <= tolerance:
            raise ActivationsError(
                f"rows of {names.name} differ from the model's {what} by {error:.1e} (at most {tolerance:.0e}): the "
                "store and this model, or the index conventions, do not belong together; nothing was written"
            )
    return off


def _relative(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.linalg.norm(a - b) / max(1e-12, float(np.linalg.norm(b))))
