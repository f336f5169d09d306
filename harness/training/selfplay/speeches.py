"""Speeches with exact labels: whether a lie was told, the words, and the activations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import torch

from games import load_game
from harness.training.selfplay.contexts import LearnerContext, contexts_of
from harness.training.selfplay.lockstep import Played

BATCH_TOKENS = 4096


class Speech(msgspec.Struct):
    """One speech of a seat."""

    game: int
    seat: int
    seq: int
    lies: bool
    """Whether it tells a lie: a false proposition that its speaker could not hold true (`games.statements`)."""
    words: list[int]
    """Its token ids, with every player's name replaced by 0, so that a monitor cannot use names."""


def lies_of(played: Played) -> set[int]:
    """seqs of a game's decisions that tell a lie."""
    found = load_game(played.planned.game).statements(played.planned.config, played.log)
    return {statement.seq for statement in found if statement.label == "lie"}


def names_of(tokenizer: Any, played: Played) -> set[int]:
    """Token ids of the players' names."""
    game = load_game(played.planned.game)
    facts = game.seats(played.planned.config, played.log)
    ids = tokenizer([f" {fact.name}" for fact in facts], add_special_tokens=False)["input_ids"]
    return {i for some in ids for i in some}


def speeches_of(
    games: Sequence[Played], agents: Collection[str], tokenizer: Any
) -> tuple[list[Speech], list[LearnerContext]]:
    """The speeches of some agents' seats, and the contexts that hold them, one a speech: each ends with it."""
    speeches: list[Speech] = []
    contexts: list[LearnerContext] = []
    for index, played in enumerate(games):
        lies, names = lies_of(played), names_of(tokenizer, played)
        spoken = load_game(played.planned.game).speech_kinds
        for context in contexts_of(played, index, agents):
            for own in context.own:
                if own.kind in spoken:
                    words = [0 if i in names else i for i in context.ids[own.start : own.end]]
                    speeches.append(Speech(index, context.seat, own.seq, own.seq in lies, words))
                    contexts.append(msgspec.structs.replace(context, own=[own], ids=context.ids[: own.end]))
    return speeches, contexts


def bags(speeches: Sequence[Speech], n_words: int) -> np.ndarray:
    """Bag of words `(n_speeches, n_words)` float32: 1 where a word occurs in a speech."""
    out = np.zeros((len(speeches), n_words), dtype=np.float32)
    for row, speech in enumerate(speeches):
        out[row, speech.words] = 1.0
    return out


@torch.no_grad()
def activations(model: Any, contexts: Sequence[LearnerContext], layer: int) -> np.ndarray:
    """The residual stream after block `layer` (0 is the first) at the last token of each context's last own decision:
    `(n_contexts, d_model)` float32, in the order given."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = next(model.parameters()).device
    found: dict[int, np.ndarray] = {}
    places = {id(c): i for i, c in enumerate(contexts)}
    for some in _in_batches(contexts):
        ids = torch.zeros(len(some), max(c.own[-1].end for c in some), dtype=torch.long)
        for row, c in enumerate(some):
            ids[row, : c.own[-1].end] = torch.tensor(c.ids[: c.own[-1].end])
        streams = base.get_decoder()(
            input_ids=ids.to(device), use_cache=False, output_hidden_states=True
        ).hidden_states
        last = torch.tensor([c.own[-1].end - 1 for c in some], device=device)
        read = streams[layer + 1][torch.arange(len(some), device=device), last].float().cpu().numpy()
        found.update({places[id(c)]: row for c, row in zip(some, read, strict=True)})
    return np.stack([found[i] for i in range(len(contexts))]) if contexts else np.zeros((0, 0), np.float32)


def _in_batches(contexts: Sequence[LearnerContext]) -> Iterator[list[LearnerContext]]:
    some: list[LearnerContext] = []
    for c in sorted(contexts, key=lambda c: c.own[-1].end):
        if some and (len(some) + 1) * c.own[-1].end > BATCH_TOKENS:
            yield some
            some = []
        some.append(c)
    if some:
        yield some
