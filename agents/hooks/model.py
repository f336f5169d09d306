"""A Hugging Face model loaded for reading: weights in the checkpoint's own dtype, layout found, tokenizer at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn

from agents.hooks.layers import DecoderLayout, find_layout
from agents.hooks.linear import faster_linear
from agents.models.adapter import base_of, is_adapter
from agents.models.folder import (
    ModelFilesError,
    check_loaded,
    check_model_dir,
    check_tensor_names,
    checkpoint_dtype,
    eos_ids,
    load_tokenizer,
    max_context,
    model_name,
    read_config,
    vocab_size,
)

UNLOADABLE = (
    *(
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        ImportError,
    ),
    *(SafetensorError, StrictDataclassError),
)
"""What transformers raises for folders whose files do not fit each other."""
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class HookedModel:
    """A model in eval mode on one device."""

    model: nn.Module
    layout: DecoderLayout
    name: str
    """`name@hash`."""
    device: torch.device
    max_context: int
    vocab_size: int
    eos: tuple[int, ...] = ()
    tokenizer: Any = None

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype


def load_hooked_model(
    model_dir: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    attention: str = "sdpa",
    merged: bool = False,
) -> HookedModel:
    """Load a model folder, or an adapter's with its base (`agents.hooks.adapted`).

    dtype: `auto` is the dtype that the checkpoint was saved in (float32 where it states none).
    device: `auto` is the first GPU, or the CPU.
    attention: transformers' attn_implementation. sdpa reads 512-token contexts 3 times as fast as eager on a CPU
    and 2,000-token contexts 6 times, and there leaves out what masks hide (`agents.hooks.attention`); eager decodes
    short contexts about 1.2 times as fast.
    merged: an adapter is added to its base's weights in any dtype, so that parameters are named as the base's.
    Raises ModelFilesError (also where a tensor is missing, left over, or of another shape), UnknownArchitecture.
    """
    from agents.hooks.attention import NAME as SEEN
    from agents.models.classes import AutoModelForCausalLM, logging

    logging.disable_progress_bar()  # a bar for reading local files breaks into the run's own lines
    folder = check_model_dir(model_dir)
    name = checkpoint_dtype(folder) if dtype == "auto" else dtype
    if name not in _DTYPES:
        raise ValueError(f"dtype '{dtype}' is not known; give auto, {', '.join(_DTYPES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    base = base_of(folder) if is_adapter(folder) else folder
    _check_quantisation(base)
    check_tensor_names(base)
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(
            str(base),
            dtype=_DTYPES[name],
            attn_implementation=SEEN if attention == "sdpa" and device == "cpu" else attention,
            local_files_only=True,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except UNLOADABLE as error:
        if "trust_remote_code" in str(error):
            raise ModelFilesError(
                f"the model in '{folder}' is code that the folder carries (auto_map in its config.json), and no code "
                "of a model's folder is run; use a model of an architecture that transformers itself has"
            ) from error
        raise ModelFilesError(
            f"the model in '{folder}' cannot be loaded ({type(error).__name__}: {error}); "
            "check that config.json and the weights are of the same checkpoint and complete"
        ) from error
    check_loaded(
        folder,
        loaded["missing_keys"],
        loaded["unexpected_keys"],
        [str(key[0]) for key in loaded["mismatched_keys"]],
    )
    model.to(device).eval()
    if base != folder:
        from agents.hooks.adapted import with_adapter

        model = with_adapter(model, folder, name, merged)
    return hook_model(
        model,
        model_name(folder),
        tokenizer=load_tokenizer(folder),
        eos=eos_ids(folder),
        context=max_context(folder),
        vocab=vocab_size(folder),
    )


def _check_quantisation(folder: Path) -> None:
    """transformers loads weights of a quantisation that it does not know as they are. Raises ModelFilesError."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    method = (read_config(folder).get("quantization_config") or {}).get("quant_method")
    if method is not None and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise ModelFilesError(
            f"'{folder / 'config.json'}': quantization_config.quant_method is {str(method)[:40]!r}, which transformers "
            "does not know; use a checkpoint that is not quantised"
        )


def hook_model(
    model: nn.Module,
    name: str,
    *,
    tokenizer: Any = None,
    eos: tuple[int, ...] = (),
    context: int | None = None,
    vocab: int | None = None,
) -> HookedModel:
    """Wrap a model already in memory (for tests, or a model changed after loading); its linear maps may become others
    of the same weights (`agents.hooks.linear`)."""
    faster_linear(model)
    config: Any = model.config
    text = config.get_text_config()
    return HookedModel(
        model=model,
        layout=find_layout(model),
        name=name,
        device=next(model.parameters()).device,
        max_context=context or int(getattr(text, "max_position_embeddings", 2048)),
        vocab_size=vocab or int(text.vocab_size),
        eos=eos,
        tokenizer=tokenizer,
    )
