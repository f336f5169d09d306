"""Train the small thinking model: on from the small model, or from scratch for models of other depths.

Run it with `wolfscope train-thinking-model`. One run is one learning rate that is held and then falls to nothing; it
resumes exactly where its last checkpoint was written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn.functional import one_hot
from torch.utils.data import DataLoader
from transformers import LlamaForCausalLM

from agents.models.small import make_config
from harness.gate import own_folder
from harness.training.batches import Batch
from harness.training.checkpoint import checkpoint, resume, save
from harness.training.thinking import attention as forks
from harness.training.thinking.attention import predict
from harness.training.thinking.model import grown, make_tokenizer
from harness.training.thinking.rows import N_KINDS, ThinkingBatches, own_words
from harness.training.train import RATES, initialise, optimizers

KIND_WEIGHTS = (0.0, 0.5, 60.0, 24.0, 8.0, 60.0, 3.0, 16.0, 40.0)
"""Weight in the loss of nothing, a token of text, a choice, a belief, a seat's own words, a name among those, a word of
a thought, an amount among those, and a number of the belief that is stated a second time."""
CURVE = ("tokens", "text", "choice", "belief", "speech", "naming", "thought", "amount", "again")
"""Fields of a line of the loss curve: tokens so far, then nats a target of each kind."""
HIGHEST, FALL = 0.3, 0.6
"""Highest learning-rate factor, and the share of the tokens over which it falls linearly to nothing at the end."""
FROM_SCRATCH = 1.0
"""Highest learning-rate factor of a model that starts from nothing."""
OWN_FROM, OWN_SHARE = 0.75, 0.35
"""Share of the tokens after which some batches hold the amounts that the model itself would have written, and the share
of the batches from there on."""
SHIPPED_TOKENS = 11_000_000
"""Tokens that the shipped model was trained on."""
MARKS = (0.0625, 0.125, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tokens at which weights are kept."""


def schedule(done: int, tokens: int, highest: float) -> float:
    """Learning-rate factor after `done` tokens."""
    progress = done / tokens
    return highest * min(1.0, max(progress / 0.02, 0.05)) * min(1.0, max(0.0, (1.0 - progress) / FALL))


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

    start: the folder of the model that it goes on from, its first `layers` where those are given; None: from scratch,
    with `layers` of width `hidden`. `tokens` counts real (unpadded) ones. preset: the only rule set; None: those of the
    small model's last training. Weights at `MARKS` are kept in bfloat16 in `out/training/checkpoints`, the loss curve
    in `out/training/loss.jsonl` (`CURVE`). Raises ValueError for a folder that holds a run of other settings.
    """
    work = out / "training"
    own_folder(out)
    (work / "checkpoints").mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(lexicon)
    words = tokenizer.get_vocab()
    if start is None:
        config = make_config(len(tokenizer), hidden, layers or 8)
        model = LlamaForCausalLM._from_config(config, attn_implementation=forks.NAME)
        initialise(model, seed)
    else:
        model = grown(start, lexicon, seed, layers)
    optims = optimizers(model)
    settings = {
        "seed": seed, "tokens": tokens, "batch_tokens": batch_tokens, "lexicon": lexicon, "preset": preset,
        "layers": layers, "hidden": hidden, "start": None if start is None else start.name,
    }  # fmt: skip
    state: dict[str, Any] = {"settings": settings, "tokens": 0, "step": 0, "game": 0, "batch": 0}
    if (work / "state.json").is_file():
        state = resume(work, model, optims, settings, "cpu") | {"settings": settings}
        say(f"resuming at {state['tokens']:,} of {tokens:,} tokens")
    data = DataLoader(
        ThinkingBatches(seed, lexicon, preset, batch_tokens, state["game"], state["batch"]),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=8 if workers else None,
    )
    forward = torch.compile(model, dynamic=True) if compiled else model
    highest = FROM_SCRATCH if start is None else HIGHEST
    started, since, recent = time.monotonic(), state["tokens"], list[torch.Tensor]()
    if state["tokens"] < tokens:
        for game, place, batch in data:
            for optim, base in zip(optims, RATES, strict=True):
                for group in optim.param_groups:
                    group["lr"] = base * schedule(state["tokens"], tokens, highest)
            recent.append(step(forward, model, optims, _own(forward, batch, words, state, settings)))
            before = state["tokens"]
            state["tokens"] += int((batch.stem >= 0).sum())
            state["step"] += 1
            state["game"], state["batch"] = int(game), int(place) + 1
            if state["step"] % 10 == 0:
                rate = (state["tokens"] - since) / (time.monotonic() - started)
                _report(work, state["tokens"], tokens, recent, rate, say)
                recent = []
            if state["step"] % save_every == 0:
                checkpoint(work, model, optims, state)
            for mark in MARKS:
                if before < mark * tokens <= state["tokens"]:
                    name = f"{round(mark * tokens):012d}.safetensors"
                    save_file(_shrunk(model), str(work / "checkpoints" / name))
            if state["tokens"] >= tokens:
                break
        checkpoint(work, model, optims, state)
    save(out, model, tokenizer, torch.bfloat16)
    say(f"saved {out}")
    return out


def _own(forward: Any, batch: Batch, words: Any, state: dict[str, Any], settings: dict[str, Any]) -> Batch:
    """The batch, or by chance that with the model's own amounts (`OWN_SHARE`); a function of seed and step."""
    if state["tokens"] < OWN_FROM * settings["tokens"]:
        return batch
    generator = torch.Generator().manual_seed(settings["seed"] * 1_000_003 + state["step"])
    if float(torch.rand((), generator=generator)) >= OWN_SHARE:
        return batch
    with torch.no_grad():
        logits = predict(forward, batch)
    return own_words(batch, logits, words, generator)


def step(forward: Any, model: Any, optims: list[torch.optim.Optimizer], batch: Batch) -> torch.Tensor:
    """One step of training; the sum of nats and the number of targets of each kind `(2, N_KINDS)`."""
    nats = batch.nats(predict(forward, batch))
    weights = torch.tensor(KIND_WEIGHTS)[batch.kind] * batch.worth
    ((nats * weights).sum() / weights.sum()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optim in optims:
        optim.step()
        optim.zero_grad(set_to_none=True)
    kinds = one_hot(batch.kind, N_KINDS).double()
    return torch.stack([(nats.detach()[..., None] * kinds).sum((0, 1)), kinds.sum((0, 1))])


def _report(
    work: Path, done: int, tokens: int, recent: list[torch.Tensor], rate: float, say: Callable[[str], None]
) -> None:
    total, count = torch.stack(recent).sum(0)[:, 1:]
    losses = [round(float(x), 4) for x in total / count.clamp(min=1)]
    with (work / "loss.jsonl").open("a") as f:
        f.write(json.dumps(dict(zip(CURVE, (done, *losses), strict=True))) + "\n")
    shown = "  ".join(f"{name} {value:.3f}" for name, value in zip(CURVE[1:], losses, strict=True))
    say(
        f"{done:>12,} tokens  nats: {shown}  {rate:,.0f} tokens/s  {(tokens - done) / rate / 60:.0f} min left"
    )


def _shrunk(model: Any) -> dict[str, torch.Tensor]:
    return {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
