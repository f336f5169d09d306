"""One policy-gradient step: clipped probability ratios of whole decisions, with a KL penalty to the starting model.

A decision is all of a seat's own tokens in one answer; its ratio is its current probability over its stored
probability when drawn. Others' tokens are context and never trained on. (Schulman et al. 2017, "Proximal policy
optimization algorithms", arXiv:1707.06347, with decisions for actions.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.training.selfplay.contexts import LearnerContext, Own
from harness.training.selfplay.learner import Learner
from harness.training.selfplay.settings import ObjectiveSection, SelfPlayError


class Batch(NamedTuple):
    """A batch of contexts, padded on the right, with `n_own` own tokens of the seats in `n_made` decisions."""

    ids: Tensor
    """int64 `(n_contexts, n_tokens)`."""
    rows: Tensor
    """int64 `(n_own,)`: the context of each own token."""
    columns: Tensor
    """int64 `(n_own,)`: the position that predicts it, one before it."""
    tokens: Tensor
    """int64 `(n_own,)`."""
    drawn: Tensor
    """float32 `(n_own,)`: log-probability when it was drawn, nats."""
    decision: Tensor
    """int64 `(n_own,)`: index of its decision."""
    advantage: Tensor
    """float32 `(n_made,)`."""
    made: list[Own]

    def to(self, device: Any) -> Batch:
        """The same on a device."""
        moved: list[Any] = [x.to(device) if isinstance(x, Tensor) else x for x in self]
        return Batch._make(moved)


def collate(contexts: Sequence[LearnerContext], pad: int = 0) -> Batch:
    """Contexts as one batch, each up to its last own token."""
    ends = [c.own[-1].end for c in contexts]
    ids = torch.full((len(contexts), max(ends)), pad)
    rows, columns, tokens, drawn, decision = (list[Any]() for _ in range(5))
    made: list[Own] = []
    for row, (c, end) in enumerate(zip(contexts, ends, strict=True)):
        ids[row, :end] = torch.tensor(c.ids[:end])
        for own in c.own:
            n = own.end - own.start
            if len(own.logprobs) != n:
                raise SelfPlayError(
                    f"decision {own.seq} has {n} tokens and {len(own.logprobs)} log-probabilities: they are stored "
                    "when a token is drawn, and there is no ratio without them"
                )
            rows += [row] * n
            columns += range(own.start - 1, own.end - 1)
            tokens += c.ids[own.start : own.end]
            drawn += own.logprobs
            decision += [len(made)] * n
            made.append(own)
    return Batch(
        ids,
        torch.tensor(rows),
        torch.tensor(columns),
        torch.tensor(tokens),
        torch.tensor(drawn, dtype=torch.float32),
        torch.tensor(decision),
        torch.tensor([own.advantage for own in made], dtype=torch.float32),
        made,
    )


def batches(contexts: Sequence[LearnerContext], tokens: int) -> Iterator[Batch]:
    """The contexts in batches of at most `tokens` tokens, padding included, similar lengths together."""
    some: list[LearnerContext] = []
    for c in sorted(contexts, key=lambda c: c.own[-1].end):
        if some and (len(some) + 1) * c.own[-1].end > tokens:
            yield collate(some)
            some = []
        some.append(c)
    if some:
        yield collate(some)


class Measured(NamedTuple):
    """Measurements of a step, one entry per decision except in `gap`."""

    ratio: np.ndarray
    kl: np.ndarray
    """Divergence from the starting model, nats per decision; NaN where not measured."""
    entropy: np.ndarray
    """Sum of the conditional entropies of the decision's own tokens, nats."""
    kinds: list[str]
    gap: np.ndarray
    """|trainer's log-probability - sampler's|, one entry per token."""


def objective(
    learner: Learner, batch: Batch, settings: ObjectiveSection, scale: float, measure_kl: bool
) -> tuple[Tensor, Measured]:
    """The loss of a batch, a sum over its decisions; scale: advantages are divided by it."""
    logits = learner.logits(batch.rows, batch.columns, batch.ids)
    logprobs = torch.log_softmax(logits, -1)
    own = logprobs.gather(1, batch.tokens[:, None])[:, 0]
    apart = own - batch.drawn
    ratio = _summed(apart, batch).exp()
    advantage = batch.advantage / scale
    clipped = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
    loss = -torch.minimum(ratio * advantage, clipped * advantage).sum()
    kl = torch.full_like(ratio, torch.nan)
    if measure_kl and settings.kl_weight > 0:
        start = torch.log_softmax(learner.start_logits(batch.rows, batch.columns, batch.ids), -1)
        each = _summed((logprobs.exp() * (logprobs - start)).sum(-1), batch)
        loss = loss + settings.kl_weight * settings.kl_every * each.sum()
        kl = each.detach()
    entropy = _summed(-(logprobs.exp() * logprobs).sum(-1).detach(), batch)
    return loss, Measured(
        ratio.detach().cpu().numpy(),
        kl.cpu().numpy(),
        entropy.cpu().numpy(),
        [own.kind for own in batch.made],
        apart.detach().abs().cpu().numpy(),
    )


def _summed(values: Tensor, batch: Batch) -> Tensor:
    """`(n_own,)` values summed over each decision."""
    return torch.zeros(len(batch.made), dtype=values.dtype, device=values.device).index_add(
        0, batch.decision, values
    )


def check_weights(contexts: Sequence[LearnerContext], weights: str) -> None:
    """Raises SelfPlayError where a context was not drawn by the weights about to be trained on it."""
    for c in contexts:
        if c.weights != weights:
            raise SelfPlayError(
                f"a rollout was drawn by weights {c.weights}, but those in training are {weights}: the ratio would be "
                "that of two policies; play the rollouts again"
            )
