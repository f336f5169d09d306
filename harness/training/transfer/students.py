"""Students: a small model trained on by the texts of a teacher's games alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM

from agents.lessons import View
from agents.models.folder import load_tokenizer
from agents.models.small import find_model
from harness.gate import own_folder
from harness.training import attention as training_attention
from harness.training.batches import Batch, Row, collate
from harness.training.checkpoint import save
from harness.training.precision import mixed_precision
from harness.training.train import KIND_WEIGHTS, optimizers, update

RATE = 0.1
"""Learning rate at the start, in units of the highest of training from scratch; it falls linearly to nothing."""
BATCH_TOKENS = 2048


def teach(
    out: Path, base: str | Path, views: Sequence[View], tokens: int, *, seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:  # fmt: skip
    """Train the model in `base` on the views for so many tokens, read again as often as it takes; into `out`.

    A model that is there already is not trained again. Raises ValueError without views.
    """
    if (out / "config.json").is_file():
        return out
    if not views:
        raise ValueError(f"there is no game to train {out} on")
    folder = find_model(base)
    tokenizer = load_tokenizer(folder)
    words = tokenizer.get_vocab()
    own_folder(out)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=training_attention.NAME
    ).to(device)
    model.train()
    optims = optimizers(model)
    rows = [Row(view, words, tokenizer) for view in views]
    weights = torch.tensor(KIND_WEIGHTS[-1], device=device)
    done, epoch = 0, 0
    while done < tokens:
        for batch in batches(rows, seed, epoch):
            batch = batch.to(device)
            factor = RATE * min(1.0, (done / tokens + 0.01) / 0.05) * (1.0 - done / tokens)
            update(model, model, optims, batch, weights, factor, mixed_precision(device))
            done += int((batch.stem >= 0).sum())
            if done >= tokens:
                break
        epoch += 1
    save(out, model, tokenizer)
    say(f"saved {out}: {done:,} tokens, {epoch} times through {len(rows):,} views")
    return out


def batches(rows: Sequence[Row], seed: int, epoch: int) -> list[Batch]:
    """All rows once, those of like length together, in an order that follows from (seed, epoch)."""
    rng = np.random.default_rng((seed, epoch))
    mixed = sorted((rows[i] for i in rng.permutation(len(rows))), key=lambda row: len(row) // 16)
    parts: list[list[Row]] = [[]]
    for row in mixed:
        if parts[-1] and (len(parts[-1]) + 1) * max(len(row), len(parts[-1][0])) > BATCH_TOKENS:
            parts.append([])
        parts[-1].append(row)
    return [collate(parts[i]) for i in rng.permutation(len(parts))]
