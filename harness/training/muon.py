"""Muon, with matrices of equal shape batched and multiplied in a precision that is fast on the device.

The update is that of `torch.optim.Muon` (Jordan 2024, "Muon: An optimizer for hidden layers in neural networks"), whose
iterations run in bfloat16 on one matrix after another. A CPU without bfloat16 arithmetic emulates it, which took two
thirds of a training step (`make bench-training`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch

from harness.training.precision import mixed_precision

EPS: Final = 1e-7


class Muon(torch.optim.Muon):
    """`torch.optim.Muon` with its own settings and state, so that each can load the other's checkpoints.

    Its parameters are matrices. Numbers differ from torch's by the rounding of bfloat16 where it computes in float32.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; what `closure` returns, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
                self._update(parameters, gradients, shape, group)
        return loss

    def _update(
        self,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        shape: torch.Size,
        group: dict[str, Any],
    ) -> None:
        momentum, rate = group["momentum"], group["lr"]
        moved = []
        for parameter, gradient in zip(parameters, gradients, strict=True):
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffer = state["momentum_buffer"]
            buffer.lerp_(gradient, 1 - momentum)
            moved.append(gradient.lerp(buffer, momentum) if group["nesterov"] else buffer)
        updates = orthogonal(torch.stack(moved), group["ns_coefficients"], group["ns_steps"])
        size = max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(parameters, updates.to(parameters[0].dtype), strict=True):
            parameter.mul_(1 - rate * group["weight_decay"])
            parameter.add_(update, alpha=-rate * size)


def orthogonal(
    matrices: torch.Tensor, coefficients: tuple[float, float, float], n_steps: int
) -> torch.Tensor:
    """Approximately the nearest semi-orthogonal matrix to each, by Newton-Schulz iterations, `(n, rows, columns)` as
    given.

    In bfloat16 where the device multiplies in it natively, else in float32.
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.to(torch.bfloat16 if mixed_precision(matrices.device.type) else torch.float32)
    if tall:
        x = x.transpose(1, 2)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(n_steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
