"""The log-probabilities that a causal model of transformers gives to the learned tokens of a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy

from harness.training.language.batches import KINDS, Batch, rounded


class Scores(NamedTuple):
    """The scores of the learned tokens."""

    nats: torch.Tensor
    """Cross-entropy `(n_learned,)`, float32, with gradients where they are on."""
    right: torch.Tensor
    """Whether the token is the most probable one `(n_learned,)`."""


def score(model: Any, batch: Batch) -> Scores:
    """One forward pass. Logits are computed only for the learned tokens: with large vocabularies they dominate the
    cost."""
    head = model.get_output_embeddings()
    n = len(batch.source)
    source, target = (torch.nn.functional.pad(x, (0, rounded(n) - n)) for x in (batch.source, batch.target))

    def keep(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0].flatten(0, 1)[source][None], *inputs[1:])

    handle = head.register_forward_pre_hook(keep)
    try:
        logits = model(
            input_ids=batch.ids,
            attention_mask=_mask(model, batch),
            position_ids=batch.position,
            use_cache=False,
        ).logits[0]
    finally:
        handle.remove()
    logits = logits.float()
    nats, right = cross_entropy(logits, target, reduction="none"), logits.argmax(-1) == target
    return Scores(nats[:n], right[:n])


def _mask(model: Any, batch: Batch) -> torch.Tensor:
    """The mask in the form that transformers expects: a full mask becomes additive."""
    if batch.mask.ndim == 2:
        return batch.mask
    dtype = next(model.parameters()).dtype
    closed = torch.zeros(batch.mask.shape, dtype=dtype, device=batch.mask.device)
    return closed.masked_fill(~batch.mask, torch.finfo(dtype).min)


def weighted(scores: Scores, batch: Batch, weights: torch.Tensor) -> torch.Tensor:
    """The mean of the nats, weighted by the weights of their kinds `(len(KINDS),)`."""
    each = weights[batch.kind]
    return (scores.nats * each).sum() / each.sum().clamp(min=1e-9)


class Tally:
    """Sums over batches, by kind."""

    def __init__(self) -> None:
        self.n, self.nats, self.answers, self.whole = (torch.zeros(len(KINDS)) for _ in range(4))

    def add(self, scores: Scores, batch: Batch) -> None:
        """Add one batch."""
        kind = batch.kind.cpu()
        self.n += torch.bincount(kind, minlength=len(KINDS))
        self.nats += torch.zeros(len(KINDS)).index_add(0, kind, scores.nats.detach().float().cpu())
        n_groups = int(batch.group.max()) + 1 if len(batch.group) else 0
        wrong = torch.zeros(n_groups).index_add(0, batch.group.cpu(), (~scores.right).float().cpu())
        first = torch.zeros(n_groups, dtype=torch.int64).scatter(0, batch.group.cpu(), kind)
        self.answers += torch.bincount(first, minlength=len(KINDS))
        self.whole += torch.zeros(len(KINDS)).index_add(0, first, (wrong == 0).float())

    def row(self) -> dict[str, float]:
        """kind -> nats a token, and `kind_whole` -> share of answers of which every token is the most probable."""
        found: dict[str, float] = {}
        for i, kind in enumerate(KINDS):
            if self.n[i]:
                found[kind] = round(float(self.nats[i] / self.n[i]), 4)
                found[f"{kind}_whole"] = round(float(self.whole[i] / self.answers[i]), 4)
        return found
