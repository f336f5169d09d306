"""Speed of a training step of the small model under three kinds of attention, on the same batches in one process.

    python tests/benchmarks/bench_training.py [--batches 30] [--compiled] [--game avalon]

The kinds take turns at each batch: that of training (`harness.training.attention`), and transformers' plain (`eager`)
and fused (`sdpa`) one. A step is the forward pass, the backward pass and the optimizers; the losses are compared too.
The last line is the optimizer of the matrices alone, beside torch's on the same gradients.
"""

from __future__ import annotations

import argparse
import itertools
import time
from functools import partial

import torch
from transformers import LlamaForCausalLM

from agents.lessons import lessons_of, stream
from agents.models.small import make_config
from games import DEFAULT
from harness.training import attention as training_attention
from harness.training.attention import predict
from harness.training.batches import Batches
from harness.training.loop import optimizers
from harness.training.muon import Muon
from harness.training.precision import mixed_precision
from harness.training.train import CURRICULUM, initialise

KINDS = (training_attention.NAME, "eager", "sdpa")
GAME = 550_000
"""From which game on; the last part of training."""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=30)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument(
        "--compiled", action="store_true", help="as `wolfscope train-small-model --compiled` does"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--game", default=DEFAULT, help="whose views are learned")
    args = parser.parse_args()
    lessons = lessons_of(args.game)
    make_tokenizer = partial(lessons.make_tokenizer, ("classic",))
    torch.set_num_threads(1)
    source = partial(stream, lessons.views, 0, "classic", 1.0, CURRICULUM // 480, GAME)
    data = Batches(source, 0, make_tokenizer, args.batch_tokens)
    batches = [batch.to(args.device) for _, batch in itertools.islice(data, args.batches + 2)]
    models, steps = {}, {}
    for kind in KINDS:
        config = make_config(len(make_tokenizer()), 128, 8)
        models[kind] = LlamaForCausalLM._from_config(config, attn_implementation=kind)
        initialise(models[kind], 0)
        models[kind].to(args.device)
        steps[kind] = torch.compile(models[kind], dynamic=True) if args.compiled else models[kind]
    optims = {kind: optimizers(model) for kind, model in models.items()}
    bf16 = mixed_precision(torch.device(args.device).type)
    spent, apart, n_tokens = dict.fromkeys(KINDS, 0.0), list[float](), 0
    for i, batch in enumerate(batches):
        losses = []
        for kind in KINDS:
            start = time.perf_counter()
            nats = batch.nats(predict(steps[kind], batch, bf16).float())
            loss = (nats * (batch.kind > 0)).sum() / (batch.kind > 0).sum()
            loss.backward()
            for optim in optims[kind]:
                optim.step()
                optim.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))  # waits for the device
            if i >= 2:  # before, what is compiled at first use
                spent[kind] += time.perf_counter() - start
        apart.append(max(losses) - min(losses))
        n_tokens += int((batch.stem >= 0).sum()) if i >= 2 else 0
    print(
        f"{args.batches} batches, {n_tokens:,} tokens, on {args.device}, one thread; losses at the first batch within "
        f"{apart[0]:.1e} nats"
    )
    for kind in KINDS:
        ratio = spent[kind] / spent[KINDS[0]]
        print(f"{kind:<16} {n_tokens / spent[kind]:8,.0f} tokens/s   {ratio:.2f} times as long as {KINDS[0]}")
    ours, theirs = (optimizer_seconds(kind, models[KINDS[0]]) for kind in (Muon, torch.optim.Muon))
    print(
        f"Muon {1000 * ours:,.0f} ms a step, torch.optim.Muon {1000 * theirs:,.0f}: {theirs / ours:.1f} times as long"
    )


def optimizer_seconds(kind: type[torch.optim.Muon], model: torch.nn.Module, n_steps: int = 5) -> float:
    """Seconds a step of an optimizer of a model's matrices, after a first one."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    optim = kind(matrices, lr=0.0)
    for parameter in matrices:
        parameter.grad = torch.ones_like(parameter)
    optim.step()
    wait = torch.cuda.synchronize if matrices[0].is_cuda else int
    wait()
    start = time.perf_counter()
    for _ in range(n_steps):
        optim.step()
    wait()
    return (time.perf_counter() - start) / n_steps


if __name__ == "__main__":
    main()
