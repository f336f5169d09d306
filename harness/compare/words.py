"""Two models' predictions on the same tokens: divergence in both directions, and the contexts where it is largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch

from harness.compare.contexts import Compared, kinds_of
from harness.compare.pair import divergence

TOKENS: dict[str, Any] = {
    "game_id": pl.String, "seq": pl.Int32,  # of the decision that the token belongs to; null where it was read
    "seat": pl.Int16, "role": pl.String,  # the seat's role
    "token_index": pl.Int32, "token_id": pl.Int32, "text": pl.String,
    "kind": pl.String,  # kind of the innermost span that contains it
    "segment": pl.String,  # speech, ballot, night, thinking, another kind of decision; read
    "emitted": pl.Boolean,  # emitted by the run's model, else read
    "kl": pl.Float32,  # KL(A || B) of this token given those before it, nats
    "kl_back": pl.Float32,  # KL(B || A)
    "logp_a": pl.Float32, "logp_b": pl.Float32,
}  # fmt: skip
DECISIONS: dict[str, Any] = {
    "game_id": pl.String, "seq": pl.Int32, "seat": pl.Int16, "role": pl.String, "segment": pl.String,
    "n": pl.Int32,  # emitted tokens
    "kl": pl.Float64, "kl_back": pl.Float64,  # sums over them, nats
    "words": pl.List(pl.String),  # distinct ones that the seat had read by then
}  # fmt: skip
PARTINGS: dict[str, Any] = {
    "game_id": pl.String, "seq": pl.Int32, "seat": pl.Int16, "role": pl.String, "segment": pl.String,
    "kl": pl.Float64, "kl_back": pl.Float64,
    "before": pl.String,  # the last `BEFORE` tokens before
    "said": pl.String,  # the token in the context
    "a": pl.String, "b": pl.String,  # the likeliest words of each model with their probabilities
}  # fmt: skip
BEFORE, KEPT, LIKELIEST = 48, 40, 3


class Words:
    """Collects two models' predictions, batch by batch."""

    def __init__(self, vocabulary: Sequence[str], roles: Mapping[tuple[str, int], str], decode: Any) -> None:
        """roles: (game, seat) -> role. decode: token ids -> text."""
        self.vocabulary, self.roles, self.decode = vocabulary, roles, decode
        self.tokens: list[pl.DataFrame] = []
        self.decisions: list[dict[str, Any]] = []
        self.partings: list[dict[str, Any]] = []
        self.n_tokens = 0

    def add(self, batch: Sequence[Compared], a: torch.Tensor, b: torch.Tensor) -> None:
        """Log-probabilities `(n_contexts, n_tokens, n_words)` of both models on a batch."""
        forth, back = divergence(a, b), divergence(b, a)
        for row, one in enumerate(batch):
            self._context(one, a[row], b[row], forth[row].numpy(), back[row].numpy())
        self.partings = sorted(self.partings, key=lambda r: -max(r["kl"], r["kl_back"]))[:KEPT]

    def _context(
        self, one: Compared, a: torch.Tensor, b: torch.Tensor, forth: np.ndarray, back: np.ndarray
    ) -> None:
        view, n = one.view, len(one.view.ids)
        seat, game = view.decision.seat, one.game_id
        role = self.roles.get((game, seat))
        said, at = torch.tensor(view.ids[1:]), torch.arange(n - 1)
        segments = [one.segment(i) for i in range(1, n)]
        seqs = [one.emitted[i].seq if i in one.emitted else None for i in range(1, n)]
        self.n_tokens += n - 1
        self.tokens.append(
            pl.DataFrame(
                {
                    "game_id": [game] * (n - 1), "seq": seqs, "seat": [seat] * (n - 1), "role": [role] * (n - 1),
                    "token_index": np.arange(1, n), "token_id": said.numpy(),
                    "text": [self.vocabulary[i] for i in view.ids[1:]], "kind": kinds_of(view)[1:],
                    "segment": segments, "emitted": [s is not None for s in seqs],
                    "kl": forth[: n - 1], "kl_back": back[: n - 1],
                    "logp_a": a[at, said].numpy(), "logp_b": b[at, said].numpy(),
                },
                schema=TOKENS, strict=False,
            )
        )  # fmt: skip
        by_decision: dict[int, list[int]] = {}
        for i in sorted(one.emitted):
            if i > 0:
                by_decision.setdefault(one.emitted[i].seq, []).append(i)
        for seq, indices in by_decision.items():
            where = np.array(indices) - 1
            known = {
                "game_id": game, "seq": seq, "seat": seat, "role": role, "segment": one.segment(indices[0]),
            }  # fmt: skip
            read = dict.fromkeys(view.ids[: indices[0]])
            self.decisions.append(
                known | {
                    "n": len(indices), "kl": float(forth[where].sum()), "kl_back": float(back[where].sum()),
                    "words": list(dict.fromkeys(self.vocabulary[i].strip() for i in read)),
                }
            )  # fmt: skip
            peak = indices[int(np.argmax(np.maximum(forth[where], back[where])))]
            self.partings.append(
                known | {
                    "kl": float(forth[peak - 1]), "kl_back": float(back[peak - 1]),
                    "before": self.decode(list(view.ids[max(0, peak - BEFORE) : peak])),
                    "said": self.vocabulary[view.ids[peak]],
                    "a": self._likeliest(a[peak - 1]), "b": self._likeliest(b[peak - 1]),
                }
            )  # fmt: skip

    def _likeliest(self, logs: torch.Tensor) -> str:
        values, ids = logs.topk(min(LIKELIEST, len(logs)))
        shown = (
            f"{self.vocabulary[i].strip() or '(line end)'} {p:.0%}"
            for p, i in zip(values.exp().tolist(), ids.tolist(), strict=True)
            if p >= 0.005
        )
        return ", ".join(shown)


def vocabulary_of(hooked: Any) -> list[str]:
    """The text of every token id; the number itself where there is no tokenizer or no such token."""
    if hooked.tokenizer is None:
        return [str(i) for i in range(hooked.vocab_size)]
    known = len(hooked.tokenizer)
    return [hooked.tokenizer.decode([i]) if i < known else str(i) for i in range(hooked.vocab_size)]
