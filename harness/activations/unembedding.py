"""The unembedding directions of the players' names, stored beside the rows: `names.safetensors`.

One vector a name, by its first token as it stands after a space: the row of the unembedding, with the scale of the
final norm folded in. The dot product with the residual stream is, up to the stream's length, the logit of that token
(the logit lens), a probe with nothing fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from harness.activations.format import NAMES
from harness.atomic import replacing

HEADS = ("lm_head.weight", "embed_out.weight", "model.embed_tokens.weight", "transformer.wte.weight")
"""Names of the unembedding tensor in a checkpoint: a separate one first, then tied embeddings."""
NORMS = ("model.norm.weight", "transformer.ln_f.weight", "gpt_neox.final_layer_norm.weight")
OFFSET_NORMS = ("gemma",)
"""Families of models whose norms scale by one plus the weight."""


def write_names(
    store: str | Path, model: Path, tokenizer: Any, names: Sequence[str], family: str
) -> Path | None:
    """Write the vectors of the names into a store's folder, unless present; returns the path.

    None where the checkpoint keeps its unembedding or final norm under names that are not known here. `family` is the
    `model_type` of its configuration. Raises StorageError.
    """
    path = Path(store) / NAMES
    if path.is_file():
        return path
    head, norm = _first(model, HEADS), _first(model, NORMS)
    if head is None or norm is None:
        return None
    scale = norm.astype(np.float32) + (1 if family.startswith(OFFSET_NORMS) else 0)
    vectors = {}
    for name in sorted(set(names)):
        ids = tokenizer.encode(f" {name}", add_special_tokens=False)
        if ids:
            vectors[name] = np.ascontiguousarray(head[ids[0]].astype(np.float32) * scale)
    with replacing(path) as partial:
        save_file(vectors, partial)
    return path


def _first(model: Path, wanted: Sequence[str]) -> NDArray[Any] | None:
    """The first of the tensors that the folder's files hold, as float32."""
    import torch
    from safetensors import safe_open

    for key in wanted:
        for file in sorted(model.glob("*.safetensors")):
            with safe_open(file, "pt") as tensors:
                if key in tensors.keys():  # noqa: SIM118 (safe_open has no __contains__)
                    return np.asarray(tensors.get_tensor(key).to(torch.float32).numpy())
    return None
