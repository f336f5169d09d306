"""Linear maps of float32 by oneDNN where torch would take MKL, which multiplies with half of the width of an AMD
processor (`make bench-capture` takes both in turns)."""

from __future__ import annotations

import torch
from torch import nn

SMALL, LARGE = 2**21, 2**25
"""Products of a small number of multiplications are as fast by MKL. oneDNN makes code for every new shape, in .4 ms,
which goes unnoticed in large products alone: below, numbers of rows are rounded up."""
ROUND = 32
"""To multiples of this."""


class OneDnnLinear(nn.Linear):
    """`nn.Linear` whose products without gradients are oneDNN's; of the same weights, in the same state dict."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The same as `nn.Linear`'s to rounding."""
        rows = input.numel() // self.in_features
        n = rows * self.in_features * self.out_features
        plain = (
            n < SMALL
            or torch.is_grad_enabled()
            or not (_multiplied_here(self.weight) and input.dtype == torch.float32)  # it may have been moved
            or torch.is_autocast_enabled("cpu")
            or torch.compiler.is_compiling()
        )
        if plain:
            return super().forward(input)
        x = input.reshape(rows, self.in_features)
        if n < LARGE:
            x = torch.nn.functional.pad(x, (0, 0, 0, -rows % ROUND))
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out[:rows].view(*input.shape[:-1], self.out_features)


def _multiplied_here(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu"


def faster_linear(model: nn.Module) -> None:
    """Let the model's linear maps of float32 on the CPU multiply by oneDNN, where that is faster: they become
    `OneDnnLinear` in place. Others are left as they are, and pay for no question."""
    if not mkl_is_slow():
        return
    for module in model.modules():
        if type(module) is nn.Linear and _multiplied_here(module.weight):
            module.__class__ = OneDnnLinear


def mkl_is_slow() -> bool:
    """Whether this is an AMD processor and torch has both libraries."""
    amd = str(torch.cpu.get_capabilities().get("cpu_name", "")).startswith("AMD")
    return amd and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
