"""The precision in which a device multiplies matrices fast."""

from __future__ import annotations

import torch


def mixed_precision(device: str) -> bool:
    """Whether matrices are multiplied in bfloat16: where the device (its kind: `cpu`, `cuda`) does so natively."""
    return device != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())
