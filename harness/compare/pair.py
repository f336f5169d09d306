"""Two models of one architecture, loaded: whole folders, or adapters on the same base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from agents.hooks.hooks import Hooks, Points, Reads
from agents.hooks.model import HookedModel, load_hooked_model
from agents.models.small import find_model
from harness.compare.contexts import Compared
from harness.errors import ConfigurationError


class Pass(NamedTuple):
    """One model's predictions on a batch of contexts, and its streams."""

    logs: torch.Tensor
    """Log-probabilities of each next token `(n_contexts, n_tokens, n_words)`, float32, CPU."""
    streams: torch.Tensor
    """`(n_all_tokens, n_points, d_model)` float32, CPU: the contexts' tokens one after the other."""


def load_model(folder: str | Path, device: str = "auto") -> HookedModel:
    """A model's folder, or an adapter's, merged into its base, so that both models' parameters have the same names.

    Raises ModelFilesError, also where the adapter changes nothing.
    """
    return load_hooked_model(find_model(folder), device=device, merged=True)


def check_comparable(a: HookedModel, b: HookedModel) -> None:
    """Raises ConfigurationError unless both have the same depth, width and words."""
    for what, of in (
        ("layers", lambda m: m.layout.n_layers),
        ("width", lambda m: m.layout.d_model),
        ("vocabulary", lambda m: m.vocab_size),
    ):
        if of(a) != of(b):
            raise ConfigurationError(
                f"{a.name} has {what} {of(a)}, {b.name} has {of(b)}: only checkpoints of one architecture can be "
                "compared token by token"
            )
    if None not in (a.tokenizer, b.tokenizer) and a.tokenizer.get_vocab() != b.tokenizer.get_vocab():
        raise ConfigurationError(f"{a.name} and {b.name} give their token ids to other words; give checkpoints that "
                                 "share a tokenizer")  # fmt: skip


def padded(batch: Sequence[Compared]) -> torch.Tensor:
    """The contexts' token ids `(n_contexts, n_tokens)`, padded on the right, where causal attention cannot see it."""
    width = max(len(one.view.ids) for one in batch)
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    for row, one in enumerate(batch):
        ids[row, : len(one.view.ids)] = torch.tensor(one.view.ids)
    return ids


def places(batch: Sequence[Compared]) -> tuple[torch.Tensor, torch.Tensor]:
    """(row, column) of every token of the contexts, one context after the other."""
    rows, columns = torch.tensor([(r, c) for r, one in enumerate(batch) for c in range(len(one.view.ids))]).T
    return rows, columns


@torch.inference_mode()
def read(hooked: HookedModel, points: Points, batch: Sequence[Compared]) -> Pass:
    """One forward pass over a batch, with the streams of all its tokens."""
    rows, columns = places(batch)
    device = hooked.device
    reads = Reads(rows.to(device), columns.to(device), torch.arange(len(rows), device=device), len(rows))
    hooks = Hooks(hooked.layout, points)
    with hooks.attached():
        hooks.plan(reads)
        logits = hooked.model(input_ids=padded(batch).to(device), use_cache=False).logits
    return Pass(torch.log_softmax(logits.float(), dim=-1).cpu(), hooks.take().float().cpu())


@torch.inference_mode()
def speak(hooked: HookedModel, batch: Sequence[Compared]) -> torch.Tensor:
    """Only `Pass.logs`, of the model in its present state (its weights or hooks may have been changed)."""
    logits = hooked.model(input_ids=padded(batch).to(hooked.device), use_cache=False).logits
    return torch.log_softmax(logits.float(), dim=-1).cpu()


def divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) in nats, from log-probabilities `(..., n_words)`."""
    return (p.exp() * (p - q)).sum(dim=-1)
