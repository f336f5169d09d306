"""Choosing the next token of each row of a batch, each row with its own settings and random stream."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from agents.backends.base import Sampling


def generator_for(sampling: Sampling) -> torch.Generator:
    """The row's own stream: from its seed, or from the operating system where it has none."""
    generator = torch.Generator(device="cpu")
    seed = sampling.seed if sampling.seed is not None else int.from_bytes(os.urandom(7), "little")
    generator.manual_seed(seed % 2**63)
    return generator


def sample_row(
    logprobs: Tensor, sampling: Sampling, generator: torch.Generator, allowed: Sequence[int] | None = None
) -> int:
    """One token id from log-probabilities (vocab,) in float32 on the CPU.

    allowed: if given, only these ids; temperature and top_p act on what is left.
    """
    if allowed is not None:
        ids = torch.tensor(list(allowed), dtype=torch.long)
        return int(ids[sample_row(logprobs[ids], sampling, generator)])
    if sampling.temperature <= 0:
        return int(logprobs.argmax())
    probabilities = torch.softmax(logprobs / sampling.temperature, dim=-1)
    if sampling.top_p < 1.0:
        ordered, order = probabilities.sort(descending=True)
        ordered[ordered.cumsum(0) - ordered >= sampling.top_p] = 0.0  # the most likely token always stays
        return int(order[torch.multinomial(ordered, 1, generator=generator)])
    return int(torch.multinomial(probabilities, 1, generator=generator))
