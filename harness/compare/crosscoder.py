"""A BatchTopK crosscoder: one code for the streams of two models, a decoder for each.

    z = relu(a @ W_a + b @ W_b + bias); of a batch the largest k per row are kept, ranked by z times both decoders'
    norms a' = z @ D_a + c_a,  b' = z @ D_b + c_b

Outside training a threshold, the mean of the smallest kept value, replaces the batch's top k, so that a row's code
does not depend on other rows (Bussmann et al. 2024, "BatchTopK sparse autoencoders"; Minder et al. 2025, "Overcoming
sparsity artifacts in crosscoders", for its use on two models). Streams are centred and scaled to a mean length of
sqrt(d_model) for each model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import torch
from torch import nn


class Settings(msgspec.Struct, frozen=True):
    """The settings of a crosscoder's training."""

    n_latents: int = 512
    k: int = 12
    """Latents that are active in a row, on average."""
    steps: int = 1200
    batch: int = 1024
    rate: float = 1e-3
    """Highest learning rate of Adam; it falls linearly to zero over the last fifth."""
    held_out: float = 0.2
    """Share of the rows, the last ones, held out from training."""


class Crosscoder(nn.Module):
    """`(n_rows, 2, d_model)` to codes `(n_rows, n_latents)` and back."""

    threshold: torch.Tensor
    center: torch.Tensor
    scale: torch.Tensor

    def __init__(self, d_model: int, settings: Settings, generator: torch.Generator) -> None:
        super().__init__()
        directions = torch.randn(settings.n_latents, 2, d_model, generator=generator)
        directions[:, 1] = directions[:, 0]  # both decoders begin equal
        directions /= directions.norm(dim=-1, keepdim=True)
        self.settings = settings
        self.decoder = nn.Parameter(0.4 * directions)
        self.encoder = nn.Parameter(0.2 * directions.clone())
        self.bias = nn.Parameter(torch.zeros(settings.n_latents))
        self.offset = nn.Parameter(torch.zeros(2, d_model))
        self.register_buffer("threshold", torch.tensor(0.0))
        self.register_buffer("center", torch.zeros(2, d_model))
        self.register_buffer("scale", torch.ones(2, 1))

    def normal(self, streams: torch.Tensor) -> torch.Tensor:
        """The streams centred and scaled."""
        return (streams - self.center) / self.scale

    def potential(self, x: torch.Tensor) -> torch.Tensor:
        """Pre-selection activations `(n_rows, n_latents)` of normalised streams."""
        return torch.relu(torch.einsum("nsd,lsd->nl", x, self.encoder) + self.bias)

    def weight(self) -> torch.Tensor:
        """Sum of both decoders' norms `(n_latents,)`."""
        lengths: torch.Tensor = self.decoder.norm(dim=-1).sum(dim=-1)
        return lengths

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        """Codes of normalised streams, each row independent of the others."""
        z = self.potential(x)
        return z * (z * self.weight() > self.threshold)

    def decoded(self, z: torch.Tensor) -> torch.Tensor:
        """Normalised streams `(n_rows, 2, d_model)` reconstructed from codes."""
        return torch.einsum("nl,lsd->nsd", z, self.decoder) + self.offset


def train_crosscoder(
    streams: torch.Tensor, settings: Settings, seed: int, say: Callable[[str], None] = lambda text: None
) -> Crosscoder:
    """A crosscoder trained on `streams` `(n_rows, 2, d_model)` float32, without the held-out rows at the end."""
    generator = torch.Generator().manual_seed(seed)
    n_train = max(1, int(len(streams) * (1 - settings.held_out)))
    coder = Crosscoder(streams.shape[2], settings, generator)
    with torch.no_grad():
        coder.center.copy_(streams[:n_train].mean(dim=0))
        lengths = (streams[:n_train] - coder.center).norm(dim=-1).mean(dim=0)
        coder.scale.copy_((lengths / streams.shape[2] ** 0.5).clamp_min(1e-6)[:, None])
    optim = torch.optim.Adam(coder.parameters(), lr=settings.rate, betas=(0.9, 0.999))
    smallest: Any = None
    for step in range(settings.steps):
        rows = torch.randint(n_train, (min(settings.batch, n_train),), generator=generator)
        x = coder.normal(streams[rows])
        z = coder.potential(x)
        weighed = z * coder.weight()
        kept = min(settings.k * len(rows), int((weighed > 0).sum()))
        limit = weighed.flatten().topk(max(1, kept)).values[-1].detach()
        z = z * (weighed >= limit)
        loss = (coder.decoded(z) - x).pow(2).sum(dim=(1, 2)).mean()
        loss.backward()
        for group in optim.param_groups:
            group["lr"] = settings.rate * min(1.0, (settings.steps - step) / (0.2 * settings.steps))
        optim.step()
        optim.zero_grad(set_to_none=True)
        smallest = limit if smallest is None else 0.98 * smallest + 0.02 * limit
        if step % 500 == 499:
            say(f"crosscoder: {step + 1:,} of {settings.steps:,} steps, loss {loss.item():.2f}")
    with torch.no_grad():
        coder.threshold.copy_(smallest)
    return coder.eval()
