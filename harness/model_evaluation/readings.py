"""A model's answers to the inquiries of `held_out`, and its activations where a belief might be read.

Sites, each a position of one token; all of them come before anything that tells the answer:

    mention    last mention of the subject in what was read
    offer      the subject among the names that may be voted for, in the viewer's own ballot right after
    name       the subject at the end of the question `Ada believes Ben`
    second     the viewer at the end of the question `Ada believes Ben believes Ada`
    character  the end of the question `Ada believes Ben plays`, where the model has that word
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from agents.werewolf.styles import CAST
from agents.werewolf.vocabulary import PLAYS
from games.werewolf.lexicon import lexicon as load_lexicon
from games.werewolf.roles import ROLES
from harness.model_evaluation.held_out import Sitting
from harness.training.batches import BELIEF, Row, collate

BELIEF_SITES = ("mention", "offer", "name", "second")
SITES = (*BELIEF_SITES, "character")


class Readings:
    """What was read; row i belongs to inquiry i of all sittings in order."""

    def __init__(
        self, stated: np.ndarray, second: np.ndarray, characters: np.ndarray, activations: np.ndarray
    ) -> None:
        self.stated = stated
        """Stated P(subject is a werewolf) `(n_inquiries,)`: of the role words only."""
        self.second = second
        """Stated P(viewer is a werewolf) in the subject's eyes `(n_inquiries,)`."""
        self.characters = characters
        """Stated P(character of the subject) `(n_inquiries, n_characters)`, in the order of `CAST`; NaN where the
        model has no words for them."""
        self.activations = activations
        """Residual stream `(n_inquiries, n_sites, n_layers + 1, hidden)` float32; layer 0 is the embedding.

        NaN where there is no such token (a viewer who casts no ballot is offered none, a model that was never asked
        for characters has no word that asks).
        """


def read(model: Any, tokenizer: Any, sittings: Sequence[Sitting], lexicon: str, batch: int = 16) -> Readings:
    """Read a Llama-like model in one pass a view."""
    words = tokenizer.get_vocab()
    stated, second, played, activations = [], [], [], []
    for start in range(0, len(sittings), batch):
        part = sittings[start : start + batch]
        rows = [Row(sitting.view, words, tokenizer) for sitting in part]
        b = collate(rows)
        with torch.inference_mode():
            out = model(
                input_ids=b.ids,
                attention_mask=b.mask(),
                position_ids=b.position,
                use_cache=False,
                output_hidden_states=True,
            )
            p = p_werewolf(out.logits, words, lexicon)
            styles = p_characters(out.logits, words)
        hidden = (
            torch.stack(out.hidden_states, dim=2).float().numpy()
        )  # (n_views, n_tokens, n_layers + 1, hidden)
        for r, sitting in enumerate(part):
            places = positions(b, r, sitting, words)
            first, then, last = (places[:, SITES.index(site)] for site in ("name", "second", "character"))
            stated.append(p[r, first].numpy())
            second.append(p[r, then].numpy())
            played.append(np.where((last >= 0)[:, None], styles[r, last].numpy(), np.nan))
            found = hidden[r][np.maximum(places, 0)]
            activations.append(np.where((places >= 0)[..., None, None], found, np.nan))
    return Readings(*map(np.concatenate, (stated, second, played, activations)))


def p_werewolf(logits: torch.Tensor, words: Mapping[str, int], lexicon: str) -> torch.Tensor:
    """P(werewolf) of the role words `(...)` by logits `(..., n_words)`."""
    terms = load_lexicon(lexicon).terms
    roles = [role for role in ROLES if terms[role] in words]  # a role that joined later has no word here
    ids = torch.tensor([words[terms[role]] for role in roles])
    return torch.softmax(logits[..., ids].float(), dim=-1)[..., roles.index("werewolf")]


def p_characters(logits: torch.Tensor, words: Mapping[str, int]) -> torch.Tensor:
    """P of the words for characters `(..., n_characters)` by logits `(..., n_words)`; NaN where one is no word."""
    if not set(CAST) <= set(words):
        return torch.full((*logits.shape[:-1], len(CAST)), torch.nan)
    return torch.softmax(logits[..., [words[name] for name in CAST]].float(), dim=-1)


def positions(b: Any, r: int, sitting: Sitting, words: Mapping[str, int]) -> np.ndarray:
    """Where the sites of one sitting are `(n_inquiries, n_sites)`; -1 stands for one that is not there."""
    ids = b.ids[r].tolist()
    ends = b.kind[r].eq(BELIEF).nonzero()[:, 0].tolist()
    n_view = int(b.stem[r].eq(0).sum())
    places = []
    at = k = 0
    for fork in sitting.view.forks:
        third = len(fork.asked) // 3
        first, then, last = (ends[at + n * third : at + (n + 1) * third] for n in range(3))
        limit = int(b.limit[r, ends[at]])
        # What comes right after is the viewer's own ballot, if it casts one: `Ada votes (Ben Cal nobody): ...`
        close = next((i for i in range(limit, n_view) if ids[i] in (words[")"], words["\n"])), limit)
        offered = {ids[i]: i for i in range(limit, close)} if ids[close] == words[")"] else {}
        for end, second, plays in zip(first, then, last, strict=True):
            name = words[sitting.names[sitting.inquiries[k].subject]]
            mention = max(i for i in range(limit) if ids[i] == name)
            asked = plays if ids[plays] == words.get(PLAYS) else -1
            places.append((mention, offered.get(name, -1), end, second, asked))
            k += 1
        at += 3 * third
    return np.array(places)
