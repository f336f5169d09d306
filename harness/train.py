"""Train the small model from scratch on games of the scripted players, by next-token prediction.

Run it with `wolfscope train-small-model`. Muon for the matrices, AdamW for embeddings, head and norms: with AdamW alone
a model of this size sits for thousands of steps without looking up what its own context states.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, IterableDataset
from transformers import LlamaForCausalLM

from agents.small_model import make_config, make_tokenizer
from harness.training_data import stream

ANSWER_WEIGHTS = (6.0, 20.0)
"""Weight in the loss of a token that answers a question, beside 1 for every other: at first, and in the last part."""
RATES = (0.008, 2e-3)
"""Highest learning rates of Muon and AdamW."""


class Batches(IterableDataset):
    """Batches of padded documents of similar length, made in a worker process while the model trains.

    Documents are drawn together from pools of 64 batches, which mixes about a hundred games.

    Yields (index of the last game used, ids `(n_docs, n_tokens)` int64, padded with the pad token).
    """

    def __init__(
        self, seed: int, lexicon: str, belief_share: float, games: int, start: int, tokens: int
    ) -> None:
        self.args = (seed, lexicon, belief_share, games, start)
        self.lexicon, self.tokens = lexicon, tokens

    def __iter__(self) -> Iterator[tuple[int, torch.Tensor]]:
        tokenizer = make_tokenizer((self.lexicon,))
        pool: list[list[int]] = []
        size = 0
        seed = self.args[0]
        for index, texts in stream(*self.args):
            for text in texts:
                ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
                pool.append(ids)
                size += len(ids)
            if size < 64 * self.tokens:
                continue
            # Batches of like length need little padding. Within 16 tokens the order is random: a game's views are
            # of like length too, and a batch of one game's views would teach little.
            order = np.random.default_rng((seed, index)).permutation(len(pool))
            pool = sorted((pool[i] for i in order), key=lambda ids: len(ids) // 16)
            batches: list[list[list[int]]] = []
            batch: list[list[int]] = []
            for ids in pool:
                if batch and (len(batch) + 1) * max(len(ids), len(batch[0])) > self.tokens:
                    batches.append(batch)
                    batch = []
                batch.append(ids)
            batches.append(batch)
            for i in np.random.default_rng((seed, index, 1)).permutation(len(batches)):
                yield index, pad(batches[i])
            pool, size = [], 0


def pad(rows: list[list[int]]) -> torch.Tensor:
    """Rows of token ids as one tensor `(n_rows, longest)`, padded with 0."""
    out = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for i, ids in enumerate(rows):
        out[i, : len(ids)] = torch.tensor(ids)
    return out


def initialise(model: Any, seed: int) -> None:
    """Draw the starting weights from a generator of their own: normal matrices, norms of one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, model.config.initializer_range, generator=generator)
            else:
                parameter.fill_(1.0)


def emphasis(ids: torch.Tensor, words: dict[str, int], answer: float) -> torch.Tensor:
    """Loss weights `(n_docs, n_tokens)`.

    More for what a seat chose (`NAME VERB (...):` *answer*) and for the answers to belief questions (`is` *answer*):
    the model is used for them, and they are a fortieth of all tokens.
    """
    weights = torch.ones(ids.shape, device=ids.device)
    chose = (ids[:, 1:-1] == words[":"]) & (ids[:, :-2] == words[")"])
    believed = ids[:, 1:-1] == words["is"]
    weights[:, 2:][chose | believed] = answer
    return weights


def optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon on the matrices inside the blocks, AdamW on everything else."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "layers" in n)]
    return [
        torch.optim.Muon(matrices, lr=RATES[0], weight_decay=0.01),
        torch.optim.AdamW(rest, lr=RATES[1], betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(done: int, tokens: int, polish: int) -> float:
    """Learning-rate factor after `done` tokens.

    A short warm-up, then linear to a hundredth; for the last `polish` tokens again from a quarter to nothing.

    With small batches names are looked up in the context only once the rate comes down: at a constant Muon rate of
    0.02 the share of a prediction that went to players of the game at hand stayed near 0.65 for 6M tokens, and rose
    to 0.9 while the rate fell.
    """
    if done >= tokens:
        return 0.25 * max(0.0, 1.0 - (done - tokens) / max(polish, 1))
    progress = done / tokens
    return max(progress / 0.01, 0.02) if progress < 0.01 else 1.0 - 0.99 * progress


def train(
    out: Path,
    *,
    seed: int = 0,
    tokens: int = 9_000_000,
    polish: int = 5_000_000,
    batch_tokens: int = 2048,
    lexicon: str = "classic",
    belief_share: float = 0.25,
    hidden: int = 128,
    layers: int = 4,
    checkpoints: int = 10,
    save_every: int = 500,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> Path:
    """Train and save to `out` (Hugging Face format); resumes from `out/training` if an earlier call was stopped.

    A checkpoint to resume from is written every `save_every` steps. `tokens` and `polish` count real (unpadded) tokens.
    `checkpoints` snapshots of the weights in bfloat16, at geometrically growing token counts, are kept in
    `out/training/checkpoints`. The loss curve is `out/training/loss.jsonl` (tokens, nats a token).
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    out.mkdir(parents=True, exist_ok=True)
    work = out / "training"
    (work / "checkpoints").mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer((lexicon,))
    model = LlamaForCausalLM(make_config(len(tokenizer), hidden, layers))
    initialise(model, seed)
    model.to(device)
    optims = optimizers(model)
    words: dict[str, int] = tokenizer.get_vocab()
    settings = {"seed": seed, "tokens": tokens, "polish": polish, "batch_tokens": batch_tokens, "lexicon": lexicon,
                "belief_share": belief_share, "hidden": hidden, "layers": layers}  # fmt: skip
    state: dict[str, Any] = {"settings": settings, "tokens": 0, "step": 0, "game": 0, "saved": 0}
    if (work / "state.json").is_file():
        state = resume(work, model, optims, settings, device)
        say(f"resuming at {state['tokens']:,} of {tokens + polish:,} tokens")
    n_games = tokens // 1400  # about 1,400 tokens a game over all views: what the curriculum is laid over
    data = DataLoader(
        Batches(seed, lexicon, belief_share, n_games, state["game"], batch_tokens),
        batch_size=None,
        num_workers=1,
        prefetch_factor=8,
    )
    marks = [int(tokens * 4.0 ** (i - checkpoints + 1)) for i in range(checkpoints)]
    started, since, recent = time.monotonic(), state["tokens"], []
    for index, ids in data:
        factor = schedule(state["tokens"], tokens, polish)
        for optim, base in zip(optims, RATES, strict=True):
            for group in optim.param_groups:
                group["lr"] = base * factor
        ids = ids.to(device)
        mask = ids != 0
        logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
        weights = emphasis(ids, words, ANSWER_WEIGHTS[state["tokens"] >= tokens]) * mask
        nats = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        loss = (nats * mask[:, 1:]).sum() / mask[:, 1:].sum()
        ((nats * weights[:, 1:]).sum() / weights[:, 1:].sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        state["tokens"] += int(mask.sum())
        state["step"] += 1
        state["game"] = int(index)
        recent.append(loss.item())
        if state["step"] % 50 == 0:
            mean = sum(recent) / len(recent)
            recent = []
            rate = (state["tokens"] - since) / (time.monotonic() - started)
            with (work / "loss.jsonl").open("a") as f:
                f.write(json.dumps({"tokens": state["tokens"], "loss": round(mean, 4)}) + "\n")
            left = (tokens + polish - state["tokens"]) / rate / 60
            say(
                f"{state['tokens']:>12,} tokens  loss {mean:.3f} nats  {rate:,.0f} tokens/s  {left:.0f} min left"
            )
        if state["step"] % save_every == 0:
            checkpoint(work, model, optims, state)
        while state["saved"] < len(marks) and state["tokens"] >= marks[state["saved"]]:
            weights = {
                k: v.detach().to("cpu", torch.bfloat16).contiguous() for k, v in model.state_dict().items()
            }
            save_file(weights, str(work / "checkpoints" / f"{marks[state['saved']]:012d}.safetensors"))
            state["saved"] += 1
        if state["tokens"] >= tokens + polish:
            break
    checkpoint(work, model, optims, state)
    save(out, model, tokenizer)
    say(f"saved {out}")
    return out


def save(out: Path, model: Any, tokenizer: Any) -> None:
    """Weights, configuration and tokenizer in Hugging Face format, readable by everyone."""
    model.to("cpu").save_pretrained(out)
    tokenizer.save_pretrained(out)
    for path in out.iterdir():
        if path.is_file():
            path.chmod(0o644)


def checkpoint(work: Path, model: Any, optims: list[torch.optim.Optimizer], state: dict[str, Any]) -> None:
    """Everything needed to go on, in safetensors and JSON; the JSON is renamed last and names its tensors' file."""
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for i, optim in enumerate(optims):
        for p, values in optim.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"optim{i}.{p}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    name = f"state-{state['step']}.safetensors"
    save_file(tensors, str(work / name))
    (work / "state.json.tmp").write_text(json.dumps({**state, "file": name}))
    (work / "state.json.tmp").replace(work / "state.json")
    for old in work.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def resume(
    work: Path, model: Any, optims: list[torch.optim.Optimizer], settings: dict[str, Any], device: str
) -> dict[str, Any]:
    """Load what `checkpoint` wrote. Raises ValueError where it was written under other settings."""
    state: dict[str, Any] = json.loads((work / "state.json").read_text())
    if state["settings"] != settings:
        raise ValueError(
            f"{work} holds a training run with {state['settings']}, but {settings} was asked for: "
            "use the same settings to go on, or another folder"
        )
    tensors = load_file(str(work / state.pop("file")), device=device)
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for i, optim in enumerate(optims):
        loaded = optim.state_dict()
        for name, value in tensors.items():
            head, _, rest = name.partition(".")
            if head == f"optim{i}":
                p, _, field = rest.partition(".")
                loaded["state"].setdefault(int(p), {})[field] = value
        optim.load_state_dict(loaded)
    curve = work / "loss.jsonl"
    if curve.is_file():  # lines of steps that the checkpoint does not hold are made again
        kept = [x for x in curve.read_text().splitlines() if json.loads(x)["tokens"] <= state["tokens"]]
        curve.write_text("".join(line + "\n" for line in kept))
    return state
