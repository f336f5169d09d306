"""The training loop of all small models: steps on batches, with a folder to resume from.

Muon for the matrices, AdamW for embeddings, head and norms: with AdamW alone a model of this size takes thousands of
steps to learn to look up facts in its context.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from harness.training.batches import Batch
from harness.training.checkpoint import checkpoint, resume
from harness.training.muon import Muon
from harness.training.together import ALONE, Together

RATES = (0.01, 3e-3)
"""Highest learning rates of Muon and AdamW."""
WARM_UP = 0.05
"""Share of the tokens over which `falling` rises."""
RISE, FALL = 0.02, 0.6
"""Shares of the tokens over which `rise_and_fall` rises, and falls."""
CURVE = ("tokens", "text", "choice", "belief", "speech", "naming")
"""Fields of a line of the loss curve: tokens so far, then nats per target of each kind."""

Progress = dict[str, Any]
"""The content of a checkpoint: `settings`, `tokens` and `step` so far, and the position in the data (`game`, ...)."""


def falling(done: int, tokens: int, highest: float) -> float:
    """Learning-rate factor after `done` of the tokens: a short rise, and a linear fall to zero."""
    return highest * min(1.0, (done / tokens + 0.01) / WARM_UP) * (1.0 - done / tokens)


def rise_and_fall(done: int, tokens: int, highest: float) -> float:
    """Learning-rate factor after `done` of the tokens: a short rise, then constant, then a linear fall to zero."""
    progress = done / tokens
    return highest * min(1.0, max(progress / RISE, 0.05)) * min(1.0, max(0.0, (1.0 - progress) / FALL))


def optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon on the matrices inside the blocks, AdamW on everything else."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "layers" in n)]
    return [
        Muon(matrices, lr=RATES[0], weight_decay=0.01),
        torch.optim.AdamW(rest, lr=RATES[1], betas=(0.9, 0.95), weight_decay=0.0),
    ]


def shrunk(model: Any, without: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """The weights in bfloat16 on the CPU, except those whose names begin with one of `without`."""
    return {
        name: value.detach().to("cpu", torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith(tuple(without))
    }


class Loop:
    """One training in the folder `work`, resumed where an earlier call stopped."""

    def __init__(
        self,
        work: Path,
        model: Any,
        settings: Mapping[str, Any],
        *,
        device: str = "cpu",
        curve: Sequence[str] = CURVE,
        noted: int = 50,
        together: Together = ALONE,
        say: Callable[[str], None],
    ) -> None:
        """settings: of the run, `tokens` among them, the number of tokens at which it ends. curve: fields of a line of
        `work/loss.jsonl`, one every `noted` steps. together: the processes that train, of which the first one writes
        (the losses on its own games, and the tokens of all).

        Raises ValueError where `work` holds a run under other settings."""
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.model, self.device, self.together = work, model, device, together
        self.tokens: int = settings["tokens"]
        self.optims = optimizers(model)
        self.state: Progress = {"settings": dict(settings), "tokens": 0, "step": 0, "game": 0}
        if (work / "state.json").is_file():
            self.state = resume(work, model, self.optims, dict(settings), device) | {
                "settings": dict(settings)
            }
            say(f"resuming at {self.state['tokens']:,} of {self.tokens:,} tokens")
        self._curve = Curve(work / "loss.jsonl", curve, noted, self.state["tokens"], self.tokens, say)

    def run(
        self,
        data: Iterable[tuple[Mapping[str, Any], Batch]],
        *,
        predict: Callable[[Batch], torch.Tensor],
        weights: Callable[[int], torch.Tensor],
        rate: Callable[[int], float],
        save_every: int,
        marks: Sequence[float] = (),
        without: Callable[[], Sequence[str]] = tuple,
        prepare: Callable[[Batch, Progress], Batch] = lambda batch, _: batch,
    ) -> None:
        """Train to the end; checkpoints every `save_every` steps and at the end.

        data: pairs of the position in the data after a batch, as the checkpoint keeps it, and the batch. predict: the
        logits `(n_views, n_tokens, n_words)` of a batch. weights: of the kinds of targets `(n_kinds,)`, and rate: the
        factor of the learning rates `RATES`, as functions of the tokens so far. marks: numbers of tokens at which the
        weights are kept in `work/checkpoints` in bfloat16, except those whose names begin with one of `without`.
        prepare: called before each step.
        """
        state, checkpoints = self.state, self.work / "checkpoints"
        if state["tokens"] >= self.tokens:
            return
        first = self.together.rank == 0
        if marks and first:
            checkpoints.mkdir(exist_ok=True)
        for place, one in data:
            batch = prepare(one.to(self.device), state)
            before = state["tokens"]
            nats, n_tokens = self._step(predict, batch, weights(before), rate(before))
            state["tokens"] += n_tokens
            state["step"] += 1
            state.update(place)
            if first:
                self._curve.add(nats, batch, state)
            if first and state["step"] % save_every == 0:
                checkpoint(self.work, self.model, self.optims, state)
            for mark in marks if first else ():
                if before < mark <= state["tokens"]:
                    kept = checkpoints / f"{round(mark):012d}.safetensors"
                    save_file(shrunk(self.model, without()), str(kept))
            if state["tokens"] >= self.tokens:
                break
        if first:
            checkpoint(self.work, self.model, self.optims, state)

    def _step(
        self,
        predict: Callable[[Batch], torch.Tensor],
        batch: Batch,
        kind_weights: torch.Tensor,
        factor: float,
    ) -> tuple[torch.Tensor, int]:
        """One step on a batch of each process; returns the loss of each target of the own batch before it, `(n_views,
        n_tokens)` nats, and the number of tokens of all."""
        for optim, base in zip(self.optims, RATES, strict=True):
            for group in optim.param_groups:
                group["lr"] = base * factor
        nats = batch.nats(predict(batch).float())
        weights = kind_weights[batch.kind] * batch.weight
        n_tokens = (batch.stem >= 0).sum()
        total, n_all = self.together.total(torch.stack([weights.sum(), n_tokens.to(weights.dtype)]))
        ((nats * weights).sum() / total).backward()
        self.together.add_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optim in self.optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        return nats.detach(), int(n_all)


class Curve:
    """The loss curve of a training run: one line to its file, and one of progress, every `noted` steps."""

    def __init__(
        self,
        file: Path,
        fields: Sequence[str],
        noted: int,
        since: int,
        tokens: int,
        say: Callable[[str], None],
    ) -> None:
        self.file, self.fields, self.noted, self.say = file, tuple(fields), noted, say
        self.since, self.tokens = since, tokens
        self.started = time.monotonic()
        self.recent: list[torch.Tensor] = []

    def add(self, nats: torch.Tensor, batch: Batch, state: Progress) -> None:
        """Add the losses of a step's targets `(n_views, n_tokens)`, and the run's state after it."""
        kinds = torch.nn.functional.one_hot(batch.kind, len(self.fields)).double()
        self.recent.append(torch.stack([(nats[..., None] * kinds).sum((0, 1)), kinds.sum((0, 1))]))
        if state["step"] % self.noted:
            return
        total, count = torch.stack(self.recent).sum(0).cpu()[:, 1:]
        losses = [round(float(x), 4) for x in total / count.clamp(min=1)]
        self.recent = []
        rate = (state["tokens"] - self.since) / (time.monotonic() - self.started)
        with self.file.open("a") as f:
            f.write(json.dumps(dict(zip(self.fields, (state["tokens"], *losses), strict=True))) + "\n")
        left = (self.tokens - state["tokens"]) / rate / 60
        shown = "  ".join(f"{name} {value:.3f}" for name, value in zip(self.fields[1:], losses, strict=True))
        self.say(f"{state['tokens']:>12,} tokens  nats: {shown}  {rate:,.0f} tokens/s  {left:.0f} min left")
