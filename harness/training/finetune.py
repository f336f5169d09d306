"""Continue training a small model, by a recipe with a stated intervention or by its control.

The model's folder records its origin: `recipe.json` holds the base's name and hash, the recipe, its hash, and whether
it is the control.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from agents.exam import lexicon_of
from agents.models.folder import ModelFilesError, load_tokenizer, model_name
from agents.models.small import find_model
from agents.werewolf.vocabulary import make_tokenizer
from games import DEFAULT
from harness.atomic import write_whole
from harness.gate import own_folder
from harness.training.attention import predictor
from harness.training.batches import Batches, loaded
from harness.training.checkpoint import save
from harness.training.growth import learning
from harness.training.loop import Loop, falling
from harness.training.precision import device_of
from harness.training.recipes import Recipe, recipe_stream
from harness.training.train import KIND_WEIGHTS


class RecipeInfo(msgspec.Struct, frozen=True):
    """The content of `recipe.json` beside the weights."""

    base: str
    """`name@hash` of the weights that training began from."""
    recipe: dict[str, Any]
    hash: str
    """Hash of the recipe."""
    control: bool
    """Whether the change was left out."""
    tokens: int
    """Training tokens beyond the base's."""


def finetune(
    out: Path,
    base: str | Path,
    recipe: Recipe,
    *,
    control: bool = False,
    tokens: int | None = None,
    batch_tokens: int = 2048,
    save_every: int = 100,
    device: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train the model in the folder `base` by a recipe, into `out`; resumes where an earlier call stopped.

    control: the same games without the change. tokens: override the recipe's. Raises ModelFilesError where the base
    is not a small model of Werewolf, ValueError where `out` holds a run under other settings.
    """
    folder = find_model(base)
    name, tokenizer = model_name(folder), load_tokenizer(folder)
    try:
        lexicon = lexicon_of(DEFAULT, tokenizer)
    except ValueError as error:
        raise ModelFilesError(f"{folder} is no small model of Werewolf: {error}") from error
    if tokenizer.get_vocab() != make_tokenizer((lexicon,)).get_vocab():
        raise ModelFilesError(
            f"{folder} has another vocabulary than the language under the lexicon {lexicon!r}; give a base that "
            "`wolfscope train-small-model` made"
        )
    device = device_of(device)
    wanted = recipe.tokens if tokens is None else tokens
    own_folder(out)
    model = learning(folder, device)
    settings = {
        "base": name,
        "recipe": recipe.hash(),
        "control": control,
        "tokens": wanted,
        "batch_tokens": batch_tokens,
    }
    loop = Loop(out / "training", model, settings, device=device, say=say)
    source = partial(recipe_stream, recipe, lexicon, control, loop.state["game"])
    data = Batches(source, recipe.seed, partial(make_tokenizer, (lexicon,)), batch_tokens)
    weights = torch.tensor(KIND_WEIGHTS[-1], device=device)
    loop.run(
        loaded(data, 16),
        predict=predictor(model, device),
        weights=lambda _: weights,
        rate=partial(falling, tokens=wanted, highest=recipe.rate),
        save_every=save_every,
    )
    save(out, model, tokenizer)
    info = RecipeInfo(name, recipe.model_dump(mode="json"), recipe.hash(), control, loop.state["tokens"])
    write_whole(out / "recipe.json", msgspec.json.format(msgspec.json.encode(info), indent=1) + b"\n")
    say(f"saved {out}")
    return out
