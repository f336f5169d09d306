"""A model in this process with a LoRA adapter, checked against the row of log-probabilities saved with the adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open

from agents.models.adapter import CONFIG, WEIGHTS, Parity, check_row, parity_of
from agents.models.errors import ModelFilesError

PROBE = tuple(range(4, 20))
"""Token ids of the context on which an adapter without a saved row is checked."""
READ = 8
"""Number of most probable next tokens that are compared."""


def with_adapter(model: Any, folder: Path, dtype: str, merged: bool = False) -> Any:
    """The model with the folder's adapter in it: merged in float32, beside the weights in other dtypes, where adding
    them up would lose part of it, unless `merged`. Raises ModelFilesError where it does not fit or changes nothing."""
    try:
        from peft import PeftModel
        from peft.utils import get_peft_model_state_dict
    except ImportError as error:
        raise ModelFilesError(
            f"'{folder}' is a LoRA adapter, and the package peft is not installed: pip install 'wolfscope[models]'"
        ) from error
    kept = parity_of(folder)
    ids = PROBE if kept is None else kept.ids
    before = next_logprobs(model, ids)
    read = tuple(before.topk(READ).indices.tolist()) if kept is None else kept.read
    try:
        adapted: Any = PeftModel.from_pretrained(model, str(folder), is_trainable=False)
        with safe_open(str(folder / WEIGHTS), framework="pt") as file:
            stored = set(file.keys())
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        raise ModelFilesError(
            f"the adapter '{folder}' cannot be put into its base ({type(error).__name__}: {error}); it was trained on "
            f"another model, or its {CONFIG} is not its own"
        ) from error
    wanted = set(get_peft_model_state_dict(adapted))
    if stored != wanted:
        odd = sorted(stored ^ wanted)
        raise ModelFilesError(
            f"the adapter '{folder}' does not fit its base: {len(stored - wanted)} of its tensors have no place there, "
            f"{len(wanted - stored)} are missing ({', '.join(odd[:2])}); it was trained on another model"
        )
    adapted.eval()
    after = next_logprobs(adapted, ids)
    chosen = list(read)
    check_row(folder, "transformers", dtype, after[chosen].tolist(), before[chosen].tolist(), kept)
    return adapted.merge_and_unload() if merged or dtype == "float32" else adapted.get_base_model()


@torch.inference_mode()
def next_logprobs(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of the next token `(n_words,)`, float32, on the CPU."""
    device = next(model.parameters()).device
    logits = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0, -1]
    return torch.log_softmax(logits.float(), -1).cpu()


def parity_row(model: Any, ids: Sequence[int]) -> Parity:
    """The row that is kept with an adapter: of a `peft` model, with it and without it."""
    model.eval()
    after = next_logprobs(model, ids)
    with model.disable_adapter():
        before = next_logprobs(model, ids)
    read = after.topk(READ).indices
    row = {
        "ids": ids,
        "read": read.tolist(),
        "adapter": after[read].tolist(),
        "base": before[read].tolist(),
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    return msgspec.convert(row, Parity)
