"""Train the small thinking model: from the small model, or from scratch for models of other depths.

Run it with `wolfscope train-thinking-model`. The learning rate is constant and then falls to zero; a run resumes
exactly from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from agents.models.classes import LlamaForCausalLM
from agents.models.small import make_config
from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer
from harness.gate import own_folder
from harness.training import loop as shared
from harness.training.batches import Batch, made_beside
from harness.training.checkpoint import save
from harness.training.loop import Loop, Progress, rise_and_fall
from harness.training.thinking import attention as forks
from harness.training.thinking.attention import predict
from harness.training.thinking.model import grown
from harness.training.thinking.rows import ThinkingBatches, own_words
from harness.training.train import initialise

KIND_WEIGHTS = (0.0, 0.5, 60.0, 24.0, 8.0, 60.0, 3.0, 16.0, 40.0)
"""Weight in the loss of nothing, a token of text, a choice, a belief, a seat's own words, a name among those, a word of
a thought, an amount among those, and a number of the belief that is stated a second time."""
CURVE = (*shared.CURVE, "thought", "amount", "again")
"""Fields of a line of the loss curve: tokens so far, then nats per target of each kind."""
HIGHEST = 0.3
"""Highest learning-rate factor."""
FROM_SCRATCH = 1.0
"""Highest learning-rate factor of a model trained from scratch."""
OWN_FROM, OWN_SHARE = 0.75, 0.35
"""Share of the tokens after which some batches hold the amounts that the model itself would have written, and the share
of the batches from there on."""
SHIPPED_TOKENS = 11_000_000
"""Tokens that the shipped model was trained on."""
MARKS = (0.0625, 0.125, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tokens at which weights are kept."""


def train(
    out: Path,
    *,
    start: Path | None,
    seed: int = 0,
    tokens: int = SHIPPED_TOKENS,
    batch_tokens: int = 2048,
    lexicon: str = "classic",
    preset: str | None = None,
    layers: int | None = None,
    hidden: int = 128,
    save_every: int = 25,
    compiled: bool = False,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> Path:
    """Train and save to `out` (Hugging Face format, weights in bfloat16); resumes from `out/training`.

    start: the folder of the model to continue from, with its first `layers` where given; None: from scratch,
    with `layers` of width `hidden`. `tokens` counts real (unpadded) ones. preset: the only rule set; None: those of the
    small model's last training. Weights at `MARKS` are kept in bfloat16 in `out/training/checkpoints`, the loss curve
    in `out/training/loss.jsonl` (`CURVE`). Raises ValueError for a folder that holds a run with other settings.
    """
    own_folder(out)
    tokenizer = make_tokenizer(lexicon)
    words = tokenizer.get_vocab()
    if start is None:
        config = make_config(len(tokenizer), hidden, layers or 8)
        model = LlamaForCausalLM._from_config(config, attn_implementation=forks.NAME)
        initialise(model, seed)
    else:
        model = grown(start, lexicon, seed, layers)
    settings = {
        "seed": seed, "tokens": tokens, "batch_tokens": batch_tokens, "lexicon": lexicon, "preset": preset,
        "layers": layers, "hidden": hidden, "start": None if start is None else start.name,
    }  # fmt: skip
    loop = Loop(out / "training", model, settings, curve=CURVE, noted=10, say=say)
    batches = ThinkingBatches(
        seed, lexicon, preset, batch_tokens, loop.state["game"], loop.state.get("batch", 0)
    )
    data = made_beside(batches, workers, 8)
    forward = torch.compile(model, dynamic=True) if compiled else model
    highest, weights = FROM_SCRATCH if start is None else HIGHEST, torch.tensor(KIND_WEIGHTS)
    loop.run(
        (({"game": int(game), "batch": int(place) + 1}, batch) for game, place, batch in data),
        predict=lambda batch: predict(forward, batch),
        weights=lambda _: weights,
        rate=partial(rise_and_fall, tokens=tokens, highest=highest),
        save_every=save_every,
        marks=[mark * tokens for mark in MARKS],
        prepare=lambda batch, state: _own(forward, batch, words, state),
    )
    save(out, model, tokenizer, torch.bfloat16)
    say(f"saved {out}")
    return out


def _own(forward: Any, batch: Batch, words: Mapping[str, int], state: Progress) -> Batch:
    """The batch, or with probability `OWN_SHARE` its version with the model's own amounts; a function of seed and
    step."""
    settings = state["settings"]
    if state["tokens"] < OWN_FROM * settings["tokens"]:
        return batch
    generator = torch.Generator().manual_seed(settings["seed"] * 1_000_003 + state["step"])
    if float(torch.rand((), generator=generator)) >= OWN_SHARE:
        return batch
    with torch.no_grad():
        logits = predict(forward, batch)
    return own_words(batch, logits, words, generator)
