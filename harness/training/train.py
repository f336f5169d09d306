"""Train the small model from scratch on games of the scripted players, by next-token prediction.

Run it with `wolfscope train-small-model`. Muon for the matrices, AdamW for embeddings, head and norms: with AdamW alone
a model of this size sits for thousands of steps without looking up what its own context states.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import LlamaForCausalLM

from agents.lessons import lessons_of, stream
from agents.models.small import make_config
from harness.gate import own_folder
from harness.training import attention as training_attention
from harness.training.batches import Batch, Batches
from harness.training.checkpoint import checkpoint, resume, save
from harness.training.muon import Muon
from harness.training.precision import mixed_precision

KIND_WEIGHTS = (
    (0.0, 1.0, 12.0, 4.0, 1.0, 1.0),
    (0.0, 1.0, 20.0, 8.0, 1.0, 1.0),
    (0.0, 1.0, 60.0, 8.0, 8.0, 8.0),
    (0.0, 1.0, 60.0, 16.0, 8.0, 60.0),
    (0.0, 0.5, 60.0, 24.0, 8.0, 60.0),
)
"""Weight in the loss of nothing, a token of text, a choice, a belief, a seat's own words, and a name among those
(`Batch.kind`): before `RESTART`, from there on, from `ACT` on, from `SERVE` on, and from the first of `SETTLED` on.

More for what a seat chose (`NAME VERB (...):` *answer*): the model is used for it, and it is a hundredth of all tokens.
The same holds for what it says: among seven speakers of whom six have hidden roles, it learned too little from its own
to let its role speak (its seers seldom reported, its villagers claimed to be seers).
"""
ACT = 61_600_000
"""Tokens after which a seat's own words and choices begin to weigh more."""
SERVE = 126_000_000
"""Tokens after which names in own words weigh as much as choices."""
QUERY_RANGE = 0.15
"""Standard deviation of the starting queries, from the second layer on."""
CURRICULUM = 28_000_000
"""Tokens over which the curriculum and the fall of the learning rate are laid, or all where training is shorter."""
RESTART = 0.53
"""Share of those at which the learning rate is raised again."""
FIRST_CHECKPOINT = CURRICULUM / 2**9
"""Tokens at the first checkpoint that is kept; each of the next is at twice as many."""
SHIPPED_TOKENS = 375_000_000
"""Tokens that the shipped model was trained on."""
SETTLED = (166_000_000, 212_000_000, 251_000_000, 273_000_000, 295_000_000, 330_000_000)
"""Tokens by which the learning rate has fallen; more of them are trained on at a lower one, that falls again by the
next or by the end."""
RATES = (0.01, 3e-3)
"""Highest learning rates of Muon and AdamW."""
GROW, LATE = (96_000_000, SETTLED[1]), 2
"""Tokens after which so many more layers join at the top each time, which at first change nothing.

In the last of four layers a belief about a player had only just come about, at the player's name: none was left to hold
several of them against each other, and the model's ballots hit werewolves hardly more often than chance, whatever it
answered when it was asked. In the last of six it stood for what a player's words and ballots tell, and still missed
much of what follows from all roles together (who is left to be the seer, and whom that seer's report then binds).
"""


CURVE = ("tokens", "text", "choice", "belief", "speech", "naming")
"""Fields of a line of the loss curve: tokens so far, then nats a target of each kind."""


def initialise(model: Any, seed: int, late: int = 0) -> None:
    """Draw the starting weights from a generator of their own: normal matrices, norms of one.

    The last `late` layers are drawn last, `LATE` at a time, so that the others are what they are without them, and add
    nothing yet.

    From the second layer on keys start out equal to queries, and larger, so that a token attends to tokens like it
    (after Trockman and Kolter 2023, "Mimetic initialization of self-attention layers"). Without it names were
    not looked up yet after more tokens of nothing but look-ups than it took with it.
    """
    generator = torch.Generator().manual_seed(seed)
    n_early = len(model.model.layers) - late
    early, above = model.model.layers[:n_early], model.model.layers[n_early:]
    later = {id(parameter) for parameter in above.parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            if id(parameter) not in later:
                draw(parameter, model.config.initializer_range, generator)
        mimic(early[1:], generator)
        for start in range(0, late, LATE):
            for parameter in above[start : start + LATE].parameters():
                draw(parameter, model.config.initializer_range, generator)
            mimic(above[start : start + LATE], generator)
        for layer in above:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()


def draw(parameter: Any, deviation: float, generator: torch.Generator) -> None:
    """Normal numbers for a matrix, ones for a norm."""
    if parameter.ndim == 2:
        parameter.normal_(0.0, deviation, generator=generator)
    else:
        parameter.fill_(1.0)


def mimic(layers: Any, generator: torch.Generator) -> None:
    """Let keys start out equal to queries, larger than drawn."""
    for layer in layers:
        queries, keys = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
        queries.normal_(0.0, QUERY_RANGE, generator=generator)
        keys.copy_(queries)


def optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon on the matrices inside the blocks, AdamW on everything else."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "layers" in n)]
    return [
        Muon(matrices, lr=RATES[0], weight_decay=0.01),
        torch.optim.AdamW(rest, lr=RATES[1], betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(done: int, tokens: int) -> float:
    """Learning-rate factor after `done` tokens: a short warm-up and a fall by a power law; from `RESTART` of the
    curriculum on raised again and held, and linearly to nothing over the last quarter of all tokens or of the first
    of `SETTLED`; from there to the next of them, or to the end, held at less than half of that, and linearly to nothing
    over the last three quarters.

    At first look-up is learned and settles as the rate falls; by its end beliefs had all but stopped to improve. While
    the rate was held high they came little nearer to the exact observer's; most of the way they came while it fell.
    """
    past = [settled for settled in SETTLED if settled <= done]
    end = min([tokens, *SETTLED[len(past) :]])
    if past:
        return 0.15 * min(1.0, max(0.0, end - done) / max(1, end - past[-1]) / 0.75)
    progress = done / min(end, CURRICULUM)
    if progress < 0.005:
        return max(progress / 0.005, 0.02)
    if progress < RESTART:
        return (1.0 - progress) * min(1.0, (0.01 / progress) ** 0.4)
    return 0.35 * min(1.0, (1.0 - done / end) / 0.25)


def marks(tokens: int) -> list[int]:
    """The numbers of tokens at which weights are kept: each twice the one before, where the learning rate has fallen
    (`SETTLED`), and the last."""
    doubling = [int(FIRST_CHECKPOINT * 2**i) for i in range(64)]
    return [*sorted(n for n in (*doubling, *SETTLED) if n < tokens), tokens]


def predict(forward: Callable[..., Any], batch: Batch, bf16: bool) -> torch.Tensor:
    """What a model says of each next word, `(n_views, n_tokens, n_words)` logits; `bf16` multiplies in bfloat16."""
    with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=bf16):
        logits: torch.Tensor = forward(
            input_ids=batch.ids,
            attention_mask=training_attention.additive(
                batch.mask(), torch.bfloat16 if bf16 else torch.float32
            ),
            position_ids=batch.position,
            use_cache=False,
        ).logits
    return logits


def update(
    forward: Callable[..., Any], model: Any, optims: Sequence[torch.optim.Optimizer], batch: Batch,
    kind_weights: torch.Tensor, factor: float, bf16: bool,
) -> torch.Tensor:  # fmt: skip
    """One step on a batch, its kinds of targets weighed `(n_kinds,)`, at `factor` of the learning rates `RATES`; what
    each target cost before it, `(n_views, n_tokens)` nats."""
    for optim, base in zip(optims, RATES, strict=True):
        for group in optim.param_groups:
            group["lr"] = base * factor
    nats = batch.nats(predict(forward, batch, bf16).float())
    weights = kind_weights[batch.kind] * batch.worth
    ((nats * weights).sum() / weights.sum()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optim in optims:
        optim.step()
        optim.zero_grad(set_to_none=True)
    return nats.detach()


class Curve:
    """The loss curve of a training run: a line of its file, and one of progress, every 50 steps."""

    def __init__(self, file: Path, since: int, tokens: int, say: Callable[[str], None]) -> None:
        self.file, self.since, self.tokens, self.say = file, since, tokens, say
        self.started = time.monotonic()
        self.recent: list[torch.Tensor] = []

    def add(self, nats: torch.Tensor, batch: Batch, state: dict[str, Any]) -> None:
        """What a step's targets cost, and the run's state after it."""
        kinds = torch.nn.functional.one_hot(batch.kind, len(KIND_WEIGHTS[0])).double()
        self.recent.append(torch.stack([(nats[..., None] * kinds).sum((0, 1)), kinds.sum((0, 1))]))
        if state["step"] % 50:
            return
        total, count = torch.stack(self.recent).sum(0).cpu()[:, 1:]
        losses = [round(float(x), 4) for x in total / count.clamp(min=1)]
        self.recent = []
        rate = (state["tokens"] - self.since) / (time.monotonic() - self.started)
        with self.file.open("a") as f:
            f.write(json.dumps(dict(zip(CURVE, (state["tokens"], *losses), strict=True))) + "\n")
        left = (self.tokens - state["tokens"]) / rate / 60
        shown = "  ".join(f"{name} {value:.3f}" for name, value in zip(CURVE[1:], losses, strict=True))
        self.say(f"{state['tokens']:>12,} tokens  nats: {shown}  {rate:,.0f} tokens/s  {left:.0f} min left")


def train(
    out: Path,
    *,
    game: str = "werewolf",
    seed: int = 0,
    tokens: int = SHIPPED_TOKENS,
    batch_tokens: int = 2048,
    lexicon: str = "classic",
    belief_share: float = 1.0,
    hidden: int = 128,
    layers: int = 4,
    save_every: int = 500,
    device: str = "auto",
    compiled: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Train and save to `out` (Hugging Face format); resumes from `out/training` if an earlier call was stopped, or
    ended at fewer `tokens`, which then counted towards those asked for.

    A checkpoint to resume from is written every `save_every` steps. `tokens` counts real (unpadded) ones, those of
    questions among them. The weights at `marks` are kept in bfloat16 in `out/training/checkpoints`. `compiled` lets
    torch.compile fuse the model's kernels, which is faster, where there is a C++ compiler. For each of `GROW` that
    `tokens` go beyond, the model ends with `LATE` more than the `layers` that it starts with. The loss curve is
    `out/training/loss.jsonl` (tokens, nats a target of text, of choices, of beliefs, of own words, of names
    among those).
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    own_folder(out)
    work = out / "training"
    (work / "checkpoints").mkdir(parents=True, exist_ok=True)
    lessons = lessons_of(game)
    make_tokenizer = partial(lessons.make_tokenizer, (lexicon,))
    tokenizer = make_tokenizer()
    late = LATE * sum(tokens > grow for grow in GROW)
    model = LlamaForCausalLM._from_config(
        make_config(len(tokenizer), hidden, layers + late), attn_implementation=training_attention.NAME
    )
    initialise(model, seed, late)
    model.to(device)
    optims = optimizers(model)
    settings = {"game": game, "seed": seed, "tokens": tokens, "batch_tokens": batch_tokens, "lexicon": lexicon,
                "belief_share": belief_share, "hidden": hidden, "layers": layers}  # fmt: skip
    state: dict[str, Any] = {"settings": settings, "tokens": 0, "step": 0, "game": 0}
    if (work / "state.json").is_file():
        state = resume(work, model, optims, settings, device)
        state["settings"] = settings
        say(f"resuming at {state['tokens']:,} of {tokens:,} tokens")
    n_games = min(tokens, CURRICULUM) // 480  # about 480 tokens a game
    data = DataLoader(
        Batches(
            partial(stream, lessons.views, seed, lexicon, belief_share, n_games, state["game"]),
            seed,
            make_tokenizer,
            batch_tokens,
        ),
        batch_size=None,
        num_workers=1,
        prefetch_factor=64,  # as many as a pool: while the next one is made, this one is used
    )
    forward = torch.compile(model, dynamic=True) if compiled else model
    kept = marks(tokens)
    curve = Curve(work / "loss.jsonl", state["tokens"], tokens, say)
    kind_weights = torch.tensor(KIND_WEIGHTS, device=device)
    phases = torch.tensor([RESTART * min(tokens, CURRICULUM), ACT, SERVE, SETTLED[0]])
    bf16 = mixed_precision(device)
    for index, batch in data:
        grown = min(late, LATE * sum(state["tokens"] >= grow for grow in GROW))
        if model.config.num_hidden_layers != layers + grown:
            model.config.num_hidden_layers = layers + grown  # as many are run
            torch.compiler.reset()
        batch = batch.to(device)
        weights = kind_weights[int((state["tokens"] >= phases).sum())]
        nats = update(forward, model, optims, batch, weights, schedule(state["tokens"], tokens), bf16)
        before = state["tokens"]
        state["tokens"] += int((batch.stem >= 0).sum())
        state["step"] += 1
        state["game"] = int(index)
        curve.add(nats, batch, state)
        if state["step"] % save_every == 0:
            checkpoint(work, model, optims, state)
        for mark in kept:
            if before < mark <= state["tokens"]:
                missing = tuple(f"model.layers.{layers + i}." for i in range(late - grown))
                shrunk = {
                    k: v.detach().to("cpu", torch.bfloat16).contiguous()
                    for k, v in model.state_dict().items()
                    if not k.startswith(missing)
                }
                save_file(shrunk, str(work / "checkpoints" / f"{mark:012d}.safetensors"))
        if state["tokens"] >= tokens:
            break
    checkpoint(work, model, optims, state)
    model.config.num_hidden_layers = layers + late
    save(out, model, tokenizer)
    say(f"saved {out}")
    return out
