"""A model's answers to the inquiries of `held_out`, and its activations where a belief might be read.

Sites, each a position of one token; all of them come before anything that tells the answer:

    mention    last mention of the subject in what was read
    offer      the subject among the names that may be voted for, in the viewer's own ballot right after
    name       the subject at the end of the question `Ada believes Ben`
    second     the viewer at the end of the question `Ada believes Ben believes Ada`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from games.werewolf.config import Role
from games.werewolf.lexicon import lexicon as load_lexicon
from harness.held_out import Sitting
from harness.training_batches import Row, collate

SITES = ("mention", "offer", "name", "second")


class Readings:
    """What was read; row i belongs to inquiry i of all sittings in order."""

    def __init__(self, stated: np.ndarray, second: np.ndarray, activations: np.ndarray) -> None:
        self.stated = stated
        """Stated P(subject is a werewolf) `(n_inquiries,)`: of the role words only."""
        self.second = second
        """Stated P(viewer is a werewolf) in the subject's eyes `(n_inquiries,)`."""
        self.activations = activations
        """Residual stream `(n_inquiries, n_sites, n_layers + 1, hidden)` float32; layer 0 is the embedding.

        NaN where there is no such token (a viewer who casts no ballot is offered none).
        """


def read(model: Any, tokenizer: Any, sittings: Sequence[Sitting], lexicon: str, batch: int = 16) -> Readings:
    """Read a Llama-like model in one pass a view."""
    words = tokenizer.get_vocab()
    stated, second, activations = [], [], []
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
        hidden = (
            torch.stack(out.hidden_states, dim=2).float().numpy()
        )  # (n_views, n_tokens, n_layers + 1, hidden)
        for r, sitting in enumerate(part):
            first, then, places = positions(b, r, sitting, words)
            stated.append(p[r, first].numpy())
            second.append(p[r, then].numpy())
            found = hidden[r][np.maximum(places, 0)]
            activations.append(np.where((places >= 0)[..., None, None], found, np.nan))
    return Readings(np.concatenate(stated), np.concatenate(second), np.concatenate(activations))


def p_werewolf(logits: torch.Tensor, words: Mapping[str, int], lexicon: str) -> torch.Tensor:
    """P(werewolf) of the role words `(...)` by logits `(..., n_words)`."""
    terms = load_lexicon(lexicon).terms
    roles: tuple[str, ...] = Role.__args__  # type: ignore[attr-defined]
    ids = torch.tensor([words[terms[role]] for role in roles])
    return torch.softmax(logits[..., ids].float(), dim=-1)[..., roles.index("werewolf")]


def positions(
    b: Any, r: int, sitting: Sitting, words: dict[str, int]
) -> tuple[list[int], list[int], np.ndarray]:
    """Where the answers of one sitting are: of first order, of second order, and the sites `(n_inquiries, n_sites)`.

    -1 stands for a site that is not there.
    """
    ids = b.ids[r].tolist()
    ends = b.kind[r].eq(3).nonzero()[:, 0].tolist()
    n_view = int(b.stem[r].eq(0).sum())
    first, then, places = [], [], []
    at = k = 0
    for fork in sitting.view.forks:
        half = len(fork.asked) // 2
        first += ends[at : at + half]
        then += ends[at + half : at + 2 * half]
        limit = int(b.limit[r, ends[at]])
        # What comes right after is the viewer's own ballot, if it casts one: `Ada votes (Ben Cal nobody): ...`
        close = next((i for i in range(limit, n_view) if ids[i] in (words[")"], words["\n"])), limit)
        offered = {ids[i]: i for i in range(limit, close)} if ids[close] == words[")"] else {}
        for end, second in zip(ends[at : at + half], ends[at + half : at + 2 * half], strict=True):
            name = words[sitting.names[sitting.inquiries[k].subject]]
            mention = max(i for i in range(limit) if ids[i] == name)
            places.append((mention, offered.get(name, -1), end, second))
            k += 1
        at += 2 * half
    return first, then, np.array(places)
