"""Continue training a small model on a second game, mixed with its first one: one model of both.

The words that only the second game has get ids after the base's own, so every text of the first game keeps its
tokens. Names, questions and their look-up are the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from agents.lessons import View, lessons_of
from agents.models.folder import ModelFilesError, load_tokenizer, model_name
from agents.models.small import find_model, widened, words_of
from games import DEFAULT, chance
from harness.atomic import write_whole
from harness.gate import own_folder
from harness.training import attention as training_attention
from harness.training.attention import predictor
from harness.training.batches import AHEAD, Batches, loaded
from harness.training.checkpoint import save
from harness.training.growth import grown
from harness.training.loop import Loop, rise_and_fall
from harness.training.precision import device_of
from harness.training.together import Together, silent, train_together
from harness.training.train import KIND_WEIGHTS

TOKENS, KEPT = 10_000_000, 0.25
"""Defaults: number of training tokens, and share of the games that are of the first game."""
HIGHEST = 0.3
"""Highest learning-rate factor."""
LOOKED_UP = 0.06
"""Share of the tokens over which the new game's curriculum moves from the moderator's view to the seats' views."""
FROM, SEATED, UNTIL = 0.2, 0.42, 1.1
"""Progress of the curriculum at the start, at the switch to seats' views only, and at the end."""
VIEWS_TOKENS = 4_500
"""Approximate tokens per game of the new game's curriculum."""


class JointInfo(msgspec.Struct, frozen=True):
    """The content of `joint.json` beside the weights."""

    base: str
    """`name@hash` of the weights that training began from."""
    games: dict[str, float]
    """Game -> share of the games that it was trained on."""
    tokens: int
    """Training tokens beyond the base's."""


def learn_game(
    out: Path,
    base: str | Path,
    game: str,
    *,
    first: str = DEFAULT,
    kept: float = KEPT,
    tokens: int = TOKENS,
    seed: int = 0,
    lexicon: str = "classic",
    batch_tokens: int = 2048,
    save_every: int = 200,
    device: str = "auto",
    compiled: bool = False,
    processes: int = 1,
    say: Callable[[str], None] = silent,
) -> Path:
    """Train the model in the folder `base`, which plays `first`, also on `game`, into `out`; resumes where it
    stopped.

    kept: share of the games that are of `first`. compiled: torch.compile fuses the model's kernels. processes: that
    train side by side, with a batch of `batch_tokens` each in every step. Raises ModelFilesError where the base lacks
    words of the first game under the lexicon, ValueError where `out` holds a run under other settings.
    """
    folder = find_model(base)
    missing = (
        lessons_of(first).make_tokenizer((lexicon,)).get_vocab().keys() - load_tokenizer(folder).get_vocab()
    )
    if missing:
        raise ModelFilesError(
            f"{folder} lacks words of {first} under the lexicon {lexicon!r} ({', '.join(sorted(missing)[:5])}): give a "
            "base that was trained on that game under that lexicon"
        )
    device = device_of(device)
    own_folder(out)
    settings = {
        "base": model_name(folder), "game": game, "first": first, "kept": kept, "tokens": tokens, "seed": seed,
        "lexicon": lexicon, "batch_tokens": batch_tokens, "processes": processes,
    }  # fmt: skip
    train_together(
        partial(learn, out, folder, settings, save_every, device, compiled), processes, device, say
    )
    return out


def learn(
    out: Path,
    folder: Path,
    settings: Mapping[str, Any],
    save_every: int,
    device: str,
    compiled: bool,
    *,
    together: Together,
    say: Callable[[str], None],
) -> None:
    """What one process does in `learn_game`."""
    game, seed, lexicon, tokens = (settings[name] for name in ("game", "seed", "lexicon", "tokens"))
    make_tokenizer = partial(joint_tokenizer, folder, game, lexicon)
    tokenizer = make_tokenizer()
    model = grown(folder, tokenizer, seed, training_attention.NAME).to(device)
    model.train()
    loop = Loop(out / "training", model, settings, device=device, together=together, say=say)
    shares = {settings["first"]: settings["kept"], game: 1.0 - settings["kept"]}
    n_games = max(1, int(tokens / VIEWS_TOKENS))
    source = partial(
        both, shares, game, seed, lexicon, n_games, loop.state["game"] + together.rank, together.size
    )
    weights = torch.tensor(KIND_WEIGHTS[-1], device=device)
    loop.run(
        loaded(Batches(source, seed, make_tokenizer, settings["batch_tokens"]), AHEAD),
        predict=predictor(model, device, compiled),
        weights=lambda _: weights,
        rate=partial(rise_and_fall, tokens=tokens, highest=HIGHEST),
        save_every=save_every,
        marks=[tokens * share for share in (0.125, 0.25, 0.5, 0.75, 1.0)],
    )
    if together.rank:
        return
    save(out, model, tokenizer)
    info = JointInfo(model_name(folder), shares, loop.state["tokens"])
    write_whole(out / "joint.json", msgspec.json.format(msgspec.json.encode(info), indent=1) + b"\n")
    say(f"saved {out}")


def joint_tokenizer(folder: Path, game: str, lexicon: str) -> Any:
    """A tokenizer with the base's words at their ids, followed by the game's."""
    return widened(load_tokenizer(folder), words_of(lessons_of(game).make_tokenizer((lexicon,))))


def both(
    shares: Mapping[str, float],
    learned: str,
    seed: int,
    lexicon: str,
    n_games: int,
    start: int = 0,
    step: int = 1,
) -> Iterator[tuple[int, list[View]]]:
    """(index, views) of every `step`th game from `start` on, each of one game by its share; `learned` begins with
    look-ups."""
    names = sorted(shares)
    views = {name: lessons_of(name).views for name in names}
    index = start
    while True:
        drawn = names[chance.draw([shares[name] for name in names], chance.key(seed, "joint", index))]
        done = index / n_games
        progress = UNTIL
        if drawn == learned:
            early = min(1.0, done / LOOKED_UP)
            progress = FROM + (SEATED - FROM) * early
            if done > LOOKED_UP:
                progress = SEATED + (UNTIL - SEATED) * min(1.0, (done - LOOKED_UP) / (1 - LOOKED_UP))
        yield index, views[drawn](index, seed, progress, lexicon, 1.0)
        index += step
