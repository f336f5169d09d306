"""Students: a small model trained further on the texts of a teacher's games only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from agents.lessons import View
from agents.models.folder import load_tokenizer, model_name
from agents.models.small import find_model
from harness.gate import own_folder
from harness.training.attention import predictor
from harness.training.batches import Batch, Row, batched, collate
from harness.training.checkpoint import save
from harness.training.growth import learning
from harness.training.loop import Loop, falling
from harness.training.precision import device_of
from harness.training.train import KIND_WEIGHTS

RATE = 0.1
"""Learning rate at the start, in units of the highest of training from scratch; it falls linearly to zero."""
BATCH_TOKENS = 2048


def teach(
    out: Path, base: str | Path, views: Sequence[View], tokens: int, *, seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:  # fmt: skip
    """Train the model in `base` on the views for a number of tokens, over as many epochs as needed, into `out`.

    An existing model is not trained again; a stopped training resumes. Raises ValueError without
    views.
    """
    if (out / "config.json").is_file():
        return out
    if not views:
        raise ValueError(f"there is no game to train {out} on")
    folder = find_model(base)
    tokenizer = load_tokenizer(folder)
    words = tokenizer.get_vocab()
    own_folder(out)
    device = device_of("auto")
    model = learning(folder, device)
    rows = [Row(view, words, tokenizer) for view in views]
    weights = torch.tensor(KIND_WEIGHTS[-1], device=device)
    settings = {"base": model_name(folder), "views": len(views), "seed": seed, "tokens": tokens}
    loop = Loop(out / "training", model, settings, device=device, say=say)

    def data() -> Iterator[tuple[dict[str, int], Batch]]:
        epoch, first = loop.state["game"], loop.state.get("batch", 0)
        while True:
            draw = np.random.default_rng((seed, epoch))
            for k, part in enumerate(batched(rows, BATCH_TOKENS, draw, draw)[first:], first):
                yield {"game": epoch, "batch": k + 1}, collate(part)
            epoch, first = epoch + 1, 0

    loop.run(
        data(),
        predict=predictor(model, device),
        weights=lambda _: weights,
        rate=partial(falling, tokens=tokens, highest=RATE),
        save_every=500,
    )
    save(out, model, tokenizer)
    say(
        f"saved {out}: {loop.state['tokens']:,} tokens, {loop.state['game'] + 1} times through {len(rows):,} views"
    )
    return out
