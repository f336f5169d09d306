"""Views of games as batches of tokens: each view once, followed by the questions asked along it.

The attention mask and the positions make each question an independent fork of the view, though all share one pass. An
answer then costs two or three tokens instead of a whole view.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset

from agents.lessons import Turn, View
from harness.orphans import end_with_parent

TEXT, CHOICE, BELIEF, SPEECH, NAMING = 1, 2, 3, 4, 5
"""Kinds of target: text that is read, the seat's choice, its answer to a question, its own words, and a name among
those. 0: no target."""

ANSWERED = -100
"""Marks a target whose distribution is known."""


class Batch(NamedTuple):
    """A padded batch of views; all tensors but the last are `(n_views, n_tokens)`, int64 unless stated.

    A row holds a view followed by the questions asked along it, which attend only to their own context: the
    `limit` tokens before their point, their own stem (`Ada believes`), and their own rest (`Ben`).
    """

    ids: torch.Tensor
    target: torch.Tensor
    """The token to be predicted at each position, or `ANSWERED` where its probabilities are in `answer`."""
    kind: torch.Tensor
    """The target's kind, `TEXT` to `NAMING`."""
    weight: torch.Tensor
    """The target's weight among those of its kind, float32."""
    position: torch.Tensor
    limit: torch.Tensor
    """How many of the view's tokens the position may attend to."""
    stem: torch.Tensor
    """0 for the view's tokens, -1 for padding, else the number of the point at which the question is asked."""
    rest: torch.Tensor
    """0 for the view's tokens and stems, else the number of the question at its point."""
    answer: torch.Tensor
    """Probability of each word `(n_answered, n_words)` float32 at the targets that are `ANSWERED`, row by row."""

    def nats(self, logits: torch.Tensor) -> torch.Tensor:
        """Cross-entropy `(n_views, n_tokens)` of logits `(n_views, n_tokens, n_words)`."""
        out = cross_entropy(logits.transpose(1, 2), self.target, reduction="none", ignore_index=ANSWERED)
        asked = self.target == ANSWERED
        return out.masked_scatter(asked, cross_entropy(logits[asked], self.answer, reduction="none"))

    def mask(self) -> torch.Tensor:
        """The attention mask `(n_views, 1, n_tokens, n_tokens)`, bool."""
        n = self.ids.shape[1]
        at = torch.arange(n, device=self.ids.device)
        view = (self.stem[:, None, :] == 0) & (at[None, None, :] < self.limit[:, :, None])
        same = self.stem[:, None, :] == self.stem[:, :, None]
        branch = (self.rest[:, None, :] == 0) | (self.rest[:, None, :] == self.rest[:, :, None])
        own = same & branch & (at[None, :] <= at[:, None])[None] & (self.stem[:, :, None] != 0)
        return (view | own)[:, None]

    def to(self, device: str) -> Batch:
        """The same on a device."""
        return Batch(*(x.to(device) for x in self))


@lru_cache(maxsize=1 << 14)
def encoded(tokenizer: Any, text: str) -> tuple[int, ...]:
    """The tokens of a line or a part of one; kept, since all seats of a game read the same lines."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def expected_words(
    turn: Turn, line: Sequence[int], n_given: int, words: Mapping[str, int], tokenizer: Any
) -> Iterator[tuple[int, dict[int, float], float]]:
    """For each token of a turn's line but the last, from the last given one on: (its index, the probability of each
    next token given those before, weighted by `Turn.advantage_weights`; its weight).

    line: the `n_given` tokens that the seat was given, then its own, as the game went.
    """
    weight = {
        words[verb]: {words[name]: value for name, value in named.items()}
        for verb, named in turn.advantage_weights.items()
    }
    agree = [(encoded(tokenizer, text + "\n"), p) for text, p in turn.answers]
    verb = next((i for i in line[:n_given] if i in weight), 0)
    for i in range(n_given, len(line)):
        likely: dict[int, float] = {}
        for ids, p in agree:
            likely[ids[i - n_given]] = likely.get(ids[i - n_given], 0.0) + p
        total = sum(likely.values())
        likely = {word: p * weight.get(verb, {}).get(word, 1.0) for word, p in likely.items()}
        value = sum(likely.values())
        yield i - 1, {word: p / value for word, p in likely.items()}, value / total
        agree = [(ids, p) for ids, p in agree if ids[i - n_given] == line[i]]
        verb = line[i] if line[i] in weight else 0 if line[i] == words["."] else verb


def kinds_of(ids: Sequence[int], says: bool, names: Collection[int], words: Mapping[str, int]) -> list[int]:
    """`Batch.kind` of the target of each token of a line but the last, which is followed by another line.

    says: it is the seat's own speech. names: the words for all seats.
    """
    kind = [TEXT] * len(ids)
    for i in range(1, len(ids) - 1):
        if ids[i] == words[":"] and ids[i - 1] == words[")"]:
            kind[i] = CHOICE
        elif says:
            kind[i] = NAMING if ids[i + 1] in names else SPEECH
    return kind


class Row:
    """One view as columns of a batch."""

    def __init__(self, view: View, words: Mapping[str, int], tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        lines = [self._encode(line + "\n") for line in view.lines]
        ids = [tokenizer.bos_token_id, *(i for line in lines for i in line)]
        ends = [1, *(1 + int(n) for n in np.cumsum([len(line) for line in lines]))]
        n = len(ids)
        target, kind, weight = [*ids[1:], 0], [TEXT] * (n - 1) + [0], [1.0] * n
        self.ends = ends
        """Tokens of the first i lines, and of the token before them, for i from 0 to all of them."""
        self.names = {words[name] for name in view.names}
        for start, end, line in zip(ends[:-1], ends[1:], view.lines, strict=True):
            says = bool(view.name) and line.startswith(f"{view.name} says ")
            kind[start:end] = kinds_of(ids[start:end], says, self.names, words)
        kind[-1] = 0
        self.words = words
        self.answers: list[dict[int, float]] = []
        for turn in view.turns:
            start, end = ends[turn.line], ends[turn.line + 1]
            n_given = len(self._encode(turn.given))
            if turn.chooses:
                kind[start + n_given - 1] = CHOICE
            for i, likely, value in expected_words(turn, ids[start:end], n_given, words, tokenizer):
                if kind[start + i] != TEXT:
                    target[start + i], weight[start + i] = ANSWERED, value
                    self.answers.append(likely)
        self.columns: list[list[Any]] = [
            ids, target, kind, weight, list(range(n)), list(range(1, n + 1)), [0] * n, [0] * n
        ]  # fmt: skip
        for stem, fork in enumerate(view.forks, 1):
            limit = ends[fork.n_lines]
            first = self._encode(f"{fork.viewer} believes")
            self._add(first, limit, 0, stem, 0, None)
            for number, (question, answer) in enumerate(fork.asked, 1):
                self._add(self._encode(question), limit, len(first), stem, number, answer)

    def _encode(self, text: str) -> tuple[int, ...]:
        return encoded(self.tokenizer, text)

    def _add(
        self,
        ids: Sequence[int],
        limit: int,
        after: int,
        stem: int,
        rest: int,
        answer: dict[str, float] | None,
    ) -> None:
        n = len(ids)
        target, kind = [0] * n, [0] * n
        if answer is not None:
            target[-1], kind[-1] = ANSWERED, BELIEF
            self.answers.append({self.words[word]: p for word, p in answer.items()})
        self._append(ids, target, kind, [1.0] * n, limit, after, stem, rest)

    def _append(
        self,
        ids: Sequence[int],
        target: list[int],
        kind: list[int],
        weight: list[float],
        limit: int,
        after: int,
        stem: int,
        rest: int,
    ) -> None:
        """Append tokens after the view that attend to `limit` of its tokens; the first has a position `after` tokens
        after those."""
        n = len(ids)
        at = list(range(limit + after, limit + after + n))
        new: list[Sequence[Any]] = [ids, target, kind, weight, at, [limit] * n, [stem] * n, [rest] * n]
        for column, values in zip(self.columns, new, strict=True):
            column += values

    def __len__(self) -> int:
        return len(self.columns[0])

    def answer(self) -> torch.Tensor:
        """The part of `Batch.answer` that is this view's."""
        out = torch.zeros(len(self.answers), len(self.words))
        at = [(i, word) for i, answer in enumerate(self.answers) for word in answer]
        if at:
            rows, columns = zip(*at, strict=True)
            out[rows, columns] = torch.tensor([p for answer in self.answers for p in answer.values()])
        return out


AnyRow = TypeVar("AnyRow", bound=Row)
PADDING = (0, 0, 0, 1.0, 0, 0, -1, 0)
"""The padding value of each column of a row."""


def collate(rows: Sequence[Row]) -> Batch:
    """Rows as one batch, padded to the longest."""
    longest = max(map(len, rows))
    columns = [
        torch.tensor([row.columns[c] + [fill] * (longest - len(row)) for row in rows])
        for c, fill in enumerate(PADDING)
    ]
    columns.append(torch.cat([row.answer() for row in rows]))
    return Batch(*columns)


def batched(
    rows: Sequence[AnyRow], tokens: int, order: np.random.Generator, places: np.random.Generator
) -> list[list[AnyRow]]:
    """All rows once, as batches of at most `tokens` tokens each, padding included.

    Rows of similar length stand together, as they need little padding; within 16 tokens `order` shuffles them, and
    `places` the batches.
    """
    mixed = sorted((rows[i] for i in order.permutation(len(rows))), key=lambda row: len(row) // 16)
    parts: list[list[AnyRow]] = [[]]
    for row in mixed:
        if parts[-1] and (len(parts[-1]) + 1) * max(len(row), len(parts[-1][0])) > tokens:
            parts.append([])
        parts[-1].append(row)
    return [parts[i] for i in places.permutation(len(parts))]


class Batches(IterableDataset):
    """Batches of views of similar length, made in a worker process while the model trains.

    Views are shuffled within pools of 64 batches, which mixes some hundred games: a batch of one game's views would
    have little variety.

    Yields (index of the last game used, `Batch`).
    """

    def __init__(
        self,
        source: Callable[[], Iterator[tuple[int, list[View]]]],
        seed: int,
        make_tokenizer: Callable[[], Any],
        tokens: int,
    ) -> None:
        """source: makes the games' views one after the other; seed: of the order of batches; make_tokenizer: of the
        views' words; tokens: of a batch, padding included."""
        self.source, self.seed = source, seed
        self.make_tokenizer, self.tokens = make_tokenizer, tokens

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        tokenizer = self.make_tokenizer()
        words = tokenizer.get_vocab()
        pool: list[Row] = []
        size = 0
        seed = self.seed
        for index, found in self.source():
            pool += [Row(view, words, tokenizer) for view in found]
            size += sum(map(len, pool[-len(found) :]))
            if size < 64 * self.tokens:
                continue
            order, places = np.random.default_rng((seed, index)), np.random.default_rng((seed, index, 1))
            for batch in batched(pool, self.tokens, order, places):
                yield index, collate(batch)
            pool, size = [], 0


AHEAD = 64
"""Batches made in advance: one pool, which is used while the next one is made."""


def made_beside(batches: IterableDataset, workers: int, ahead: int) -> DataLoader:
    """The batches from so many processes, at most `ahead` of each made in advance; none: from this one."""
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=ahead if workers else None,
        worker_init_fn=end_with_parent,
    )


def loaded(batches: Batches, ahead: int) -> Iterator[tuple[dict[str, int], Batch]]:
    """The batches from a worker process, at most `ahead` of them made in advance, each with the position in the data
    that a checkpoint keeps."""
    for index, batch in made_beside(batches, 1, ahead):
        yield {"game": int(index)}, batch
