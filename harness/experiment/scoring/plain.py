"""Exact answer probabilities by a forward pass for each version of a moment: the reference, and for models whose
attention cannot be packed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.hooks.hooks import Hooks, Points, Reads
from agents.hooks.model import HookedModel
from agents.hooks.steering import Steering
from harness.experiment.scoring.questions import ANSWER_FLOOR, Ask, Scores


class PlainScorer:
    """Computes every prompt followed by every answer, without a cache."""

    def __init__(self, hooked: HookedModel, max_tokens: int = 16_384) -> None:
        """max_tokens: of a batch, padding included."""
        self.hooked, self.max_tokens = hooked, max_tokens
        self.n_tokens = 0
        """Tokens computed so far."""

    def forget(self) -> None:
        """Nothing is cached."""

    @torch.inference_mode()
    def score(self, asks: Sequence[Ask]) -> Scores:
        """The log-probability (nats) of every answer of every question."""
        return [self._one(ask) for ask in asks]

    @torch.inference_mode()
    def streams(self, ids: Sequence[int], positions: Sequence[int], layers: Sequence[int]) -> Tensor:
        """The residual stream after some layers at some tokens of a context: float32 (n_positions, n_layers, d)."""
        chosen = tuple(sorted(set(layers)))
        hooks = Hooks(self.hooked.layout, Points(chosen))
        columns = torch.tensor(list(positions))
        slots = torch.arange(len(columns))
        with hooks.attached():
            hooks.plan(Reads(torch.zeros_like(columns), columns, slots, len(columns)))
            self.hooked.model(input_ids=torch.tensor([list(ids)], device=self.hooked.device), use_cache=False)
            read = hooks.take()
        return read[:, [chosen.index(layer) for layer in layers]].float().cpu()

    def _one(self, ask: Ask) -> np.ndarray:
        rows = [(*ask.ids, *choice[:-1]) for choice in ask.choices]
        size = max(1, self.max_tokens // max(map(len, rows)))
        parts = [
            self._batch(ask, rows[i : i + size], ask.choices[i : i + size]) for i in range(0, len(rows), size)
        ]
        return np.maximum(np.concatenate(parts), ANSWER_FLOOR)

    def _batch(
        self, ask: Ask, rows: Sequence[tuple[int, ...]], choices: Sequence[tuple[int, ...]]
    ) -> np.ndarray:
        width, n = max(map(len, rows)), len(ask.ids)
        # padding on the right: no token attends to later ones
        inputs = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=self.hooked.device)
        layout = self.hooked.layout
        steering = Steering([ask.edits] * len(rows), [n] * len(rows), layout.d_model, layout.n_layers)
        edits = steering.edits(range(len(rows)), [0] * len(rows), [len(r) for r in rows], [0] * len(rows))
        hooks = Hooks(layout, Points((0,)), editing=bool(edits))
        with hooks.attached():
            hooks.plan(None, edits)
            logits = self.hooked.model(input_ids=inputs, use_cache=False).logits
            hooks.check_touched()
        steering.checked()
        self.n_tokens += inputs.numel()
        logprobs = torch.log_softmax(logits.float(), dim=-1).cpu()
        return np.array(
            [
                sum(float(logprobs[b, n - 1 + k, token]) for k, token in enumerate(choice))
                for b, choice in enumerate(choices)
            ]
        )
