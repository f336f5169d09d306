"""Fine-tune a model on lessons: `wolfscope finetune`. Seeded; the same command resumes where it was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from agents.models.folder import check_model_dir, load_tokenizer, max_context, model_name, read_config
from harness.gate import own_folder
from harness.run.folder import load_run
from harness.training.language.batches import KINDS, apart, batches, collate, cut
from harness.training.language.dataset import hash_of_lessons
from harness.training.language.lessons import LeftOut, Lesson, check_lessons, lessons_of
from harness.training.language.loss import Tally, score, weighted
from harness.training.language.settings import FinetuneConfig, FinetuneError
from harness.training.language.weights import (
    CURVE,
    checkpoint,
    learning_model,
    optimizer_of,
    resume,
    save,
)
from harness.training.precision import device_of

WARM_UP = 0.03
"""Share of the tokens over which the learning rate rises."""
SHOWN = 400
"""Characters of learned text that are shown as a sample."""
PARITY_TOKENS = 32
"""Tokens of the first lesson whose activation row lets loaders verify that they apply the adapter."""
MEASURED = 64
"""Most held-out batches per measurement."""


def finetune(config: FinetuneConfig, out: Path, say: Callable[[str], None]) -> Path:
    """Fine-tune, and save the adapter (or the whole model) to a folder in `out` named after both; returns its path.

    Raises ConfigurationError, ModelFilesError, RunFolderError, and FinetuneError where nothing can be learned.
    """
    folder = check_model_dir(config.model.folder)
    device = device_of(config.model.device)
    own_folder(out)
    learned, held_out, facts = prepare(config, folder, say)
    model = learning_model(folder, config, device)
    numbers = [(p.numel(), p.requires_grad) for p in model.parameters()]
    learning, n_numbers = sum(n for n, learns in numbers if learns), sum(n for n, _ in numbers)
    say(f"{learning:,} of {n_numbers:,} numbers learn ({config.model.weights}), {device}")
    optim = optimizer_of(model, config.train.rate)
    identity = {"config": config.model_dump(mode="json"), "base": facts["base"], "data": facts["data"]}
    state = resume(out, model, optim, identity)
    if state is None:
        (out / CURVE).unlink(missing_ok=True)
        state = {"identity": identity, "step": 0, "tokens": 0, "epochs": 0.0}
    else:
        say(f"going on at {state['tokens']:,} of {config.train.tokens:,} tokens")
    learn(model, optim, learned, held_out, config, device, state, out, say)
    facts |= {"tokens": state["tokens"], "steps": state["step"], "settings": identity["config"]}
    model.set_attn_implementation("sdpa")  # the parity row is of the attention of play
    taught = out / f"{folder.name}-{out.resolve().name}"
    save(taught, model, folder, config, facts, learned[0].ids[:PARITY_TOKENS])
    say(f"saved {taught}")
    return taught


def prepare(
    config: FinetuneConfig, folder: Path, say: Callable[[str], None]
) -> tuple[list[Lesson], list[Lesson], dict[str, Any]]:
    """(training lessons, held-out lessons, their sources); reports what is learned and shows a sample."""
    left_out = LeftOut()
    lessons: list[Lesson] = []
    for path in config.data.runs:
        run = load_run(path)
        lessons += lessons_of(run, folder, config.player, config.data, config.train.seed, left_out, say)
    check_lessons(lessons, left_out)
    facts = {
        "base": model_name(folder),
        "data": hash_of_lessons(lessons),
        "runs": [Path(path).name for path in config.data.runs],
        "where": config.data.where,
    }
    most = max_context(folder, config.train.max_context)
    whole = sum(lesson.n_learned for lesson in lessons)
    lessons = [one for one in (cut(lesson, most) for lesson in lessons) if one.n_learned]
    n_read, n_learned = sum(x.n_tokens for x in lessons), sum(x.n_learned for x in lessons)
    if whole > n_learned:
        say(
            f"{whole - n_learned:,} of {whole:,} learned tokens lie beyond max_context = {most} and are left out"
        )
    if not lessons:
        raise FinetuneError(f"no lesson fits into max_context = {most}: raise train.max_context")
    if not one_mask(folder, lessons):
        lessons = [part for lesson in lessons for part in apart(lesson)]
    longest = max(lesson.n_tokens for lesson in lessons)
    say(
        f"{len(lessons):,} lessons of {len({x.game_id for x in lessons}):,} games, {n_read:,} tokens, of which "
        f"{n_learned:,} ({n_learned / n_read:.1%}) are learned; the longest has {longest:,}; left out: "
        f"{left_out.fallbacks:,} fallbacks, {left_out.unsaid:,} decisions that the style cannot say"
        + (f" ({left_out.why})" if left_out.unsaid else "")
    )
    say(f"what is learned of the first lesson: {shown(lessons[0], load_tokenizer(folder))}")
    learned = [x for x in lessons if not _held_out(x, config.data.held_out)]
    held_out = [x for x in lessons if _held_out(x, config.data.held_out)]
    if not learned:
        raise FinetuneError(
            f"all {len(lessons)} lessons are held out: lower data.held_out or take more games"
        )
    return learned, held_out, facts


def one_mask(folder: Path, lessons: Sequence[Lesson]) -> bool:
    """Whether one mask serves all layers, so that questions can share a view's pass; False where layers have windows
    shorter than the lessons."""
    config = read_config(folder)
    window = (config.get("text_config") or config).get("sliding_window") or config.get("sliding_window")
    return not isinstance(window, int) or max(lesson.n_tokens for lesson in lessons) <= window


def shown(lesson: Lesson, tokenizer: Any) -> str:
    """The learned text, answer by answer, end tokens included."""
    texts = [lesson.ids[p.start : p.end] for p in lesson.pieces] + [f.ids[f.start :] for f in lesson.forks]
    found = " | ".join(repr(tokenizer.decode(list(ids), skip_special_tokens=False)) for ids in texts)
    return found if len(found) <= SHOWN else found[:SHOWN] + "..."


def _held_out(lesson: Lesson, share: float) -> bool:
    digest = blake2b(lesson.game_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64 < share


def schedule(done: int, tokens: int) -> float:
    """Factor of the learning rate: a linear rise over `WARM_UP`, then a linear fall to zero."""
    progress = done / tokens
    return max(progress / WARM_UP, 0.02) if progress < WARM_UP else max(0.0, (1 - progress) / (1 - WARM_UP))


def learn(
    model: Any,
    optim: torch.optim.Optimizer,
    lessons: Sequence[Lesson],
    held_out: Sequence[Lesson],
    config: FinetuneConfig,
    device: str,
    state: dict[str, Any],
    out: Path,
    say: Callable[[str], None],
) -> None:
    """Train until `config.train.tokens`; the curve is `out/curve.jsonl`, with checkpoints beside it."""
    train = config.train
    weights = torch.tensor([getattr(train.weights, kind) for kind in KINDS], device=device)
    started, since, tally = time.monotonic(), state["tokens"], Tally()
    if state["step"] == 0:
        _measure(model, held_out, train.batch_tokens, device, state, out, say)
    for _, some in batches(lessons, train.batch_tokens, train.seed, state["step"]):
        if state["tokens"] >= train.tokens:
            break
        for group in optim.param_groups:
            group["lr"] = train.rate * schedule(state["tokens"], train.tokens)
        batch = collate(some).to(device)
        scores = score(model, batch)
        loss = weighted(scores, batch, weights)
        if not bool(torch.isfinite(loss)):
            raise FinetuneError(
                f'the loss is {float(loss)} at step {state["step"]}: lower train.rate, or use dtype = "float32"; the '
                "last checkpoint is whole"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optim.step()
        optim.zero_grad(set_to_none=True)
        tally.add(scores, batch)
        state["step"] += 1
        state["tokens"] += batch.n_read
        if state["step"] % 20 == 0:
            rate = (state["tokens"] - since) / (time.monotonic() - started)
            left = max(0, train.tokens - state["tokens"]) / rate / 60
            _note(out, state, "learned", tally.row())
            say(
                f"{state['tokens']:>11,} tokens  {_words(tally.row())}  {rate:,.0f} tokens/s  {left:.0f} min left"
            )
            tally = Tally()
        if state["step"] % train.save_every == 0:
            checkpoint(out, model, optim, state)
        if state["step"] % train.measure_every == 0:
            _measure(model, held_out, train.batch_tokens, device, state, out, say)
    checkpoint(out, model, optim, state)
    _measure(model, held_out, train.batch_tokens, device, state, out, say)


def _measure(
    model: Any,
    held_out: Sequence[Lesson],
    batch_tokens: int,
    device: str,
    state: dict[str, Any],
    out: Path,
    say: Callable[[str], None],
) -> None:
    """Nats on the games held out."""
    if not held_out:
        return
    tally = Tally()
    model.eval()
    with torch.no_grad():
        for number, some in batches(held_out, batch_tokens, 0):
            if number >= min(MEASURED, len(held_out)) or number >= _n_batches(held_out, batch_tokens):
                break
            batch = collate(some).to(device)
            tally.add(score(model, batch), batch)
    model.train()
    _note(out, state, "held_out", tally.row())
    say(f"{state['tokens']:>11,} tokens  held out: {_words(tally.row())}")


def _n_batches(lessons: Sequence[Lesson], batch_tokens: int) -> int:
    from harness.training.language.batches import plan

    return len(plan(lessons, batch_tokens, 0, 0))


def _note(out: Path, state: dict[str, Any], which: str, row: dict[str, float]) -> None:
    with (out / CURVE).open("a") as file:
        file.write(json.dumps({"step": state["step"], "tokens": state["tokens"], "on": which, **row}) + "\n")


def _words(row: dict[str, float]) -> str:
    return "  ".join(
        f"{kind} {row[kind]:.3f} ({row[f'{kind}_whole']:.0%} whole)" for kind in KINDS if kind in row
    )
