"""Train the small model from scratch on games of the scripted players, by next-token prediction.

Run it with `wolfscope train-small-model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from agents.lessons import lessons_of, stream
from agents.models.classes import LlamaForCausalLM
from agents.models.small import make_config
from games import DEFAULT
from harness.gate import own_folder
from harness.training import attention as training_attention
from harness.training.attention import predictor
from harness.training.batches import AHEAD, Batch, Batches, loaded
from harness.training.checkpoint import save
from harness.training.loop import Loop, Progress
from harness.training.precision import device_of
from harness.training.together import Together, train_together

KIND_WEIGHTS = (
    (0.0, 1.0, 12.0, 4.0, 1.0, 1.0),
    (0.0, 1.0, 20.0, 8.0, 1.0, 1.0),
    (0.0, 1.0, 60.0, 8.0, 8.0, 8.0),
    (0.0, 1.0, 60.0, 16.0, 8.0, 60.0),
    (0.0, 0.5, 60.0, 24.0, 8.0, 60.0),
)
"""Weight in the loss of nothing, a token of text, a choice, a belief, a seat's own words, and a name among those
(`Batch.kind`): before `RESTART`, from there on, from `ACT` on, from `SERVE` on, and from the first of `SETTLED` on.

Choices (`NAME VERB (...):` *answer*) are a hundredth of all tokens, and own words a seventh of all speeches.
"""
ACT = 61_600_000
"""Tokens after which a seat's own words and choices begin to weigh more."""
SERVE = 126_000_000
"""Tokens after which names in own words weigh as much as choices."""
QUERY_RANGE = 0.15
"""Standard deviation of the starting queries, from the second layer on."""
CURRICULUM = 28_000_000
"""Tokens over which the curriculum and the fall of the learning rate extend, or all where training is shorter."""
RESTART = 0.53
"""Share of `CURRICULUM` at which the learning rate is raised again."""
FIRST_CHECKPOINT = CURRICULUM / 2**9
"""Tokens at the first kept checkpoint; each further one is at twice as many."""
SHIPPED_TOKENS = 375_000_000
"""Tokens that the shipped model was trained on."""
SETTLED = (166_000_000, 212_000_000, 251_000_000, 273_000_000, 295_000_000, 330_000_000)
"""Tokens at which the learning rate has reached zero; after each, training continues at a lower rate that falls again
by the next one or the end."""
GROW, LATE = (96_000_000, SETTLED[1]), 2
"""Token counts after which layers are added at the top, and how many each time. New layers change nothing until they
are trained; docs/training-log.md says what each depth holds."""


def initialise(model: Any, seed: int, late: int = 0) -> None:
    """Draw the initial weights from a separate generator: normal matrices, norms of one.

    The last `late` layers are drawn last, `LATE` at a time, so that the others do not depend on them, and initially
    add nothing.

    From the second layer on keys start out equal to queries, and larger, so that a token attends to tokens like it
    (after Trockman and Kolter 2023, "Mimetic initialization of self-attention layers"): names are looked up sooner.
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
    """Initialise keys equal to queries, larger than drawn."""
    for layer in layers:
        queries, keys = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
        queries.normal_(0.0, QUERY_RANGE, generator=generator)
        keys.copy_(queries)


def schedule(done: int, tokens: int) -> float:
    """Learning-rate factor after `done` tokens: a short warm-up and a fall by a power law; from `RESTART` of the
    curriculum on raised again and constant, then linearly to zero over the last quarter of all tokens or of the first
    of `SETTLED`; from there to the next of them, or to the end, constant at less than half of that, then linearly to
    zero over the last three quarters. Beliefs improve while the rate falls, hardly while it is held
    (docs/training-log.md).
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
    """The numbers of tokens at which weights are kept: doubling ones, those at which the learning rate has fallen
    (`SETTLED`), and the last."""
    doubling = [int(FIRST_CHECKPOINT * 2**i) for i in range(64)]
    return [*sorted(n for n in (*doubling, *SETTLED) if n < tokens), tokens]


def train(
    out: Path,
    *,
    game: str = DEFAULT,
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
    processes: int = 1,
    say: Callable[[str], None] = print,
) -> Path:
    """Train and save to `out` (Hugging Face format); resumes from `out/training` if an earlier call was stopped, or
    ended at fewer `tokens`, which then counted towards those asked for.

    A checkpoint to resume from is written every `save_every` steps. `tokens` counts real (unpadded) ones, those of
    questions among them. The weights at `marks` are kept in bfloat16 in `out/training/checkpoints`. `compiled` lets
    torch.compile fuse the model's kernels, which is faster, where there is a C++ compiler. `processes` train side by
    side, with a batch of `batch_tokens` each in every step. For each of `GROW` that `tokens` go beyond, the model ends
    with `LATE` more than the `layers` that it starts with. The loss curve is `out/training/loss.jsonl` (tokens, nats a
    target of text, of choices, of beliefs, of own words, of names among those).
    """
    device = device_of(device)
    own_folder(out)
    settings = {"game": game, "seed": seed, "tokens": tokens, "batch_tokens": batch_tokens, "lexicon": lexicon,
                "belief_share": belief_share, "hidden": hidden, "layers": layers, "processes": processes}  # fmt: skip
    train_together(partial(learn, out, settings, save_every, device, compiled), processes, device, say)
    return out


def learn(
    out: Path,
    settings: Mapping[str, Any],
    save_every: int,
    device: str,
    compiled: bool,
    *,
    together: Together,
    say: Callable[[str], None],
) -> None:
    """What one process does in `train`."""
    seed, tokens, layers, lexicon = (settings[name] for name in ("seed", "tokens", "layers", "lexicon"))
    lessons = lessons_of(settings["game"])
    make_tokenizer = partial(lessons.make_tokenizer, (lexicon,))
    tokenizer = make_tokenizer()
    late = LATE * sum(tokens > grow for grow in GROW)
    model = LlamaForCausalLM._from_config(
        make_config(len(tokenizer), settings["hidden"], layers + late),
        attn_implementation=training_attention.NAME,
    )
    initialise(model, seed, late)
    model.to(device)
    loop = Loop(out / "training", model, settings, device=device, together=together, say=say)
    n_games = min(tokens, CURRICULUM) // 480  # about 480 tokens a game
    start = loop.state["game"] + together.rank
    share = settings["belief_share"]
    source = partial(stream, lessons.views, seed, lexicon, share, n_games, start, together.size)
    kind_weights = torch.tensor(KIND_WEIGHTS, device=device)
    phases = torch.tensor([RESTART * min(tokens, CURRICULUM), ACT, SERVE, SETTLED[0]])

    def grow(batch: Batch, state: Progress) -> Batch:
        grown = min(late, LATE * sum(state["tokens"] >= at for at in GROW))
        if model.config.num_hidden_layers != layers + grown:
            model.config.num_hidden_layers = layers + grown  # as many are run
            torch.compiler.reset()
        return batch

    loop.run(
        loaded(Batches(source, seed, make_tokenizer, settings["batch_tokens"]), AHEAD),
        predict=predictor(model, device, compiled),
        weights=lambda done: kind_weights[int((done >= phases).sum())],
        rate=lambda done: schedule(done, tokens),
        save_every=save_every,
        marks=marks(tokens),
        without=lambda: [f"model.layers.{i}." for i in range(model.config.num_hidden_layers, layers + late)],
        prepare=grow,
    )
    if together.rank:
        return
    model.config.num_hidden_layers = layers + late
    save(out, model, tokenizer)
    say(f"saved {out}")
