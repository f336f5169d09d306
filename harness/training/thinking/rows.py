"""Views with thoughts as batches of tokens: each thought on a fork of its view, followed by the decision and
questions.

The mask of `harness.training.batches` serves: a thought is a stem, the decision after it and each question are rests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from agents.llm.written.line import AGAINST, FOR
from agents.models.small import NUMBERS
from agents.werewolf.lessons.thinking.views import Thinker, Thought, views
from agents.werewolf.lessons.thinking.vocabulary import make_tokenizer
from harness.training.batches import (
    ANSWERED,
    BELIEF,
    TEXT,
    Batch,
    Row,
    batched,
    collate,
    expected_words,
    kinds_of,
)

THOUGHT, AMOUNT, AGAIN = 6, 7, 8
"""Kinds of target beside those of `Batch.kind`: a word of a thought; a number, `for` or `against` in it; a number of
a belief that is stated a second time."""
N_KINDS = 9
POOL = 24
"""Batches that are shuffled together."""


class ThinkingRow(Row):
    """One view with its thoughts as columns of a batch."""

    def __init__(self, thinker: Thinker, words: Mapping[str, int], tokenizer: Any) -> None:
        super().__init__(thinker.view, words, tokenizer)
        for stem, thought in enumerate(thinker.thoughts, len(thinker.view.forks) + 1):
            self._think(thought, self.ends[thought.n_lines], stem, thinker.view.name)

    def _think(self, thought: Thought, limit: int, stem: int, name: str) -> None:
        given = self._encode(thought.given)
        ids = [*given, *self._encode(thought.written + "\n")]
        n = len(ids)
        target, kind = [*ids[1:], 0], [0] * n
        if thought.written:
            amounts = {self.words[word] for word in (*NUMBERS, FOR, AGAINST)}
            for i in range(len(given) - 1, n - 1):
                kind[i] = AMOUNT if ids[i + 1] in amounts else THOUGHT
        target = [t if k else 0 for t, k in zip(target, kind, strict=True)]
        self._append(ids, target, kind, [1.0] * n, limit, 0, stem, 0)
        self._decide(thought, limit, n, stem, name)
        for rest, (question, answer) in enumerate(thought.asked, 2):
            self._add(self._encode(question), limit, n, stem, rest, answer)
        if thought.again[0]:
            self._state_again(thought, limit, n, stem, len(thought.asked) + 2)

    def _state_again(self, thought: Thought, limit: int, after: int, stem: int, rest: int) -> None:
        given, numbers = self._encode(thought.again[0]), {self.words[word] for word in NUMBERS}
        ids = [*given, *self._encode(thought.again[1])]
        kind = [0] * len(ids)
        for i in range(len(given) - 1, len(ids) - 1):
            kind[i] = AGAIN if ids[i + 1] in numbers else 0
        target = [t if k else 0 for t, k in zip([*ids[1:], 0], kind, strict=True)]
        self._append(ids, target, kind, [1.0] * len(ids), limit, after, stem, rest)

    def _decide(self, thought: Thought, limit: int, after: int, stem: int, name: str) -> None:
        """The decision's line after a thought, with the same targets as without one."""
        ids = self._encode(thought.line + "\n")
        n, n_given = len(ids), len(self._encode(thought.turn.given))
        says = thought.line.startswith(f"{name} says ")
        kind = [0] * n
        kind[n_given - 1 : n - 1] = kinds_of(ids, says, self.names, self.words)[n_given - 1 : n - 1]
        target, weight = [t if k else 0 for t, k in zip([*ids[1:], 0], kind, strict=True)], [1.0] * n
        for i, likely, value in expected_words(thought.turn, ids, n_given, self.words, self.tokenizer):
            if kind[i] not in (0, TEXT):
                target[i], weight[i] = ANSWERED, value
                self.answers.append(likely)
        self._append(ids, target, kind, weight, limit, after, stem, 1)


class ThinkingBatches(IterableDataset):
    """Batches of views of similar length, drawn from pools of `POOL` batches.

    Yields (first game of the pool, index of the batch in the pool, `Batch`), and can resume at such a position.
    """

    def __init__(
        self, seed: int, lexicon: str, preset: str | None, tokens: int, start: int = 0, skip: int = 0
    ) -> None:
        """tokens: of a batch, padding included. start, skip: the first game, and how many batches of its pool to
        skip."""
        self.seed, self.lexicon, self.preset, self.tokens = seed, lexicon, preset, tokens
        self.start, self.skip = start, skip

    def __iter__(self) -> Iterator[tuple[int, int, Batch]]:
        tokenizer = make_tokenizer(self.lexicon)
        words = tokenizer.get_vocab()
        first, skip = self.start, self.skip
        while True:
            pool: list[ThinkingRow] = []
            size, index = 0, first
            while size < POOL * self.tokens:
                for thinker in views(index, self.seed, self.lexicon, self.preset):
                    pool.append(ThinkingRow(thinker, words, tokenizer))
                    size += len(pool[-1])
                index += 1
            draw = np.random.default_rng((self.seed, first))
            for i, rows in enumerate(batched(pool, self.tokens, draw, draw)):
                if i >= skip:
                    yield first, i, collate(rows)
            first, skip = index, 0


def own_words(
    batch: Batch, logits: torch.Tensor, words: Mapping[str, int], generator: torch.Generator
) -> Batch:
    """The batch with each amount of its thoughts as the model itself would have written it, by `logits`
    `(n_views, n_tokens, n_words)`; the targets stay.

    So the text after a thought is learned given the model's own words, errors included (scheduled sampling, Bengio et
    al. 2015, arXiv:1506.03099; in one pass, so an amount does not see the others that were drawn).
    """
    ids = batch.ids.clone()
    for group in ([words[n] for n in NUMBERS], [words[FOR], words[AGAINST]]):
        of = torch.tensor(group)
        at = (batch.kind == AMOUNT) & torch.isin(batch.target, of)
        rows, columns = at.nonzero(as_tuple=True)
        if len(rows):
            p = torch.softmax(logits[rows, columns][:, of].float(), -1)
            ids[rows, columns + 1] = of[torch.multinomial(p, 1, generator=generator)[:, 0]]
    return batch._replace(ids=ids)


__all__ = ["AGAIN", "AMOUNT", "BELIEF", "N_KINDS", "THOUGHT", "ThinkingBatches", "ThinkingRow", "own_words"]
