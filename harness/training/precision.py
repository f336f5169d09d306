"""The device that a model is trained on, and the precision in which it multiplies matrices fast."""

from __future__ import annotations

import torch


def mixed_precision(device: str) -> bool:
    """Whether matrices are multiplied in bfloat16: where the device (its kind: `cpu`, `cuda`) does so natively."""
    return device != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())


def device_of(name: str) -> str:
    """`cpu` or `cuda`."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if name == "gpu" else name
