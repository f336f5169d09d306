"""Lessons as batches of tokens: each view once, followed by the questions asked along it.

The mask and the positions make each question independent of the others. So an answer costs the few tokens of its
question instead of a whole view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.training.language.lessons import Lesson, Piece

KINDS = ("speech", "choice", "reasoning", "belief")
"""Kinds of learned tokens."""
ROUND = 32
"""Numbers of tokens in tensors are multiples of this."""
WINDOW = 64
"""Batches whose lessons are sorted by length together, to reduce padding."""


class Batch(NamedTuple):
    """A padded batch of lessons, `(n_lessons, n_tokens)`."""

    ids: torch.Tensor
    position: torch.Tensor
    mask: torch.Tensor
    """1 for a token `(n_lessons, n_tokens)`; with questions, the attention mask `(n_lessons, 1, n_tokens, n_tokens)`
    bool."""
    source: torch.Tensor
    """For each learned token, the index in the flattened batch of the position that predicts it, `(n_learned,)`."""
    target: torch.Tensor
    """The learned tokens `(n_learned,)`."""
    kind: torch.Tensor
    """Indices into `KINDS` `(n_learned,)`."""
    group: torch.Tensor
    """Number of each learned token's answer `(n_learned,)`, for shares of whole answers."""
    n_read: int
    """Tokens without padding."""

    def to(self, device: str) -> Batch:
        """The same on a device."""
        *tensors, n_read = self
        moved: list[Any] = [tensor.to(device) for tensor in tensors if isinstance(tensor, torch.Tensor)]
        return Batch._make([*moved, n_read])


def cut(lesson: Lesson, most: int) -> Lesson:
    """The lesson cut to its first `most` tokens; each question is limited separately."""
    pieces = tuple(p for p in lesson.pieces if p.end <= most)
    forks = tuple(f for f in lesson.forks if f.at + len(f.ids) <= most)
    end = max([p.end for p in pieces] + [f.at for f in forks], default=0)
    return Lesson(
        *(lesson.run, lesson.game_id, lesson.seat, lesson.agent, lesson.role),
        *(lesson.ids[:end], pieces, forks, tuple(t for t in lesson.template if t[1] <= end)),
    )


def apart(lesson: Lesson) -> list[Lesson]:
    """The lesson and each of its questions as a lesson of its own, for models that need plain causal masks."""
    named = (lesson.run, lesson.game_id, lesson.seat, lesson.agent, lesson.role)
    found = [Lesson(*named, lesson.ids, lesson.pieces, (), lesson.template)] if lesson.pieces else []
    for fork in lesson.forks:
        ids = (*lesson.ids[: fork.at], *fork.ids)
        found.append(Lesson(*named, ids, (Piece(fork.at + fork.start, len(ids), "belief", fork.seq),)))
    return found


def plan(lessons: Sequence[Lesson], batch_tokens: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of the lessons of each batch of one epoch: all once, in shuffled order, similar lengths together.

    A batch holds at most `batch_tokens` with padding; a longer lesson is a batch of its own.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lessons)).tolist()
    mean = max(1.0, float(np.mean([lesson.n_tokens for lesson in lessons])))
    step = max(1, int(WINDOW * batch_tokens / mean))
    found: list[list[int]] = []
    for at in range(0, len(order), step):
        batch: list[int] = []
        made = []
        for i in sorted(order[at : at + step], key=lambda i: (lessons[i].n_tokens, i)):
            if batch and (len(batch) + 1) * lessons[i].n_tokens > batch_tokens:
                made.append(batch)
                batch = []
            batch.append(i)
        made.append(batch)
        found += [made[i] for i in rng.permutation(len(made)).tolist()]
    return found


def batches(
    lessons: Sequence[Lesson], batch_tokens: int, seed: int, start: int = 0
) -> Iterator[tuple[int, list[Lesson]]]:
    """(number of the batch, its lessons) without end, epoch after epoch, from the batch `start` on."""
    epoch, number = 0, 0
    while True:
        for batch in plan(lessons, batch_tokens, seed, epoch):
            if number >= start:
                yield number, [lessons[i] for i in batch]
            number += 1
        epoch += 1


def rounded(n: int) -> int:
    """n or the next size that tensors have: with a size of its own for every batch, what earlier ones left free on a
    CPU is soon in thousands of pieces, and finding room takes as long as computing."""
    return -(-n // ROUND) * ROUND


def collate(lessons: Sequence[Lesson], pad: int = 0) -> Batch:
    """Lessons as tensors."""
    n_tokens = rounded(max(lesson.n_tokens for lesson in lessons))
    shape = (len(lessons), n_tokens)
    ids, position = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    present = np.zeros(shape, bool)
    forked = any(lesson.forks for lesson in lessons)
    sees = np.zeros((len(lessons), n_tokens, n_tokens), bool) if forked else None
    source: list[int] = []
    target: list[int] = []
    kind: list[int] = []
    group: list[int] = []
    n_groups = 0

    def learn(row: int, at: list[int], tokens: Sequence[int], what: str) -> None:
        nonlocal n_groups
        source.extend(row * n_tokens + i for i in at)
        target.extend(tokens)
        kind.extend([KINDS.index(what)] * len(tokens))
        group.extend([n_groups] * len(tokens))
        n_groups += 1

    for row, lesson in enumerate(lessons):
        n = len(lesson.ids)
        ids[row, :n], position[row, :n], present[row, : lesson.n_tokens] = lesson.ids, np.arange(n), True
        for piece in lesson.pieces:
            at = list(range(max(piece.start, 1) - 1, piece.end - 1))
            learn(row, at, lesson.ids[max(piece.start, 1) : piece.end], piece.kind)
        if sees is not None:
            sees[row, :n, :n] = np.tri(n, dtype=bool)
        for fork in lesson.forks:
            m = len(fork.ids)
            ids[row, n : n + m] = fork.ids
            position[row, n : n + m] = fork.at + np.arange(m)
            if sees is not None:
                sees[row, n : n + m, : fork.at] = True
                sees[row, n : n + m, n : n + m] = np.tri(m, dtype=bool)
            at = [n + i - 1 if i else fork.at - 1 for i in range(fork.start, m)]
            learn(row, at, fork.ids[fork.start :], "belief")
            n += m
    if sees is not None:  # padding attends to itself, so that no row of a softmax is empty
        rows, columns = np.nonzero(~present)
        sees[rows, columns, columns] = True
    mask = present.astype(np.int64) if sees is None else sees[:, None]
    arrays: list[Any] = [torch.from_numpy(x) for x in (ids, position, mask)]
    arrays += [torch.tensor(x, dtype=torch.int64) for x in (source, target, kind, group)]
    return Batch._make([*arrays, sum(lesson.n_tokens for lesson in lessons)])
